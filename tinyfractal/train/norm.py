"""Batch norm after training: its running statistics, estimated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import backend
from ..check import Count, checked
from ..data import Dataset, Loader
from ..engine.tensor import Tensor
from ..errors import DataError
from ..nn import BatchNorm2d
from ..nn.module import Module
from .inference import inference


@checked
def update_bn(
    model: Module, data: Dataset, transform: Callable | None = None, batch_size: Count = 250
) -> None:
    """Estimate the running statistics of batch norm again, for the network as it is and is used.

    In training they follow weights that still move, in a network of which drop-path and dropout
    leave out parts. Here `data`, the training images, go through the network once in inference,
    where nothing is dropped; only batch norm works as in training. Of a channel with mean μ_b and
    variance σ²_b in batch b, which has n_b of the N images:

        running_mean = Σ n_b μ_b / N        running_var = Σ n_b σ²_b / N

    One set of statistics cannot serve the whole of a FractalNet and each of its columns, which
    share their layers. So for a column, `copy.deepcopy(net.column(c))` first.

    PyTorch's `torch.optim.swa_utils.update_bn` does the same, but for the weights n_b / N, which it
    takes to be equal. Weights and modes stay as they are.
    Raises `DataError` for data without images, `ValueError` where a batch has a single number for
    a channel, which has no variance.
    """
    if len(data) == 0:
        raise DataError(f"update_bn: data ({data.name}) has no images")
    norms: list[Any] = [m for _, m in model.named_modules() if isinstance(m, BatchNorm2d)]
    momenta, seen = [norm.momentum for norm in norms], 0
    with inference(model):
        try:
            for images, labels in Loader(data, batch_size, transform=transform):
                seen += len(labels)
                for norm in norms:
                    norm.training, norm.momentum = True, len(labels) / seen  # 1 at first: anew
                model(Tensor.of(backend.asarray(images)))
        finally:
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum
