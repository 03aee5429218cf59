"""The optimizer's step on several threads, in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..backend import current
from ..engine.definition import RULES
from ..engine.tensor import Tensor
from ..optim import Optimizer
from . import cuda
from .memory import RUN
from .parallel import at_once, run, runs


def move(self: Optimizer, which: Sequence[int]) -> None:
    """In the place of `Optimizer._move`."""
    update = cuda.update_of(self) if current() == "cupy" else self.update
    pieces: list[tuple[int, Any]] = []
    numbers = 0
    for i in which:
        parameter = self.parameters[i]
        numbers += parameter.size
        if parameter.size > RUN and parameter.data.flags.c_contiguous:
            pieces += [(i, some) for some in runs(slice(0, parameter.size), RUN)]
        else:
            pieces.append((i, None))

    def share(pieces: Sequence[tuple[int, Any]]) -> None:
        for i, some in pieces:  # (which, numbers from … to; None: all)
            parameter = self.parameters[i]
            arrays = [parameter.data, cast(Tensor, parameter.grad).data]
            arrays += [memory[i] for memory in self.memory.values()]
            if some is not None:
                arrays = [array.reshape(-1)[some] for array in arrays]
            update(self.group_of[i].data, self.counts[i], *arrays)

    shares = at_once(numbers)
    if shares == 1:
        share(pieces)
    else:
        run(share, [pieces[k::shares] for k in range(shares)])


RULES[Optimizer._move] = move
