"""Backward, step by step, on a page: `tinyfractal.explore`.

    tf.explore(loss)                          # what was recorded; a notebook shows it
    tf.explore(lambda: cross_entropy(net(x), y)).save("page.html")

`watch` looks on while a function runs, forward and backward, and `samples` takes a few numbers of
each array. `graph` makes nodes of that, with the `words` for each primitive, its row of the
derivative table (`rules`), its `settings`, the code that called it (`lines`), the modules it is in
(`groups`), and what drop-path left out (`ghosts`). `nudges` runs it again with other numbers.
`scalars` reads the engine of chapter 2. `document` puts all of it into one file, made of what is in
the folder `page/`; `live` serves that file and computes any number that is asked for. `examples`
are what the command line shows.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import Any

from .. import backend
from ..check import checked
from ..engine.operators import PRIMITIVES
from ..engine.tensor import Tensor
from ..nn import Module
from ..progress import counted
from .document import Page
from .graph import Run, check_output
from .lines import Lines, is_library
from .nudges import SECONDS, Repeat, add_nudges, restore
from .rules import row
from .scalars import is_scalar, scalar_run
from .watch import Seen, watching

__all__ = ["Page", "explore"]


@checked
def explore(what: Any, title: str = "", note: str = "") -> Page:
    """A page on which forward and backward can be stepped through.

    `what` is

    - a function without arguments that computes a single number, such as a loss. It is watched
      while it runs: all values, names and lines of code are known. Then it is run again with
      other weights, a few hundred times but no longer than about 20 seconds, so that weights can
      be nudged and dragged on the page.
    - a Tensor that was computed already. Only what was kept for backward is known of it.
    - a `Value` of chapter 2, or what has `data`, `parents` and `slopes` as it has.
    - a dictionary of such by name, for example one for each column: the page has a choice.

    Nothing is changed by it: no `grad`, no graph, no running statistics, no random numbers.
    Raises `ShapeError` unless a single number comes out, `GraphError` where nothing was recorded or
    the graph was freed by backward, `OutOfRangeError` for more than 20,000 steps.
    """
    lines, names = Lines(), variables_outside(sys._getframe(1))
    pairs = explored_all(choices(what), lines, names)
    return page_of({name: run for name, (run, _) in pairs.items()}, lines, title, note)


def explored_all(
    things: Mapping[str, Any], lines: Lines, names: Mapping[int, str]
) -> dict[str, tuple[dict[str, Any], Repeat | None]]:
    """What `explored` gives of each; it says how far it is where that takes long."""
    pairs = {}
    with counted("explore", len(things), unit="runs", after=5.0) as show:
        for name, thing in things.items():
            pairs[name] = explored(thing, lines, names)
            show(len(pairs))
    return pairs


def choices(what: Any) -> dict[str, Any]:
    """What is to be explored, by name."""
    if not isinstance(what, Mapping):
        return {"everything": what}
    if not what:
        raise ValueError("explore: needs something to explore, got an empty dictionary")
    return {str(name): thing for name, thing in what.items()}


def explored(
    thing: Any, lines: Lines, names: Mapping[int, str], seconds: float = SECONDS
) -> tuple[dict[str, Any], Repeat | None]:
    """One run, as the page has it; and what can run it again, if it is a function.

    `seconds` are what the nudges may take, and what can be dragged as many again.
    """
    if is_scalar(thing):
        return scalar_run(thing), None
    if isinstance(thing, Tensor) or not callable(thing):
        check_output(thing)
        with watching() as seen:  # forward is over, and backward is still to come
            return Run(thing, seen, lines, names).as_json(), None
    names = {**names, **names_in_closure(thing)}
    state, seen = backend.random_state(), Seen()
    try:
        with watching() as seen:
            output = thing()
            check_output(output)
            run = Run(output, seen, lines, names)
        described, repeat = run.as_json(), Repeat(thing, run, state, names)
        if not repeat.repeats():
            return described, None
        add_nudges(repeat, described, seconds)
        return described, repeat
    finally:
        restore(state, seen)


def explored_while(make: Callable[[], Any], title: str = "", note: str = "") -> Page:
    """The page of what `make` gives, which is watched meanwhile: all it computed is known."""
    lines = Lines()
    with watching() as seen:
        thing = make()
        if isinstance(thing, Tensor):
            check_output(thing)
            run = Run(thing, seen, lines, {}).as_json()
            note = (
                note or "To nudge and drag numbers, let the program define its loss as a function."
            )
    if not isinstance(thing, Tensor):
        run, _ = explored(thing, lines, {})
    return page_of({"everything": run}, lines, title, note)


def page_of(
    runs: Mapping[str, dict[str, Any]], lines: Lines, title: str, note: str, **more: Any
) -> Page:
    """The runs, and what they share."""
    rules = {
        node["rule"]: row(PRIMITIVES[node["rule"]])
        for run in runs.values()
        for node in run["nodes"]
        if node["rule"] in PRIMITIVES
    }
    return Page({
        "title": title or "Backward, step by step",
        "note": note,
        "runs": [{"name": name, **run} for name, run in runs.items()],
        "rules": rules,
        "sources": lines.found,
        **more,
    })  # fmt: skip


def variables_outside(frame: FrameType | None) -> dict[int, str]:
    """The variables of whoever called, and of who called them: {id of the value: name}."""
    found: dict[int, str] = {}
    while frame is not None:
        if not is_library(frame.f_code.co_filename):
            found = {**named({**frame.f_globals, **frame.f_locals}), **found}
        frame = frame.f_back
    return found


def names_in_closure(function: Any) -> dict[int, str]:
    """The variables from outside that a function uses."""
    function = inspect.unwrap(getattr(function, "func", function))  # of a partial, and decorated
    if not inspect.isroutine(function):
        function = type(function).__call__
    function = getattr(function, "__func__", function)  # of a method
    if not inspect.isfunction(function):
        return {}
    names, cells = function.__code__.co_names, function.__closure__ or ()
    variables = {name: value for name, value in function.__globals__.items() if name in names}
    for name, cell in zip(function.__code__.co_freevars, cells):
        with contextlib.suppress(ValueError):  # empty: it has no value yet
            variables[name] = cell.cell_contents
    return named(variables)


MOST_INSIDE = 100  # of a list, so that a list of layers or weights has names, and a table has none


def named(variables: Mapping[str, Any]) -> dict[int, str]:
    """{id: name} of the Tensors and modules among them, and in lists, tuples and dictionaries."""
    found: dict[int, str] = {}
    alone: dict[int, str] = {}
    for name, value in variables.items():
        if name.startswith("_"):
            continue
        if is_shown(value):
            alone[id(value)] = name
        elif type(value) in (list, tuple, dict) and len(value) <= MOST_INSIDE:
            pairs = value.items() if type(value) is dict else enumerate(value)
            found |= {id(part): f"{name}[{key!r}]" for key, part in pairs if is_shown(part)}
    return {**found, **alone}


def is_shown(value: Any) -> bool:
    """Whether it is a Tensor or a module. (`isinstance` would ask a proxy what it stands for.)"""
    return issubclass(type(value), (Tensor, Module))


class _Room(ModuleType):
    """This package, which can be called: `tinyfractal.explore` is its name and the function's."""

    def __call__(self, what: Any, title: str = "", note: str = "") -> Page:
        return explore(what, title, note)


sys.modules[__name__].__class__ = _Room
