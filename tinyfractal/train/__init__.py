"""Training: the loop that everything else was written for, and what a long run needs around it.

Read `loop` first. `inference` uses a network, `checkpoint` and `run` keep what was learned, `load`
builds the network again, `preflight` refuses what cannot work, `norm` estimates batch norm's
statistics again, `distributed` lets several processes share each batch.
"""

from .inference import Result, columns_of, evaluate, inference, predict
from .loop import fit, train_epoch
from .norm import update_bn
from .run import BEST, CHECKPOINT, HISTORY, best_epoch, restore

__all__ = [
    "BEST", "CHECKPOINT", "HISTORY", "Result", "best_epoch", "columns_of", "evaluate", "fit",
    "inference", "predict", "restore", "train_epoch", "update_bn",
]  # fmt: skip
