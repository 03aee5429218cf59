"""A recipe: everything that decides a training run, as plain values that JSON can hold.

The command line fills in a recipe; a checkpoint carries it, so that the model can be built again;
the same recipe and seed give the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from . import backend, optim, zoo
from .data import Compose, Dataset, Standardize, mirror, shift
from .errors import CheckpointError
from .fractal import FractalNet, fractal_depth
from .module import Module

MODELS = ("fractal", "plain", "resnet")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES: dict[str, Callable[..., optim.Schedule]] = {
    "halving": optim.HalvingLR,
    "cosine": optim.CosineLR,
    "step": lambda optimizer, epochs: optim.StepLR(optimizer, max(1, epochs // 3), epochs=epochs),
    "constant": optim.ConstantLR,
}


@dataclass(frozen=True)
class Recipe:
    """The defaults train a FractalNet on the embedded digits."""

    data: str = "digits"
    model: str = "fractal"
    columns: int = 3
    channels: tuple[int, ...] = (32, 64)
    dropout: float = 0.0
    drop_path: float = 0.15
    global_ratio: float = 0.5
    per_sample: bool = True
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    epochs: int = 25
    batch_size: int = 64
    shift: int = 1  # pixels, ± in each direction
    mirror: bool = False
    label_smoothing: float = 0.0
    clip: float | None = None
    seed: int = 0
    # facts of the data, filled in by `for_data`
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()  # (H, W, C) of one image
    standardize: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        choices = {"model": MODELS, "optimizer": OPTIMIZERS, "schedule": tuple(SCHEDULES)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"recipe: {name} is one of {', '.join(known)}, got {getattr(self, name)!r}"
                )

    def for_data(self, train: Dataset) -> Recipe:
        """This recipe with the facts of the training images filled in."""
        return replace(
            self,
            classes=tuple(train.classes),
            shape=tuple(train.shape),
            standardize=Standardize.fit(train.images).as_dict(),
        )

    def transform(self) -> Standardize:
        """The standardization that was fitted on the training images."""
        if self.standardize is None:
            raise ValueError("recipe: for_data(train) was not called yet")
        return Standardize.from_dict(self.standardize)

    def augment(self) -> Callable | None:
        """Random shifts and mirroring, or None."""
        steps: list[Callable] = []
        if self.mirror:
            steps.append(mirror)
        if self.shift:
            steps.append(lambda images, rng: shift(images, rng, self.shift))
        return Compose(steps) if steps else None

    def build_model(self) -> Module:
        """The network, its first weights decided by `seed`."""
        backend.seed(self.seed)
        common: dict[str, Any] = {
            "in_channels": self.shape[2],
            "classes": len(self.classes),
            "channels": self.channels,
            "dropout": self.dropout,
        }
        if self.model == "fractal":
            return FractalNet(
                columns=self.columns,
                drop_path=self.drop_path,
                global_ratio=self.global_ratio,
                per_sample=self.per_sample,
                **common,
            )
        depth = fractal_depth(self.columns)
        return {"plain": zoo.PlainNet, "resnet": zoo.ResNet}[self.model](depth=depth, **common)

    def build_optimizer(self, model: Module) -> optim.Optimizer:
        """The optimizer for the weights of `model`."""
        weights, decay = model.parameters(), self.weight_decay
        if self.optimizer == "sgd":
            return optim.SGD(weights, self.lr, self.momentum, decay, self.nesterov)
        kind = {"adam": optim.Adam, "adamw": optim.AdamW}[self.optimizer]
        return kind(weights, self.lr, weight_decay=decay)

    def build_schedule(self, optimizer: optim.Optimizer) -> optim.Schedule:
        """The learning-rate schedule over all epochs."""
        return SCHEDULES[self.schedule](optimizer, self.epochs)

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `as_dict` described. Raises `CheckpointError` where it is another's."""
        examples = cls(clip=1.0, standardize={})
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            wrong = sorted(set(values) ^ names)
            raise CheckpointError(f"recipe: missing or unknown entries {', '.join(wrong)}")
        plain: dict[str, Any] = {}
        for name, value in values.items():
            kind = type(getattr(examples, name))  # JSON has lists for tuples, and 1 may be 1.0
            plain[name] = tuple(value) if kind is tuple and isinstance(value, list) else value
            kinds = (int, float) if kind is float else kind
            if not (isinstance(plain[name], kinds) or (name == "clip" and value is None)):
                raise CheckpointError(f"recipe: {name} should be a {kind.__name__}, got {value!r}")
        return cls(**plain)
