"""A table of the layers of a network: what `Module.summary` prints."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..backend import xp
from ..engine.modes import no_grad
from ..engine.tensor import Tensor
from ..errors import ShapeError

if TYPE_CHECKING:
    from .module import Module


def table(net: Module, input_shape: Sequence[int]) -> str:
    """A row for every layer: output shape and parameters, for one input of `input_shape`."""
    if prod(input_shape) > 1 << 28:
        raise ShapeError(f"summary: an input of shape {tuple(input_shape)} is too large to try")
    runs = output_shapes(net, input_shape)
    rows = [("layer", "kind", "output shape", "parameters")]
    learned, seen = {id(parameter) for parameter in net.parameters()}, set[int]()
    for path, module in net.named_modules():
        own = [value for value in vars(module).values() if id(value) in learned]
        shapes = runs.get(id(module))
        if shapes is None or (not own and any(True for _ in module.children())):
            continue
        times = f" ×{len(shapes)}" if len(shapes) > 1 else ""
        count = sum(parameter.size for parameter in own if id(parameter) not in seen)
        seen.update(map(id, own))
        shape = f"{('N', *shapes[-1][1:])}".replace("'", "") if shapes[-1] else "–"
        rows.append((path or "(self)", type(module).__name__ + times, shape, f"{count:,}"))
    rows.append(("total", "", "", f"{net.count_parameters():,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join((a.ljust(widths[0]), b.ljust(widths[1]), c.ljust(widths[2]), d.rjust(widths[3])))
        for a, b, c, d in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def output_shapes(net: Module, input_shape: Sequence[int]) -> dict[int, list[tuple[int, ...]]]:
    """{id of a module: the shapes it gave}, from one run in inference; () for what has no shape."""
    runs: dict[int, list[tuple[int, ...]]] = {}
    modules = [module for _, module in net.named_modules()]
    before = [(module.training, vars(module).get("forward")) for module in modules]

    def watch(module: Module, inner: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            y = inner(*args, **kwargs)
            runs.setdefault(id(module), []).append(getattr(y, "shape", ()))
            return y

        return forward

    try:
        for module in modules:
            module.forward = watch(module, module.forward)  # type: ignore[method-assign]
        dtype = next((p.dtype for p in net.parameters()), xp.float32)
        with no_grad():
            net.eval()(Tensor(xp.zeros((1, *input_shape), dtype)))
    finally:
        for module, (training, forward) in zip(modules, before):
            module.training = training
            vars(module).pop("forward", None)
            if forward is not None:
                module.forward = forward  # type: ignore[method-assign]
    return runs
