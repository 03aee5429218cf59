"""The optimizer's step on several threads, in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import current
from ..engine.definition import RULES
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
        w = self.parameters[i].data
        numbers += w.size
        if w.size > RUN and w.flags.c_contiguous:
            pieces += [(i, some) for some in runs(slice(0, w.size), RUN)]
        else:
            pieces.append((i, None))
    memories = tuple(self.memory.values())

    def share(pieces: Sequence[tuple[int, Any]]) -> None:
        for i, some in pieces:  # (which, numbers from … to; None: all)
            parameter: Any = self.parameters[i]
            arrays = [parameter.data, parameter.grad.data]
            for memory in memories:
                arrays.append(memory[i])
            if some is not None:
                arrays = [array.reshape(-1)[some] for array in arrays]
            update(self.group_of[i].data, self.counts[i], *arrays)

    shares = at_once(numbers)
    if shares == 1:
        share(pieces)
    else:
        run(share, [pieces[k::shares] for k in range(shares)])


RULES[Optimizer._move] = move
