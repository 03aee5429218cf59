"""Everything that wants a GPU, with one command on a machine that has one: `python -m tests.gpu`.

    first       the facts, and one training step of the digits' network and of the paper's
    digits      training on the CPU and on the GPU from the same seed, step by step
    gradcheck   every function and layer against finite differences, on the device
    bench       training step and inference beside PyTorch's, with TF32 and without
    suite       the whole test suite on CuPy, without CUB
    cub         a short part of it with CUB, which CuPy uses by default for its sums
    chapters    the code of the tutorials
    cifar       the paper's network on CIFAR-10; needs --cifar FILE, see `python -m tests.gpu.pack`

`--only digits,chapters` runs those alone, and what follows `--` goes to pytest. With `--standin`
the same runs on a stand-in without a GPU (see `tests/standin`), in small: it proves that nothing
depends on NumPy, not that it is fast.

A GPU may be there for minutes only. `--budget 570` shares so many seconds among the parts. Each
part is a process group of its own with a limit of its own; at the limit all of the group is killed,
and the next part starts. What a part leaves over goes to those after it. `--out FOLDER` gets, at
any moment complete up to that moment:

    results.json    the state of every part, and its rows of numbers, rewritten after each row
    log.txt         all that is printed
    failures.txt    the failed tests and chapters in full, as they occur
    gpu_times.json  what chapter 18 records, on both devices

A part is done, failed, cut (at its limit), skipped (it says why) or not started. The exit status is
1 if one failed, 3 if none failed but one was cut or not started, otherwise 0. Without a GPU one
line says so, and the exit status is 1.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STANDIN = ROOT / "tests" / "standin"


def environment(standin: bool, name: str = "cupy") -> dict[str, str]:
    """For processes started from here: the backend, and where CuPy is found."""
    paths = [str(STANDIN)] * standin + [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "TINYFRACTAL_BACKEND": name,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }
