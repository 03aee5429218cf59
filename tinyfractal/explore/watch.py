"""Watching a run from outside: every step that is recorded, and every gradient that passes.

    with watching() as seen:
        loss = f()
    seen.steps[loss.node].value        # the array that it gave
    seen.steps[loss.node].lines        # the lines of code that made it, the user's first

    with noting_gradients(seen):
        loss.backward()
    seen.gradients[loss.node]          # as it arrived; `seen.parts` is what each parent gets

Nothing in the engine knows of this: for the time of a block the class of all primitives gets
another `on_tensors` or another `gradients`. The stack of Python's frames tells the rest: in which
modules a step was taken, in which functions, on which lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, get_ident
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .. import ops
from ..backend import asnumpy, xp
from ..engine.backward import sum_to
from ..engine.definition import RULES
from ..engine.node import Node
from ..engine.operators import PRIMITIVES, raw
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..errors import OutOfRangeError
from ..nn import Buffer, Module
from .lines import PACKAGE, is_library

MOST_STEPS = 20_000  # a page of more would help nobody
# Not shown among the lines of code
QUIET = ("engine", "guards", "backend", "check.py", "cli", "fast")
OPS = {str(path) for path in Path(PACKAGE, "ops").glob("*.py")}
BUSY = Lock()  # held by whoever is watching
TIDY = 1_000  # so many steps after one another, those that backward has freed are forgotten

Line = tuple[CodeType, int]  # a function, and the line in its file that was running


class Call(NamedTuple):
    """A module or a function of `ops` in which a step was taken; `number` tells calls apart."""

    what: Any  # the Module, or the function's name
    number: int


@dataclass
class Step:
    """What was seen of one recorded operation; arrays are copies, which stay as they were."""

    args: tuple[Any, ...]
    given: list[Any]  # the arrays of those arguments that are leaves, None for the others
    value: Any
    calls: list[Call]  # outermost first
    lines: list[Line]  # likewise


@dataclass
class Seen:
    """All that was seen: the steps by node, their gradients, and how things were before."""

    steps: dict[Node, Step] = field(default_factory=dict)
    gradients: dict[Node, Any] = field(default_factory=dict)  # of each step's output
    parts: dict[Node, list[Any]] = field(default_factory=dict)  # what each parent gets
    leaves: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # {id: (leaf, its last array)}
    names: dict[int, str] = field(default_factory=dict)  # variables that held them: {id: name}
    called: dict[int, Module] = field(default_factory=dict)  # all modules that computed something
    modules: dict[int, Module] = field(default_factory=dict)  # the outermost ones, as they came
    buffers: dict[int, tuple[Buffer, Any]] = field(default_factory=dict)  # before the run

    @property
    def visits(self) -> list[Node]:
        """The steps in the order in which backward came to them."""
        return list(self.gradients)

    def copy_of(self, arg: Any) -> Any:
        """A leaf's array as it is now, the same copy until it changes; None for what is no leaf."""
        if not isinstance(arg, Tensor) or arg.node is not None:
            return None
        _, copy = self.leaves.get(id(arg), (arg, None))
        if copy is None or not asnumpy(xp.array_equal(copy, arg.data)):
            copy = arg.data.copy()
            self.leaves[id(arg)] = arg, copy
        return copy

    def note_modules(self, calls: Sequence[Call]) -> None:
        """Keep the buffers of each module as they are before anything in it can change them."""
        modules = [call.what for call in calls if isinstance(call.what, Module)]
        for module in modules:
            if id(module) not in self.called:
                self.called[id(module)] = module
                for buffer in module.buffers():
                    self.buffers.setdefault(id(buffer), (buffer, buffer.data.copy()))
        if modules:
            self.modules.setdefault(id(modules[0]), modules[0])

    def tidy(self) -> None:
        """Forget the steps whose graph was freed, such as those of a training step before."""
        self.steps = {node: step for node, step in self.steps.items() if node.parents is not None}
        used = {id(arg) for step in self.steps.values() for arg in step.args}
        self.leaves = {key: leaf for key, leaf in self.leaves.items() if key in used}


@contextmanager
def watching() -> Iterator[Seen]:
    """Inside this block every step of this thread is noted.

    Raises `RuntimeError` where others are watching.
    """
    if any("on_tensors" in vars(primitive) for primitive in PRIMITIVES.values()) or not (
        BUSY.acquire(blocking=False)
    ):
        raise RuntimeError("explore: the primitives are watched already, by another or a profile")
    seen, stack, thread = Seen(), Stack(sys._getframe(2)), get_ident()

    def on_tensors(
        compute: Method, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]
    ) -> Tensor:
        if get_ident() != thread:
            return compute(primitive, args, params)
        frame = sys._getframe(2)
        calls, lines = stack.read(frame)
        seen.note_modules(calls)
        out = compute(primitive, args, params)
        if out.node is not None:
            if len(seen.steps) % TIDY == 0:
                seen.tidy()
            if len(seen.steps) >= MOST_STEPS:
                raise OutOfRangeError(
                    f"explore: more than {MOST_STEPS:,} steps were recorded, too many to look at; "
                    "explore one forward pass of a smaller network"
                )
            for arg in args:
                if isinstance(arg, Tensor) and arg.node is None and id(arg) not in seen.leaves:
                    seen.names.update(name_of(arg, frame))
            given = [seen.copy_of(arg) for arg in args]
            seen.steps[out.node] = Step(args, given, out.data.copy(), calls, lines)
        return out

    try:
        with replaced("on_tensors", on_tensors), unit_by_unit():
            yield seen
    finally:
        stack.forget()
        BUSY.release()


@contextmanager
def noting_gradients(seen: Seen) -> Iterator[None]:
    """Inside this block, which lies in one that is watched, this thread's gradients are noted."""
    thread = get_ident()

    def gradients(
        differentiate: Method, primitive: Any, node: Node, g: Any, parents: Any, *rest: Any
    ) -> Any:
        parts = differentiate(primitive, node, g, parents, *rest)
        if get_ident() == thread:
            seen.gradients[node] = copied(g)
            seen.parts[node] = [
                None if parent is None else copied(sum_to(raw(part), parent.shape))
                for parent, part in zip(parents, parts)
            ]
        return parts

    with replaced("gradients", gradients):
        yield


def copied(gradient: Any) -> Any:
    """A gradient as an array of its own; a fast rule may pass on its rows one by one."""
    array = raw(gradient)
    is_whole = hasattr(array, "dtype")
    return array.copy() if is_whole else xp.stack([array[i] for i in range(array.shape[0])])


Method = Callable[..., Any]


@contextmanager
def replaced(name: str, method: Method) -> Iterator[None]:
    """Inside this block all primitives, those made meanwhile too, have another method.

    It is given the one in whose place it stands, and then what that one is given.
    """
    classes = [kind for kind in (Primitive, *Primitive.__subclasses__()) if name in vars(kind)]
    before = [vars(kind)[name] for kind in classes]

    def instead_of(old: Method) -> Method:
        return lambda *args: method(old, *args)

    try:
        for kind, old in zip(classes, before):
            setattr(kind, name, instead_of(old))
        yield
    finally:
        for kind, old in zip(classes, before):
            setattr(kind, name, old)


@contextmanager
def unit_by_unit() -> Iterator[None]:
    """Inside this block a fractal block runs as it is written, unit after unit.

    `fast/` runs several of its convolutions as one step. Those are put off; the functions that a
    step is made of, such as `conv2d`, stay as quick as they are, and whole.
    """
    off = {name: RULES.pop(name) for name in list(RULES) if name.__module__.endswith(".fractal")}
    try:
        yield
    finally:
        RULES.update(off)


class Code(NamedTuple):
    """What matters of a function whose frame is on the stack."""

    code: CodeType
    is_quiet: bool
    function: str  # its name, if it is one of the functions of `ops`
    is_method: bool


def looked_up(code: CodeType) -> Code:
    """Where a function stands and what it is."""
    file, name = code.co_filename, code.co_name
    room = file[len(PACKAGE) :].partition(os.sep)[0] if file.startswith(PACKAGE) else ""
    is_quiet = room in QUIET or file == "<frozen runpy>"  # which runs FILE.py
    function = name if file in OPS and name in ops.__all__ else ""
    return Code(code, is_quiet, function, code.co_varnames[:1] == ("self",))


class Stack:
    """Reads what is running from Python's frames, up to the one that watches."""

    def __init__(self, base: FrameType) -> None:
        self.base: FrameType | None = base
        self.codes: dict[int, Code] = {}  # by id, as it would take long to hash them
        self.before: dict[FrameType, int] = {}  # the calls of the step before, numbered
        self.count = 0

    def read(self, frame: FrameType | None) -> tuple[list[Call], list[Line]]:
        """The calls and the lines that are running, from the outermost to this frame."""
        calls: list[Call] = []
        lines: list[Line] = []
        now: dict[FrameType, int] = {}
        while frame is not None and frame is not self.base:
            code = self.codes.get(id(frame.f_code))
            if code is None:
                self.codes[id(frame.f_code)] = code = looked_up(frame.f_code)
            if not code.is_quiet:
                lines.append((code.code, frame.f_lineno))
                what: Any = code.function or None
                if code.is_method and isinstance(own := frame.f_locals["self"], Module):
                    what = own
                if what is not None:
                    # a frame that was running at the step before as well is still the same call
                    now[frame] = number = self.before.get(frame) or self.next_number()
                    if calls and calls[-1].what is what:  # `branches` in `forward`: the same call
                        calls.pop()
                    calls.append(Call(what, number))
            frame = frame.f_back
        self.before = now  # kept, so that no new frame can have the identity of an old one
        return calls[::-1], lines[::-1]

    def next_number(self) -> int:
        self.count += 1
        return self.count

    def forget(self) -> None:
        """Let go of the frames."""
        self.base, self.before = None, {}


def name_of(leaf: Tensor, frame: FrameType | None) -> dict[int, str]:
    """The variable that holds a leaf in the nearest frame outside of the library: {id: name}."""
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    for variables in (frame.f_locals, frame.f_globals) if frame is not None else ():
        for name, value in variables.items():
            if value is leaf and not name.startswith("_"):
                return {id(leaf): name}
    return {}
