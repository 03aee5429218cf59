"""What a rank does in `test_distributed`: `mpiexec -n 2 python -m tests.ranks NAME FILE`.

The same functions, called with a group of one, are the single process that ranks are compared with.
"""

import sys
from pathlib import Path

import numpy as np

import tinyfractal as tf
from tinyfractal import backend, nn
from tinyfractal.distributed import (
    DistributedDataParallel,
    ProcessGroup,
    SyncBatchNorm,
    init_process_group,
)

BUCKET = 2000  # bytes: some weights each


def train(net, group, batches, seed=3, bucket_bytes=BUCKET):
    """Loss of the whole batch at each step of SGD with momentum, and all state at the end."""
    backend.seed(seed)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    parallel = DistributedDataParallel(net.parameters(), group, bucket_bytes)
    losses = []
    for images, labels in batches:
        with group.sharing(len(labels)) as (part, weight):
            loss = tf.cross_entropy(net(tf.Tensor.of(images[part])), labels[part])
            optimizer.zero_grad()
            loss.backward(weight)
        parallel.wait()
        optimizer.step()
        (total,) = group.add_up(weight * loss.item())
        losses.append(total)
    group.average(net.buffers())
    state = {**net.state_dict(), **optimizer.state_dict(), "losses": np.array(losses)}
    state["draw"] = backend.rng().random()  # ranks have drawn the same
    return state


def batches(samples, size, channels=2):
    """Six batches of so many float64 images."""
    rng = np.random.default_rng(1)
    for _ in range(6):
        yield rng.normal(size=(samples, size, size, channels)), rng.integers(3, size=samples)


def fractal(group, samples=10, **settings):
    """FractalNet with everything that draws: dropout and drop-path, local and global."""
    backend.seed(0)
    settings = {"columns": 3, "channels": (4, 6), "dropout": 0.2, "drop_path": 0.4, **settings}
    net = tf.FractalNet(2, 3, **settings).astype(np.float64)
    net = SyncBatchNorm.convert_sync_batchnorm(net, group)
    return train(net, group, batches(samples, 4))


def by_sample(group):
    """Drop-path decided for each sample."""
    return fractal(group)


def by_batch(group):
    """Drop-path decided for the mini-batch: some weights have no gradient on any rank."""
    return fractal(group, per_sample=False, samples=11)


def local_statistics(group):
    """Batch norm of each part by itself."""
    backend.seed(0)
    net = tf.FractalNet(2, 3, 2, (4,), drop_path=0).astype(np.float64)
    return train(net, group, batches(12, 4))


class Uneven(nn.Module):
    """Three layers of which only some are used: `second` on rank 1 alone, `third` nowhere."""

    def __init__(self, group):
        self.first, self.second, self.third = (nn.Linear(8, 3) for _ in range(3))
        self.group = group

    def forward(self, x):
        x = x.reshape(len(x), 8)
        return self.first(x) + (self.second(x) if self.group.rank == 1 else 0)


def uneven(group):
    """A branch that one rank does not compute: no deadlock, and a gradient of zero there."""
    backend.seed(0)
    net = Uneven(group).astype(np.float64)
    return train(net, group, batches(4, 2), bucket_bytes=100)


def start(group):
    """Ranks that are unlike before become like rank 0."""
    backend.seed(group.rank)
    net = nn.Linear(3, 2)
    group.broadcast(net.parameters())
    return {**net.state_dict(), "draw": backend.rng().random()}


def main(name, file):
    """Write what this rank found; one that never comes back is ended by the test."""
    group = init_process_group()
    state = globals()[name](group)
    np.savez(Path(f"{file}-{group.rank}.npz"), **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
