"""Where did the first NaN come from? The two helpers behind `tinyfractal.detect_anomaly()`."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..backend import asnumpy, xp
from ..errors import AnomalyError
from .operators import raw

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def user_line() -> str:
    """The nearest line of code on the stack that is not tinyfractal's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{number}: {linecache.getline(file, number).strip()}"


def check_finite(what: str, array: Any, sources: Sequence[Any], line: str) -> None:
    """Raise `AnomalyError` if `array` holds NaN or infinity; say whether it came in that way."""
    if array.dtype.kind != "f" or asnumpy(xp.isfinite(array).all()):
        return
    kind = "NaN" if asnumpy(xp.isnan(array).any()) else "infinity"
    arrays = [raw(source) for source in sources]
    inherited = any(hasattr(a, "dtype") and not asnumpy(xp.isfinite(a).all()) for a in arrays)
    origin = "passed on from its input" if inherited else "made from finite numbers"
    count = int(asnumpy((~xp.isfinite(array)).sum()))
    line = line or "a line not noted: run the forward pass inside detect_anomaly() too"
    raise AnomalyError(
        f"{what} has {kind} in {count} of {array.size} places, {origin}\n  at {line}"
    )
