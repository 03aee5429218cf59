"""Two processes that train together, against one, and what happens where one of them fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import backend, cli, nn
from tinyfractal.errors import DistributedError
from tinyfractal.train import CHECKPOINT
from tinyfractal.train.checkpoint import load_checkpoint, save_checkpoint
from tinyfractal.train.distributed import ProcessGroup, Reducer, SyncBatchNorm, init_process_group

from . import ranks

on_the_host = pytest.mark.skipif(
    backend.current() != "numpy", reason="the ranks compute on the host; a GPU is played here"
)
pytestmark = on_the_host

ROOT = Path(__file__).resolve().parent.parent
BESIDE = Path(sys.executable).with_name("mpiexec")  # of this virtual environment
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")


def mpi_is_missing():
    """Why ranks cannot be started here; "" where they can."""
    if MPIEXEC is None:
        return "mpiexec is not installed (pip install mpich)"
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f"mpi4py: {error}".partition("\n")[0]
    return ""


mpi = pytest.mark.skipif(bool(mpi_is_missing()), reason=mpi_is_missing())
TRAIN = ["train", "--epochs", "3", "--columns", "2", "--channels", "4,8", "--lr", "0.005",
         "--schedule", "constant", "--dropout", "0.1", "--mirror"]  # fmt: skip


def start_ranks(count, *arguments, folder, **environment):
    """`mpiexec -n COUNT python -m tests.ranks …`."""
    open_mpi = {  # which asks twice before root may start it
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    ours = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(MPIEXEC), "-n", str(count), sys.executable, "-m", "tests.ranks", *arguments],
        cwd=folder,
        env={**os.environ, **open_mpi, **ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """(exit status, stdout, stderr)."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def train_together(folder, *arguments, count=2):
    """Run `tinyfractal train --distributed` to its end; what was printed."""
    process = start_ranks(count, "command", "rank", *arguments, "--distributed", folder=folder)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    return out


# ----- The same training -----


@mpi
@pytest.mark.parametrize(
    ("what", "count"),
    [("by_sample", 2), ("by_batch", 2), ("by_batch", 3), ("start", 2), ("statistics", 2)],
)
def test_ranks_together_do_what_one_process_does(what, count, tmp_path):
    one = getattr(ranks, what)(ProcessGroup())
    assert finish(start_ranks(count, what, "rank", folder=tmp_path)) == (0, "", "")
    for rank in range(count):
        state = np.load(tmp_path / f"rank-{rank}.npz")
        assert set(state) == set(one)
        for name, array in one.items():
            np.testing.assert_allclose(state[name], array, 1e-9, 1e-12, err_msg=name)


@mpi
@pytest.mark.parametrize("what", ["local_statistics", "uneven"])
def test_ranks_together_do_what_their_parts_do_one_after_the_other(what, tmp_path):
    parts = getattr(ranks, what)(ProcessGroup(), pretended=2)
    whole = getattr(ranks, what)(ProcessGroup())
    assert not np.allclose(parts["losses"], whole["losses"], atol=1e-4)
    assert finish(start_ranks(2, what, "rank", folder=tmp_path)) == (0, "", "")
    for rank in range(2):
        state = np.load(tmp_path / f"rank-{rank}.npz")
        for name, array in parts.items():
            np.testing.assert_allclose(state[name], array, 1e-9, 1e-12, err_msg=name)


@mpi
def test_buckets_travel_while_backward_still_runs(tmp_path):
    assert finish(start_ranks(2, "overlap", "rank", folder=tmp_path)) == (0, "", "")
    state = np.load(tmp_path / "rank-0.npz")
    assert (state["sent"].tolist(), state["buckets"]) == ([3], 4)


# ----- Through the command line -----


def ends(folder):
    """Weights and momentum at the end of a run, and the losses of each epoch."""
    state = load_checkpoint(folder / CHECKPOINT)
    losses = [(r["epoch"], r["train_loss"], r["validation_loss"]) for r in state["history"]]
    return {**state["model"], **state["optimizer"]}, np.array(losses), state["random"]


