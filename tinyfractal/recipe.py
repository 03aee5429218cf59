"""A recipe: everything that decides a training run, as plain values that JSON can hold.

The command line fills in a recipe; a checkpoint carries it, so that the model can be built again;
the same recipe and seed give the same run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

import numpy as np

from . import backend, optim, zoo
from .check import (
    Amount,
    Below1,
    Count,
    Probability,
    Range,
    Size,
    checked,
    need,
    printable,
)
from .counting import fractal_depth, fractal_parameters, stack_parameters
from .data import Compose, Dataset, Standardize, mirror, shift
from .data.dataset import Seconds
from .errors import CheckpointError, DataError
from .fractal import ConvUnit, FractalNet
from .nn import Dropout, MaxPool2d
from .nn.module import Module

Kind = Literal["fractal", "plain", "resnet"]
MODELS = get_args(Kind)
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
    model: Kind = "fractal"
    columns: Annotated[int, Range(1, 60)] = 3
    channels: tuple[Count, ...] = (32, 64)
    dropout: Probability | tuple[Probability, ...] = 0.0
    drop_path: Probability = 0.15
    global_ratio: Probability = 0.5
    per_sample: bool = True
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Amount = 0.1
    momentum: Probability = 0.9
    nesterov: bool = True
    weight_decay: Amount = 5e-4
    schedule: Literal["halving", "cosine", "step", "constant"] = "cosine"
    epochs: Count = 25
    batch_size: Count = 64
    shift: Size = 1  # pixels, ± in each direction
    mirror: bool = False
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "balanced"] = "none"  # balanced: N / (K n_k), n_k images of k
    clip: Amount | None = None
    validation: Below1 = 0.1  # the part of the training images that is held out, to judge epochs
    seed: Size = 0
    # facts of the data, filled in by `for_data`
    classes: tuple[str, ...] = ()
    shape: tuple[Annotated[int, Range(1, 1 << 16)], ...] = ()  # (H, W, C) of one image
    standardize: dict[str, Any] | None = None  # None: only brought to 0 … 1
    balance: tuple[Amount, ...] = ()  # the weight of each class; empty without class weights
    seconds: Seconds | None = None  # of a sound; None: they are pictures
    depth: Count | None = None  # convolutions of a stage; None: that of `columns`

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            value = getattr(self, name)
            need("recipe", name, value, hint)
            if isinstance(value, (list, np.generic)):  # as JSON or NumPy has them
                plain = tuple(value) if isinstance(value, list) else value.item()
                object.__setattr__(self, name, plain)
        object.__setattr__(self, "classes", tuple(map(printable, self.classes)))
        if not self.channels:
            raise ValueError("recipe: channels needs one number for each block, got none")

    @checked
    def for_data(self, train: Dataset) -> Recipe:
        """This recipe with the facts of the training images filled in."""
        return replace(
            self,
            classes=tuple(train.classes),
            shape=tuple(train.shape),
            standardize=Standardize.fit(train.images).as_dict(),
            balance=_balance(train) if self.class_weights == "balanced" else (),
            seconds=train.seconds,
        )

    def transform(self) -> Standardize | None:
        """The standardization that was fitted on the training images, if there is one."""
        self._check_facts()
        return None if self.standardize is None else Standardize.from_dict(self.standardize)

    def weights(self) -> tuple[float, ...] | None:
        """The weight of each class in the loss, for `fit(class_weights=…)`; None without them."""
        self._check_facts()
        if self.class_weights == "none":
            return None
        if len(self.balance) != len(self.classes):
            raise ValueError(
                f"recipe: class_weights={self.class_weights!r} of {len(self.classes)} classes has "
                f"{len(self.balance)} weights; for_data(train) counts the images of each class"
            )
        return self.balance

    def _check_facts(self) -> None:
        if len(self.shape) != 3 or not self.classes:
            raise ValueError("recipe: for_data(train) was not called yet")

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
        self._check_facts()
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
        kind = {"plain": zoo.PlainNet, "resnet": zoo.ResNet}[self.model]
        return kind(depth=self.stage_depth, **common)

    @checked
    def build_optimizer(self, model: Module) -> optim.Optimizer:
        """The optimizer for the weights of `model`."""
        weights, decay = model.parameters(), self.weight_decay
        if self.optimizer == "sgd":
            return optim.SGD(weights, self.lr, self.momentum, decay, self.nesterov)
        kind = {"adam": optim.Adam, "adamw": optim.AdamW}[self.optimizer]
        return kind(weights, self.lr, weight_decay=decay)

    @checked
    def build_schedule(self, optimizer: optim.Optimizer) -> optim.Schedule:
        """The learning-rate schedule over all epochs."""
        return SCHEDULES[self.schedule](optimizer, self.epochs)

    # ----- Counting, without building anything -----

    @property
    def stage_depth(self) -> int:
        """Convolutions on the longest path of a stage."""
        return self.depth or fractal_depth(self.columns)

    def count_convolutions(self) -> int:
        """3×3 convolutions of the network."""
        each = 2**self.columns - 1 if self.model == "fractal" else self.stage_depth
        return each * len(self.channels)

    def count_parameters(self) -> int:
        """Learned numbers of the network."""
        self._check_facts()
        sizes = self.channels, self.shape[2], len(self.classes)
        if self.model == "fractal":
            return fractal_parameters(self.columns, *sizes)
        return stack_parameters(self.stage_depth, *sizes, shortcuts=self.model == "resnet")

    def training_bytes(self) -> int:
        """Memory for weights, gradients and what the optimizer remembers, in float32."""
        arrays = 3 if self.optimizer == "sgd" else 4
        return 4 * arrays * self.count_parameters()

    # ----- As JSON -----

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON holds it."""
        return asdict(self)

    @classmethod
    @checked
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `as_dict` described; what an older version did not have is the default.

        Validation is the exception: a run that says nothing of it trained on all of its images.

        Raises `CheckpointError` where it is something else, or of a newer version.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise CheckpointError(
                f"recipe: unknown entries {', '.join(unknown)}; was it written by a newer version?"
            )
        try:
            recipe = cls(**{"validation": 0.0, **values})
            if recipe.standardize is not None:
                channels = len(Standardize.from_dict(recipe.standardize).mean)
                if recipe.shape and channels != recipe.shape[-1]:
                    raise ValueError(f"recipe: standardize has {channels} channels")
        except (TypeError, ValueError) as error:
            raise CheckpointError(str(error)) from error
        return recipe


