"""What a rank does in `test_distributed`: `mpiexec -n 2 python -m tests.ranks NAME FILE`.

Called with a group of one, the same functions are the single process that ranks are compared with.
"""

import os
import sys
from pathlib import Path

import numpy as np

import tinyfractal as tf
from tinyfractal import backend, cli, nn, train
from tinyfractal.train.distributed import ProcessGroup, Reducer, SyncBatchNorm, init_process_group


class Pretended(ProcessGroup):
    """Rank r of n, without the others: it has their part of the batch and hears nothing."""

    def __init__(self, rank, size):
        super().__init__()
        self.rank, self.size = rank, size


def step_by_step(net, group, batches, pretended=0):
    """Loss of the whole batch in each step of SGD with momentum, and all state at the end.

    One process may pretend to be several ranks, one after the other, whose gradients add up.
    """
    backend.seed(3)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    reducer = Reducer(net.parameters(), group, bucket_bytes=2000)
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        losses.append(0.0)
        for one in [Pretended(r, pretended) for r in range(pretended)] or [group]:
            with one.sharing(len(labels)) as part:
                net.group = one
                loss = tf.cross_entropy(net(tf.Tensor.of(images[part])), labels[part])
                loss.backward(one.weight if pretended else None)  # else the reducer does that
                losses[-1] += one.weight * loss.item()
        reducer.wait()
        optimizer.step()
    losses = np.array([group.add_up(loss) for loss in losses])
    state = {**net.state_dict(), **optimizer.state_dict(), "losses": losses}
    return {**state, "draw": backend.rng().random()}  # ranks have drawn the same


def batches(samples, size):
    """Six batches of so many float64 images in two colours."""
    rng = np.random.default_rng(1)
    for _ in range(6):
        yield rng.normal(size=(samples, size, size, 2)), rng.integers(3, size=samples)


def fractal(group, samples, **settings):
    """FractalNet with everything that draws: dropout and drop-path, local and global."""
    backend.seed(0)
    net = tf.FractalNet(2, 3, 3, (4, 6), dropout=0.2, drop_path=0.4, **settings)
    net = SyncBatchNorm.convert_sync_batchnorm(net.astype(np.float64), group)
    return step_by_step(net, group, batches(samples, 4))


def by_sample(group):
    """Drop-path decided for each sample: what no sample of a part needs, the other part may."""
    return fractal(group, samples=4)


def by_batch(group):
    """Drop-path decided for the mini-batch: some weights have no gradient on any rank."""
    return fractal(group, samples=11, per_sample=False)  # parts of 5 and 6


def local_statistics(group, pretended=0):
    """Batch norm of each part by itself."""
    backend.seed(0)
    net = tf.FractalNet(2, 3, 2, (4,), drop_path=0).astype(np.float64)
    state = step_by_step(net, group, batches(12, 4), pretended)
    return {name: array for name, array in state.items() if "running" not in name}


class Uneven(nn.Module):
    """Three layers of which rank 0 computes one, rank 1 two, and nobody the last."""

    group: ProcessGroup

    def __init__(self):
        self.first, self.second, self.third = (nn.Linear(8, 3) for _ in range(3))

    def forward(self, x):
        x = x.reshape(len(x), 8)
        return self.first(x) + (self.second(x) if self.group.rank == 1 else 0)


def uneven(group, pretended=0):
    """A branch that one rank does not compute counts as zero there, and nobody waits for ever."""
    backend.seed(0)
    return step_by_step(Uneven().astype(np.float64), group, batches(5, 2), pretended)


def start(group):
    """Ranks that are unlike become like rank 0."""
    backend.seed(group.rank)
    net = nn.Linear(3, 2)
    group.broadcast(net.parameters())
    return {**net.state_dict(), "draw": backend.rng().random()}


def overlap(group):
    """How many buckets were on their way when the gradient of the first layer was complete."""
    net = nn.Sequential(*(nn.Linear(50, 50) for _ in range(4)))
    sent = []
    net[0].weight.register_post_accumulate_grad_hook(
        lambda _: sent.append(len(reducer.on_their_way))
    )
    reducer = Reducer(net.parameters(), group, bucket_bytes=10_000)
    with group.sharing(4) as part:
        net(np.ones((4, 50), np.float32)[part]).sum().backward()
    reducer.wait()
    return {"sent": np.array(sent), "buckets": len(reducer.buckets)}


def statistics(group):
    """Running statistics with and without synchronization, and a Result of shared evaluation."""
    data = tf.data.load("digits")[1][:7]
    x = tf.Tensor(np.random.default_rng(0).normal(size=(6, 2, 2, 3)) + [0, 50, -3])
    norm = nn.Sequential(nn.BatchNorm2d(3).astype(np.float64))
    norm = SyncBatchNorm.convert_sync_batchnorm(norm, group)
    with group.sharing(6) as part:
        norm(x[part])
    backend.seed(0)
    result = train.evaluate(tf.FractalNet(1, 10, 1, (4,)), data, group=group)
    return {**norm.state_dict(), "loss": result.loss, "accuracy": result.accuracy}


def unlike(group, change=None, **options):
    """What `fit` says where rank 1 was given something else than rank 0."""
    mine, test = tf.data.load("digits")
    mine, options = mine[:64], {"batch_size": 32, **options}
    if group.rank == 1 and change is not None:
        mine = change(mine)
    net = tf.FractalNet(columns=1, channels=(4,))
    optimizer = tf.optim.SGD(net.parameters(), lr=options.pop("lr", 0.1))
    try:
        schedule = tf.optim.ConstantLR(optimizer, 1)
        train.fit(net, mine, test[:10], optimizer, schedule, quiet=True, group=group, **options)
    except (RuntimeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": ""}


def other_labels(group):
    """Images alike, labels not."""
    turned = lambda data: tf.data.Dataset(  # noqa: E731
        data.images, data.labels[::-1].copy(), data.classes, data.name
    )
    return unlike(group, turned)


def no_images(group):
    """One rank cannot begin at all."""
    return unlike(group, lambda data: data[:0])


def other_seed(group):
    """Another order of the images, and another learning rate."""
    return unlike(group, seed=group.rank, lr=0.1 + group.rank)


def other_weights(group):
    """Each counts other classes more."""
    return unlike(group, class_weights=np.arange(10.0) * (group.rank + 1) + 1)


class Wide(nn.Module):
    """A network in float64 for images in float32."""

    def __init__(self, net):
        self.net = net

    def forward(self, x):
        return self.net(x.astype(np.float64))


def weighted(group):
    """Classes that count 1 to 10, in batches whose parts hold other classes."""
    backend.seed(0)
    mine, test = (some[:57] for some in tf.data.load("digits"))  # parts of 5 and 6
    net = Wide(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).astype(np.float64))
    optimizer = tf.optim.SGD(net.parameters(), lr=0.1)
    schedule = tf.optim.ConstantLR(optimizer, 3)
    history = train.fit(net, mine, test, optimizer, schedule, batch_size=11, quiet=True,
                        group=group, class_weights=np.arange(1.0, 11))  # fmt: skip
    return {**net.state_dict(), "losses": [record["train_loss"] for record in history]}


def alike(group):
    """Nothing is wrong."""
    return unlike(group)


def command(file, *arguments):
    """`python -m tinyfractal …`, in a process whose number is written down.

    With FAIL=R in the environment, rank R cannot evaluate.
    """
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    Path(f"{file}-{rank}.pid").write_text(str(os.getpid()))
    if os.environ.get("FAIL") == str(rank):
        train.loop.evaluate = lambda *_, **__: np.ones(2) @ np.ones(3)
    sys.exit(cli.main(arguments))


if __name__ == "__main__":
    name, file, *arguments = sys.argv[1:]
    if name == "command":
        command(file, *arguments)
    group = init_process_group()
    np.savez(f"{file}-{group.rank}.npz", **globals()[name](group))