def assert_alike(one, other):
    """The same run, to the rounding of float32."""
    (weights, losses, random), (their_weights, their_losses, their_random) = one, other
    np.testing.assert_allclose(losses, their_losses, 1e-3)
    for name, array in weights.items():
        np.testing.assert_allclose(their_weights[name], array, 1e-3, 1e-3, err_msg=name)
    assert random == their_random


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the same three epochs by one process ("one") and by two ("two")."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cli.train, "_draw_curves", lambda *_: None)
        assert cli.main([*TRAIN, "--out", str(folder / "one")]) == 0
    (folder / "two.txt").write_text(train_together(folder, *TRAIN, "--out", "two"))
    return folder


@pytest.fixture
def no_curves(monkeypatch):
    """Training without pictures at its end."""
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)


@mpi
def test_two_ranks_train_as_one_process_does_and_only_the_first_prints(runs):
    assert_alike(ends(runs / "one"), ends(runs / "two"))
    out = (runs / "two.txt").read_text()
    assert out.count("epoch 3/3") == out.count("whole network") == 1
    assert "mpiexec -n 2 python -m tinyfractal train --resume two --distributed\n" in out


@mpi
@pytest.mark.parametrize("first", ["one", "two"])
def test_a_run_goes_on_with_another_number_of_processes(runs, first, tmp_path, no_curves):
    run = tmp_path / "run"
    shorter = [*TRAIN, "--epochs", "2", "--out", str(run)]
    resume = ["train", "--resume", str(run)]
    if first == "one":
        assert cli.main(shorter) == 0
    else:
        train_together(tmp_path, *shorter)
    state = load_checkpoint(run / CHECKPOINT)
    state["recipe"]["epochs"] = 3
    save_checkpoint(run / CHECKPOINT, **state)
    if first == "one":
        train_together(tmp_path, *resume)
    else:
        assert cli.main(resume) == 0
    assert_alike(ends(runs / "one"), ends(run))


# ----- What goes wrong -----


def is_alive(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text() if Path("/proc").exists() else True


@mpi
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are those of POSIX")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_others_and_the_run_goes_on(runs, victim, tmp_path):
    run = [*TRAIN, "--epochs", "1000", "--out", "run", "--distributed"]
    process = start_ranks(2, "command", "rank", *run, folder=tmp_path)
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 30
    while not history.exists() or history.read_text().count("\n") < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run is too slow"
        time.sleep(0.002)
    pids = [int((tmp_path / f"rank-{rank}.pid").read_text()) for rank in range(2)]
    os.kill(pids[victim], signal.SIGKILL)
    code, out, err = finish(process)
    assert code != 0
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "a rank goes on alone"
        time.sleep(0.01)
    assert re.search(r"signal 9|Killed", out + err)  # the launcher says what happened,
    (command,) = re.findall(r"^mpiexec -n 2 python -m tinyfractal (.*)$", out, re.MULTILINE)
    state = load_checkpoint(tmp_path / "run" / CHECKPOINT)  # the first lines how to go on
    done = len(state["history"])
    assert done >= 1
    state["recipe"]["epochs"] = done + 1
    save_checkpoint(tmp_path / "run" / CHECKPOINT, **state)
    out = train_together(tmp_path, *command.removesuffix(" --distributed").split())
    assert f"epoch {done + 1}/{done + 1}" in out
    assert "epoch 1/" not in out
    assert ends(tmp_path / "run")[1][0] == pytest.approx(ends(runs / "one")[1][0], rel=1e-3)


@mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_ends_all_and_says_why_once(rank, tmp_path):
    run = [*TRAIN, "--out", "run", "--distributed", "--quiet"]
    process = start_ranks(2, "command", "rank", *run, folder=tmp_path, FAIL=str(rank))
    code, _, err = finish(process)
    assert code != 0
    complaints = [line for line in err.splitlines() if line.startswith("tinyfractal: ")]
    (line,) = complaints
    assert line.startswith(f"tinyfractal: {'rank 1: ' if rank else ''}matmul: Input operand 1")
    assert len(load_checkpoint(tmp_path / "run" / CHECKPOINT)["history"]) == 0


@mpi
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "nosuch"], "data set 'nosuch': expected a folder of pictures, a path"),
        (["--batch-size", "1292"], "the last batch of an epoch has 1 of the 1293 images, fewer"),
        (["--lr", "1e30"], "fit: the loss became nan in training"),
    ],
)
def test_where_all_ranks_fail_alike_one_says_so(arguments, text, tmp_path):
    run = [*TRAIN, "--out", "run", *arguments, "--distributed"]
    code, _, err = finish(start_ranks(2, "command", "rank", *run, folder=tmp_path))
    assert code != 0
    (line,) = [line for line in err.splitlines() if line.startswith("tinyfractal: ")]
    assert text in line