def _balance(train: Dataset) -> tuple[float, ...]:
    """N / (K n_k): together the images of each of the K classes count the same, N / K.

    So an image counts 1 on average, and all classes pull equally on the weights of the network.
    """
    labels = train.labels.astype(np.intp)  # what bincount takes where an index has 32 bits
    counts = np.bincount(labels, minlength=len(train.classes))
    if not counts.all():
        empty = train.classes[int(counts.argmin())]
        raise DataError(
            f"recipe: class_weights='balanced' needs training images of every class, {train.name} "
            f"has none of {printable(empty)!r}"
        )
    return tuple((len(train) / (len(counts) * counts)).tolist())


@functools.cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Recipe, include_extras=True)


# ----- The recipe of a network that was built by hand -----


def recipe_of(
    model: Module, train: Dataset, transform: Any, recipe: dict[str, Any] | None
) -> dict[str, Any]:
    """What a checkpoint says of how to build the network: {"recipe": …}, or why it cannot.

    It is the `recipe` that was given, else one for the library's own networks, which is short: it
    has no optimizer, since only the caller of `fit` knows how it trains.
    """
    if recipe is not None:
        return {"recipe": recipe}
    if not (transform is None or isinstance(transform, Standardize)):
        return {"recipe": {}, "no_recipe": "its transform is not a Standardize"}
    found = _settings(model)
    if found is None:
        return {"recipe": {}, "no_recipe": f"its network is a {type(model).__name__}"}
    found |= {
        "data": train.name,
        "classes": tuple(train.classes),
        "shape": tuple(train.shape),
        "standardize": None if transform is None else transform.as_dict(),
        "seconds": train.seconds,
    }
    if not _builds(Recipe(**found), model):
        return {"recipe": {}, "no_recipe": f"its {type(model).__name__} was changed"}
    return {"recipe": found}


def _settings(model: Module) -> dict[str, Any] | None:
    """The arguments that one of the library's own networks was made with; None for others."""
    if type(model) is FractalNet:
        firsts: list[Any] = [block.conv for block in model.blocks]  # type: ignore[attr-defined]
        return {
            "model": "fractal",
            "columns": model.columns,
            "channels": tuple(unit.conv.weight.shape[-1] for unit in firsts),
            "dropout": tuple(float(unit.dropout.p) for unit in firsts),
            "drop_path": model.drop_path.p,
            "global_ratio": model.global_ratio,
            "per_sample": model.drop_path.per_sample,
        }
    if type(model) not in (zoo.PlainNet, zoo.ResNet):
        return None
    stages: list[list[Any]] = [[]]
    for _, layer in model.children():
        if isinstance(layer, (ConvUnit, zoo.ResidualUnit)):
            stages[-1].append(layer)
        elif isinstance(layer, MaxPool2d):
            stages.append([])
    depth = sum(1 + len(getattr(unit, "units", ())) for unit in stages[0])
    rates = [layer.p for _, layer in model.named_modules() if isinstance(layer, Dropout)]
    return {
        "model": "plain" if type(model) is zoo.PlainNet else "resnet",
        "columns": max(depth.bit_length(), 1),
        "depth": depth,
        "channels": tuple(stage[-1].norm.weight.size for stage in stages if stage),
        "dropout": rates[0] if rates else 0.0,
    }


def _builds(recipe: Recipe, model: Module) -> bool:
    """Whether the recipe builds a network with the same weights by name and shape."""
    random = backend.random_state()
    try:
        twin = recipe.build_model()
    except (TypeError, ValueError):
        return False
    finally:
        backend.set_random_state(random)
    shapes = ({n: p.shape for n, p in m.named_parameters()} for m in (model, twin))
    return next(shapes) == next(shapes)
