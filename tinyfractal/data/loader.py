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

from .. import browser
from ..check import Count, Size, checked, got
from ..errors import DTypeError, ShapeError
from .augment import Augmentation
from .dataset import Dataset, to_unit

Batch = tuple[np.ndarray, np.ndarray]
MOST_AHEAD = 64  # batches that are prepared before they are asked for; more only fill the memory


class Loader:
    """Batches `(images, labels)` of a dataset: `(n, H, W, C)` float32 and `(n,)` int64.

    batch_size: examples per batch; the last one may be smaller unless `drop_last`.
    shuffle: a new order each epoch, otherwise that of the dataset.
    seed: 0 or more; with the number of the epoch it decides order and augmentation.
    transform: images as stored -> float32, such as a `Standardize`; without one, bytes are
        divided by 255.
    augment: (images, rng) -> images, such as a `Compose`; for training only.
    prefetch: how many batches a background thread prepares ahead, 64 at most; none in a browser,
        where there are no threads. The batches are the same.

    The arrays are on the host and are the caller's own to change. Each `iter()` is the next
    epoch, beginning with 0; `set_epoch` chooses another.
    Raises `ValueError` where a number is out of range, `ShapeError` or `DTypeError` where `augment`
    does not give as many images of the same type, or `transform` as many in float32.
    """

    @checked
    def __init__(
        self,
        dataset: Dataset,
        batch_size: Count,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: Size = 0,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        augment: Augmentation | None = None,
        prefetch: Size = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.transform = transform or to_unit
        self.augment = augment
        self.prefetch = min(prefetch, MOST_AHEAD)
        self.next_epoch = 0
        if len(self) == 0:
            raise ValueError(
                f"Loader: dataset: {len(dataset)} examples make no batch of {batch_size}"
                + (" with drop_last" if drop_last else "")
            )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @checked
    def set_epoch(self, epoch: Size) -> None:
        """Let the next `iter()` give the batches of this epoch, 0 or more."""
        self.next_epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.next_epoch
        self.next_epoch += 1
        batches = self._batches(epoch)
        ahead = 0 if browser.IN_BROWSER else min(self.prefetch, len(self))
        return _ahead(batches, ahead) if ahead else batches

    def _batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, epoch])
        count = len(self.dataset)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = self.dataset.images[chosen]
            if self.augment is not None:
                images = self.augment(images, rng)
                # Bytes that became floats here would not be divided by 255 any more.
                _check_batch("augment", images, self.dataset.images.dtype, len(chosen))
            images = self.transform(images)
            _check_batch("transform", images, np.dtype(np.float32), len(chosen))
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


def _check_batch(name: str, images: object, dtype: np.dtype, count: int) -> None:
    """Refuse what a function of the user made of a batch, unless it fits the labels."""
    if not isinstance(images, np.ndarray) or images.dtype != dtype:
        raise DTypeError(
            f"Loader: {name} needs to give a NumPy array of {dtype}, got {got(images)}"
            + (f"; end it with .astype({dtype})" if isinstance(images, np.ndarray) else "")
        )
    if images.shape[:1] != (count,) or images.size == 0:
        raise ShapeError(
            f"Loader: {name} needs to give as many images as it gets, {count}, got {got(images)}"
        )