UNLIKE = {
    "alike": ("", ""),
    "other_labels": ("DistributedError: fit: the processes need the same train;",) * 2,
    "other_seed": ("DistributedError: fit: the processes need the same learning rates, seed;",) * 2,
    "no_images": (
        "DistributedError: fit: rank 1 cannot begin (fit: train (digits) has no images)",
        "DataError: fit: train (digits) has no images",
    ),
}


@mpi
@pytest.mark.parametrize("what", UNLIKE)
def test_ranks_that_were_given_unlike_things_say_so_before_the_first_step(what, tmp_path):
    assert finish(start_ranks(2, what, "rank", folder=tmp_path)) == (0, "", "")
    for rank, expected in enumerate(UNLIKE[what]):
        error = str(np.load(tmp_path / f"rank-{rank}.npz")["error"])
        assert error.startswith(expected)
        assert bool(error) == (what != "alike")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ImportError("No module named 'mpi4py'"), "(No module named 'mpi4py'): pip install"),
        (RuntimeError("cannot load MPI library\nlong story"), "(cannot load MPI library): pip"),
    ],
)
def test_without_mpi_there_is_one_line(error, text, monkeypatch, capsys, tmp_path):
    def absent(name):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.import_module", absent)
    assert cli.main([*TRAIN, "--distributed"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tinyfractal: distributed: mpi4py and an MPI library are needed")
    assert text in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pretended_mpi(monkeypatch):
    """mpi4py with two ranks of which the other one always has the same numbers."""
    comm = SimpleNamespace(rank=0, size=2)
    comm.kinds = "mpi,system"
    comm.seen = []

    def all_reduce(in_place, buffer):
        assert in_place == "in place"
        comm.seen.append(type(buffer))
        np.asarray(buffer)[...] *= 2
        return SimpleNamespace(Wait=lambda: None)

    comm.Iallreduce = all_reduce
    comm.Get_info = lambda: {"mpi_memory_alloc_kinds": comm.kinds}
    comm.Split_type = lambda kind: SimpleNamespace(rank=3)
    mpi = SimpleNamespace(
        COMM_WORLD=comm,
        COMM_TYPE_SHARED="machine",
        IN_PLACE="in place",
        Get_library_version=lambda: "Open MPI v5.0.11, package: somebody's",
    )
    monkeypatch.setitem(sys.modules, "mpi4py", ModuleType("mpi4py"))
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", mpi)
    return comm


def test_a_process_alone_says_how_to_start_several(pretended_mpi):
    pretended_mpi.size = 1
    with pytest.raises(DistributedError, match=r"alone; start .* Open MPI v5.0.11\)"):
        init_process_group()


def test_options_that_only_make_sense_together(capsys):
    assert cli.main(["train", "--no-sync-batch-norm"]) == 1
    assert "says how --distributed works" in capsys.readouterr().err


def test_a_second_backward_before_wait_is_refused(pretended_mpi):
    layer, group = nn.Linear(2, 1), init_process_group()
    reducer = Reducer(layer.parameters(), group)
    with group.sharing(2) as part:
        x = np.ones((2, 2), np.float32)[part]
        layer(x).sum().backward()
        with pytest.raises(DistributedError, match="a second backward before wait"):
            layer(x).sum().backward()
        reducer.wait()
    np.testing.assert_array_equal(layer.bias.grad.data, [1])  # 1/2 of 1 from each


def test_a_backward_that_does_not_know_its_weight_is_refused(pretended_mpi):
    layer = nn.Linear(2, 1)
    Reducer(layer.parameters(), init_process_group())
    with pytest.raises(DistributedError, match=r"call backward inside group.sharing\(n\)"):
        layer(np.ones((1, 2), np.float32)).sum().backward()


def test_synchronized_batch_norm_asks_for_the_size_of_the_whole_batch(pretended_mpi):
    norm = SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2), init_process_group())
    with pytest.raises(DistributedError, match=r"call it inside group.sharing\(n\)"):
        norm(np.ones((3, 2), np.float32))
    norm.eval()(np.ones((3, 2), np.float32))  # where there is nothing to wait for


