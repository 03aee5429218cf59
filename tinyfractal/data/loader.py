"""From a dataset to batches, in an order that can be repeated.

    loader = Loader(train, batch_size=100, shuffle=True, transform=standardize, augment=augment)
    for images, labels in loader:          # one epoch
        ...

Everything random in epoch e, the order of the examples and how each is augmented, comes from one
generator started from (seed, e). So a run that was stopped and is resumed with `set_epoch(e)` sees
the same batches, bit for bit, as a run that never stopped.

A batch is first augmented, in the numbers it is stored in, then transformed (to float32,
standardized): the zeros that `shift` and `cutout` fill in are black, the empty paper of the digits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import DTypeError
from .augment import Augmentation
from .dataset import Dataset, to_unit

Batch = tuple[np.ndarray, np.ndarray]


class Loader:
    """Batches `(images, labels)` of a dataset: `(n, H, W, C)` float32 and `(n,)` int64.

    batch_size: examples per batch; the last one may be smaller unless `drop_last`.
    shuffle: a new order each epoch, otherwise that of the dataset.
    seed: 0 or more; with the number of the epoch it decides order and augmentation.
    transform: images as stored -> float32, such as a `Standardize`; without one, bytes are
        divided by 255.
    augment: (images, rng) -> images, such as a `Compose`; for training only.
    prefetch: how many batches a background thread prepares ahead. The batches are the same.

    The arrays are on the host and are the caller's own to change. Each `iter()` is the next
    epoch, beginning with 0; `set_epoch` chooses another.
    Raises `ValueError` where a number is out of range, `DTypeError` where `transform` and
    `augment` do not end in float32.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        augment: Augmentation | None = None,
        prefetch: int = 0,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("prefetch", prefetch, 0),
        ):
            _check_integer(name, value, least)
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.transform = transform or to_unit
        self.augment = augment
        self.prefetch = prefetch
        self.next_epoch = 0
        if len(self) == 0:
            raise ValueError(
                f"dataset: {len(dataset)} examples make no batch of {batch_size}"
                + (" with drop_last" if drop_last else "")
            )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` give the batches of this epoch, 0 or more."""
        _check_integer("epoch", epoch, 0)
        self.next_epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.next_epoch
        self.next_epoch += 1
        batches = self._batches(epoch)
        return _ahead(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, epoch])
        count = len(self.dataset)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = self.dataset.images[chosen]
            if self.augment is not None:
                images = self.augment(images, rng)
            images = self.transform(images)
            if images.dtype != np.float32:
                raise DTypeError(
                    f"transform and augment: expected float32 images, got {images.dtype}"
                )
            yield images, self.dataset.labels[chosen]


def _ahead(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """The same batches, up to `count` of them prepared in a thread before they are asked for.

    There is one thread and it works through its requests in order, so the random draws come in
    the same order as without it. An error in the thread is raised again by `result()`, and a
    consumer that stops early closes this generator, which ends the thread.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tinyfractal-loader")
    try:
        requests = deque(thread.submit(next, batches, None) for _ in range(count))
        while (batch := requests.popleft().result()) is not None:
            requests.append(thread.submit(next, batches, None))
            yield batch
    finally:
        thread.shutdown(cancel_futures=True)


def _check_integer(name: str, value: int, least: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
