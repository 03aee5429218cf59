"""tinyfractal: deep learning from scratch in NumPy, small enough to read.

    import tinyfractal as tf

    x = tf.Tensor([1.0, 2.0], requires_grad=True)
    tf.sum(x * x).backward()
    x.grad  # Tensor([2., 4.])

To learn from the source, read the folders in this order: `backend`, `engine`, `ops`, `nn`,
`fractal.py`, `optim`, `train`. What makes it fast is in `fast`, which can be deleted.
"""

from . import _startup  # noqa: F401  (before all else, see there)

# isort: split
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import backend, errors, nn, ops, optim
from .backend import seed
from .engine.gradcheck import gradcheck
from .engine.modes import detect_anomaly, enable_grad, no_grad, reference
from .engine.tensor import Tensor, grad
from .fractal import FractalBlock, FractalNet, RecursiveBlock
from .nn import init
from .ops import *  # noqa: F403  (tinyfractal.exp and the rest; the list is ops.__all__)

if TYPE_CHECKING:  # which are loaded when first asked for, see LAZY
    from . import data as data
    from . import train as train
    from . import zoo as zoo
    from .draw import plot as plot
    from .explore import explore as explore

__version__ = "0.1.0"
__all__ = [
    "FractalBlock", "FractalNet", "RecursiveBlock", "Tensor", "backend", "detect_anomaly",
    "enable_grad", "errors", "grad", "gradcheck", "init", "nn", "no_grad", "ops", "optim",
    "reference", "seed",
    *ops.__all__,
]  # fmt: skip


if os.environ.get("TINYFRACTAL_FAST") != "0" and Path(__file__).with_name("fast").is_dir():
    importlib.import_module(f"{__name__}.fast")  # quicker rules for the same functions

LAZY = {
    "data": "data", "explore": "explore", "plot": "draw.plot", "train": "train", "zoo": "zoo",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import `tinyfractal.data` and the like when first asked for, to keep the import quick."""
    if name in LAZY:
        return importlib.import_module(f"{__name__}.{LAZY[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *LAZY, "__version__"])