def test_conversion_keeps_weights_names_and_what_is_no_batch_norm():
    net = tf.FractalNet(1, 2, 2, (3,))
    weights, names = net.parameters(), list(net.state_dict())
    converted = SyncBatchNorm.convert_sync_batchnorm(net, ProcessGroup())
    assert converted is net
    assert all(p is q for p, q in zip(net.parameters(), weights, strict=True))
    assert list(net.state_dict()) == names
    assert {type(m) for _, m in net.named_modules()} >= {SyncBatchNorm, nn.Conv2d}
    assert nn.BatchNorm2d not in {type(m) for _, m in net.named_modules()}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_cover_the_batch_once_and_differ_by_one_at_most(size):
    for samples in (7, 10, 64):
        parts = [ranks.Pretended(rank, size).part(samples) for rank in range(size)]
        assert [i for part in parts for i in range(samples)[part]] == list(range(samples))
        lengths = [part.stop - part.start for part in parts]
        assert max(lengths) - min(lengths) <= 1


# ----- On a GPU, played by an array that NumPy may not touch -----


@pytest.fixture
def pretended_gpu(monkeypatch):
    """CuPy as far as messages need it: arrays that come to the host and back only when told to."""

    class Device(np.ndarray):
        def get(self, out=None):
            out = np.empty(self.shape, self.dtype) if out is None else out
            assert out.flags.c_contiguous
            out[...] = self.view(np.ndarray)
            return out

        def set(self, host):
            assert type(host) is Pinned
            self[...] = host.view(np.ndarray)

    class Pinned(np.ndarray):
        pass

    cupy, calls = ModuleType("cupy"), []
    cupy.ndarray = Device
    cupy.ones = lambda shape: np.ones(shape).view(Device)
    cupy.asarray = lambda x, dtype=None: np.asarray(x, dtype).view(Device)
    stream = SimpleNamespace(synchronize=lambda: calls.append("synchronize"))
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDeviceCount=lambda: 2),
        get_current_stream=lambda: stream,
        Device=lambda number: SimpleNamespace(use=lambda: calls.append(f"GPU {number}")),
    )
    cupyx = ModuleType("cupyx")
    cupyx.empty_pinned = lambda shape, dtype: np.empty(shape, dtype).view(Pinned)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    with backend.using("cupy"):
        calls.clear()
        yield calls


@pytest.mark.parametrize(
    ("kinds", "sent", "waited"),
    [("mpi,system", "Pinned", []), ("mpi,system,cuda:device", "Device", ["synchronize"])],
)
def test_gpu_arrays_go_to_mpi_directly_where_it_reads_them_and_else_over_the_host(
    kinds, sent, waited, pretended_mpi, pretended_gpu
):
    pretended_mpi.kinds = kinds
    group = init_process_group()
    array = backend.asarray(np.arange(3.0))
    total = group.all_reduce(array)
    assert type(total) is backend.xp.ndarray
    np.testing.assert_array_equal(total, [0, 2, 4])
    assert [kind.__name__ for kind in pretended_mpi.seen] == [sent]
    assert pretended_gpu == ["GPU 1", *waited]  # rank 3 of a machine with two GPUs
