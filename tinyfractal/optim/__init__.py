"""Optimizers and schedules: what to do with a gradient.

Read `methods` first (SGD and Adam as their formulas), then `optimizer`, what all of them share, and
`schedule`: how large a step to take, and when.
"""

from .methods import SGD, Adam, AdamW, clip_grad_norm_, param_groups_weight_decay
from .optimizer import Optimizer
from .schedule import ConstantLR, CosineLR, HalvingLR, Schedule, StepLR

__all__ = [
    "SGD", "Adam", "AdamW", "ConstantLR", "CosineLR", "HalvingLR", "Optimizer", "Schedule",
    "StepLR", "clip_grad_norm_", "param_groups_weight_decay",
]  # fmt: skip
