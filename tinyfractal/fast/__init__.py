"""The same functions, quicker. Delete this folder and nothing is missing.

The core defines every function as it is meant to be read. This folder registers quicker rules for
some of them (`engine.definition.RULES`) when it is imported; a file here belongs to the file of the
same name there. Read `fused` first: what a quick rule is. `memory` says how images lie in memory,
`parallel` how two cores share a computation, `heap` why freed memory is kept. `conv` chooses among
`winograd`, `patches` and `direct`; `norm`, `pool`, `join` and `loss` are rules of their own.
`fractal` lets units that read the same input share its preparation, `optim` takes the optimizer's
step in pieces. All of them ask `cuda` where the backend is a GPU's: last of all, what is quick
there.
"""

import sys

from . import conv, fractal, join, loss, norm, optim, parallel, pool
from .heap import keep_freed_memory

__all__ = ["conv", "fractal", "join", "loss", "norm", "optim", "parallel", "pool"]

keep_freed_memory()
sys.modules[__package__.rpartition(".")[0]].parallel = parallel  # type: ignore[attr-defined]
