"""Several processes train one network, each on its part of every batch: data parallelism.

    mpiexec -n 2 python -m tinyfractal train --distributed

The processes, which may sit on several machines, are called *ranks*; MPI, through the package
mpi4py, starts them and carries their messages. Rank 0 prints and writes.

**Why it is the same training.** The loss of a batch is a mean over its N samples, and a mean is a
sum of parts. Where rank r has n_r of the samples,

    mean over the batch  =  Σ_r  n_r / N · (mean over the samples of rank r)

and the gradient of a sum is the sum of the gradients. So every rank starts from the same weights
and works out the gradient of its own mean; these are added up, each with its weight n_r / N, and
all ranks take the same step along the sum. Only the order of the additions is not that of one
process: the numbers agree to rounding.

**What is random** for each sample, dropout and drop-path, every rank draws for the whole batch,
from the same seed, and keeps what belongs to its own samples: together the ranks make the decisions
that one process would make.

**What batch norm changes.** It lets the samples of a batch see each other, through mean and
variance, so that the loss is not a sum of parts any more. `SyncBatchNorm` takes the mean and the
variance over all ranks, and the parts fit again; it has to wait for the others in every layer.
Without it each rank normalizes its part by itself, as if the batch were smaller: that is quicker,
needs parts of some size (32 samples, say), and is a slightly different training.

**How buckets hide the waiting.** A message costs a fixed time and a time for its bytes. So the
gradients of many weights travel together, in a bucket; and since backward comes to the last layers
first, their bucket can travel while the first layers are still at work (Li et al. 2020, PyTorch
Distributed, arXiv 2006.15704). Ranks must send their buckets in the same order, or they would wait
for each other for ever; a gradient that a rank does not have, of a branch that it did not compute,
counts as zero there.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np

from .. import backend
from ..backend import Array, asnumpy, xp
from ..check import Count, Size, checked
from ..engine.operators import raw
from ..engine.primitive import primitive
from ..engine.tensor import Tensor
from ..errors import DistributedError, ShapeError
from ..nn import BatchNorm2d
from ..nn.module import Module
from ..ops import relu, sqrt

T = TypeVar("T")

# ----- Who takes part -----


class ProcessGroup:
    """The processes that train together: this one is `rank`, of `size`.

    `init_process_group` makes it; `ProcessGroup()` is one process by itself.
    """

    reads_device = False  # whether MPI says that it can read the memory of a GPU
    samples = 0  # in the whole batch, inside `sharing`
    weight = 1.0  # n_r / N there

    @checked
    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        if comm is not None:
            self.reads_device = "cuda" in str(comm.Get_info().get("mpi_memory_alloc_kinds"))

    @checked
    def part(self, samples: Size) -> slice:
        """Which of so many samples are this rank's; the parts differ by one at most."""
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    @contextmanager
    def sharing(self, samples: int) -> Iterator[slice]:
        """Work on one batch of so many samples together, on this rank's part of it.

        Inside the block `weight` is n_r / N, of which the `Reducer` and `SyncBatchNorm` make use.
        Raises `DistributedError` for fewer samples than processes.
        """
        if samples < self.size:
            raise DistributedError(
                f"sharing: {samples} samples are fewer than the {self.size} processes; use "
                "larger batches"
            )
        part = self.part(samples)
        before = self.samples, self.weight, backend.draw_shared
        self.samples, self.weight = samples, (part.stop - part.start) / samples
        if self.size > 1:
            backend.draw_shared = lambda draw: _of_part(draw(samples), part)
        try:
            yield part
        finally:
            self.samples, self.weight, backend.draw_shared = before

    def share(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """This rank's part of each batch (images, labels); the loop's body is inside `sharing`."""
        for images, labels in batches:
            with self.sharing(len(labels)) as part:
                yield images[part], labels[part]

    def start_all_reduce(self, array: Array) -> Callable[[], Any]:
        """Begin to add up the arrays of all ranks, in place; what comes back waits for the end.

        MPI gets an array on a GPU as it is where it can read that, and otherwise a copy on the
        host. (Written for GPUs; not yet proved on one.)
        """
        MPI, buffer = importlib.import_module("mpi4py.MPI"), array
        if backend.current() == "cupy" and self.reads_device:
            xp.cuda.get_current_stream().synchronize()  # MPI does not wait for the GPU
        elif backend.current() == "cupy":
            pinned = importlib.import_module("cupyx").empty_pinned(array.shape, array.dtype)
            buffer = array.get(out=pinned)  # in memory that the GPU reaches without a detour
        request = self.comm.Iallreduce(MPI.IN_PLACE, buffer)

        def wait() -> None:
            request.Wait()
            if buffer is not array:
                array.set(buffer)

        return wait

    def all_reduce(self, array: Array) -> Array:
        """The sum of the arrays of all ranks."""
        total = array.copy()
        if self.size > 1:
            self.start_all_reduce(total)()
        return total

    @checked
    def add_up(self, *numbers: float) -> tuple[float, ...]:
        """The sum of each number over the ranks."""
        return numbers if self.size == 1 else tuple(map(self.comm.allreduce, numbers))

    @checked
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Set each Tensor, running statistics say, to its mean over the ranks."""
        for tensor in tensors if self.size > 1 else ():
            tensor.copy_(self.all_reduce(tensor.data) / self.size)

    @checked
    def from_first(self, make: Callable[[], T]) -> T:
        """What `make()` gives on rank 0, or the error that it raises there, on every rank."""
        if self.size == 1:
            return make()
        value, error = _outcome(make) if self.rank == 0 else (None, None)
        value, error = self.comm.bcast((value, error))
        if error is not None:
            raise error
        return cast(T, value)

    @checked
    def agree(self, name: str, make: Callable[[], dict[str, Any] | None]) -> None:
        """Raise on every rank unless `make()` gives {what: value}, or None, alike on all of them.

        Raises the error of `make()`, or `DistributedError` where only another rank has one.
        """
        if self.size == 1:
            make()
            return
        values, error = _outcome(make)
        everyone = self.comm.allgather((values, None if error is None else str(error)))
        if error is not None:
            raise error
        first = everyone[0][0] or {}
        for rank, (theirs, failed) in enumerate(everyone):
            if failed is not None:
                raise DistributedError(f"{name}: rank {rank} cannot begin ({failed})")
            differ = [what for what in first if theirs[what] != first[what]]
            if differ:
                raise DistributedError(
                    f"{name}: the processes need the same {', '.join(differ)}; rank {rank} has "
                    "another than rank 0"
                )

    @checked
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Start alike: these leaves, and the random numbers, become those of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                tensor.detach().copy_(backend.asarray(self.from_first(tensor.numpy)))
            backend.set_random_state(self.from_first(backend.random_state))

    @contextmanager
    def ending_together(self, report: Callable[[BaseException], int]) -> Iterator[None]:
        """Where one rank fails in this block the others would wait for ever, so all are ended.

        `report` says what happened and gives the exit status.
        """
        try:
            yield
        except BaseException as error:
            if self.size == 1:
                raise
            time.sleep(2 * min(self.rank, 1))  # where all fail alike, rank 0 says it for all
            status = report(error)
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            time.sleep(0.5)  # or mpiexec ends, now and then, before it has passed on the words
            self.comm.Abort(status)


class LocalRows(np.ndarray):
    """Which branches live, for this rank's samples only; but `any` asks for the whole batch.

    So a branch that only samples of another rank need is computed on this one too: the mean of
    `SyncBatchNorm` is over all samples, and it waits for every rank.
    """

    batch: np.ndarray

    @classmethod
    def of(cls, batch: np.ndarray, rows: np.ndarray) -> LocalRows:
        local = rows.view(cls)
        local.batch = batch
        return local

    def __getitem__(self, key: Any) -> Any:
        return LocalRows.of(self.batch[key], np.asarray(self)[key])

    def any(self, *args: Any, **kwargs: Any) -> Any:
        return self.batch.any(*args, **kwargs)


def _of_part(drawn: Any, part: slice) -> Any:
    """Of what was drawn for the whole batch, what belongs to the samples of one part."""
    if not callable(drawn):
        return drawn[part]

    def keep(columns: int) -> np.ndarray:  # drop-path goes on drawing, at each join
        alive = drawn(columns)
        return LocalRows.of(alive, alive[part])

    return keep


def _outcome(make: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What `make()` gives, or the error that it raises."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def init_process_group() -> ProcessGroup:
    """The processes that `mpiexec` started, each with a GPU of its own where there are GPUs.

    Raises `DistributedError` where mpi4py or MPI is missing, or this process is the only one.
    """
    try:
        MPI = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:  # the second: there is no MPI library
        reason = str(error).partition("\n")[0]
        raise DistributedError(
            f"distributed: mpi4py and an MPI library are needed ({reason}): "
            "pip install 'tinyfractal[distributed]' mpich"
        ) from error
    comm = MPI.COMM_WORLD
    if comm.size == 1:
        library = MPI.Get_library_version().strip("\0").split(",")[0].splitlines()[0]
        raise DistributedError(
            "distributed: this process is alone; start several, with mpiexec -n 2 python -m "
            "tinyfractal … (if you did, that mpiexec is of another MPI than the one that mpi4py "
            f"found, {library})"
        )
    if backend.current() == "cupy":  # each process of a machine takes the next GPU
        number = comm.Split_type(MPI.COMM_TYPE_SHARED).rank
        xp.cuda.Device(number % xp.cuda.runtime.getDeviceCount()).use()
    return ProcessGroup(comm)


# ----- Gradients -----


class Bucket:
    """The gradients of some parameters in one array, and behind them a 1 for each that is there."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.missing = dict.fromkeys(parameters)  # a set that keeps its order
        self.parts: dict[Tensor, Array] = {}
        numbers = sum(parameter.size for parameter in parameters)
        self.array = xp.zeros(numbers + len(parameters), parameters[0].dtype)
        self.there = self.array[numbers:]
        start = 0
        for parameter in parameters:
            part = self.array[start : start + parameter.size]
            self.parts[parameter] = part.reshape(parameter.shape)
            start += parameter.size


class Reducer:
    """Adds up the gradients of `parameters` over the ranks, while backward still runs.

        for images, labels in group.share(loader):        # this rank's part of each batch
            loss = cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            reducer.wait()
            optimizer.step()

    After `wait`, `grad` is the same on all ranks: that of the mean over the whole batch, or None
    where no rank has one. About `bucket_bytes` travel together. For a batch by itself there is
    `with group.sharing(len(labels)) as part:`, in which backward has to run too; the `Reducer`
    gives each gradient its weight.
    """

    @checked
    def __init__(
        self, parameters: Iterable[Tensor], group: ProcessGroup, bucket_bytes: Count = 1 << 20
    ) -> None:
        self.group = group
        self.on_their_way: list[Callable[[], Any]] = []
        together: list[list[Tensor]] = []
        for parameter in reversed(list(parameters)):  # in backward the last come first
            last = together[-1] if together else []
            nbytes = sum(p.data.nbytes for p in last)
            if not last or nbytes > bucket_bytes or last[0].dtype != parameter.dtype:
                together.append([])
            together[-1].append(parameter)
        self.buckets = [Bucket(each) for each in together] if group.size > 1 else []
        self.home = {p: bucket for bucket in self.buckets for p in bucket.parts}
        for parameter in self.home:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def _arrived(self, parameter: Tensor) -> None:
        """Put a gradient into its bucket, and send what is full, in order."""
        bucket = self.home[parameter]
        if parameter not in bucket.missing:
            raise DistributedError("distributed: a second backward before wait() of the first")
        if not self.group.samples:
            raise DistributedError("distributed: call backward inside group.sharing(n)")
        xp.multiply(raw(parameter.grad), self.group.weight, out=bucket.parts[parameter])
        del bucket.missing[parameter]
        for bucket in self.buckets[len(self.on_their_way) :]:
            if bucket.missing:
                break
            self._send(bucket)

    def _send(self, bucket: Bucket) -> None:
        bucket.there[...] = xp.asarray([p not in bucket.missing for p in bucket.parts])
        for parameter in bucket.missing:
            bucket.parts[parameter][...] = 0
        self.on_their_way.append(self.group.start_all_reduce(bucket.array))

    def wait(self) -> None:
        """Send what is left, and put the sums into `grad` as they arrive."""
        for bucket in self.buckets[len(self.on_their_way) :]:
            self._send(bucket)
        for bucket, wait in zip(self.buckets, self.on_their_way):
            wait()
            for (parameter, total), count in zip(bucket.parts.items(), asnumpy(bucket.there)):
                parameter.grad = Tensor.of(total.copy()) if count else None
            bucket.missing = dict.fromkeys(bucket.parts)
        self.on_their_way = []


# ----- Batch norm -----


@primitive(lambda g, _y, _x, group: all_reduce(g * group.weight, group=group) / group.weight)
def all_reduce(x: Any, *, group: ProcessGroup) -> Any:
    """Σ x over the ranks.

    The loss of every rank depends on this x. Each has its weight w_r = n_r / N in the loss of the
    batch, of which the gradient is Σ w_r g_r; this rank's own will get its weight in the `Reducer`.
    """
    return group.all_reduce(x)


class SyncBatchNorm(BatchNorm2d):
    """Batch norm over the samples of all ranks; by itself, and in inference, as BatchNorm2d.

        mean = Σ x / n,    variance = Σ (x - mean)² / n

    with the sums over the n images and pixels of all ranks. In training it is called inside
    `group.share` or `group.sharing`, and so is backward.
    """

    group = ProcessGroup()

    def forward(self, x: Any) -> Tensor:
        if not self.training or self.group.size == 1:
            return super().forward(x)
        if not self.group.samples:
            raise DistributedError("SyncBatchNorm: in training, call it inside group.sharing(n)")
        n, axes = self.group.samples * math.prod(x.shape[1:-1]), tuple(range(x.ndim - 1))
        if n < 2:
            raise ShapeError(
                f"SyncBatchNorm: x {x.shape} has {n} numbers per channel on all ranks together, "
                "which have no variance; use larger batches"
            )
        mean = all_reduce(x.sum(axis=axes), group=self.group) / n
        centered = x - mean
        variance = all_reduce((centered * centered).sum(axis=axes), group=self.group) / n
        for running, batch in (
            (self.running_mean, raw(mean)),
            (self.running_var, raw(variance) * (n / (n - 1))),
        ):
            running.copy_((1 - self.momentum) * running.data + self.momentum * batch)
        y = centered * (self.weight / sqrt(variance + self.eps)) + self.bias
        return relu(y) if self.relu else y

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, group: ProcessGroup) -> Module:
        """The module, every BatchNorm2d in it replaced by a SyncBatchNorm of the same weights."""
        made: dict[Module, Module] = {}  # one for each, wherever else it is used

        def converted(norm: Module) -> Module:
            if norm not in made:
                made[norm] = cls.__new__(cls)
                vars(made[norm]).update(vars(norm), group=group)
            return made[norm]

        if type(module) is BatchNorm2d:
            return converted(module)
        for _, owner in list(module.named_modules()):
            for name, child in list(owner.children()):
                if type(child) is BatchNorm2d:
                    setattr(owner, name, converted(child))
        return module
