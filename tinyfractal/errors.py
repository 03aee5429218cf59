"""Every error the library raises on purpose.

Each is also one of Python's own kinds of error, so `except ValueError` keeps working,
and each message says which argument, what was expected, what came and, where it helps, how
to mend it.
"""


class ShapeError(ValueError):
    """Two sizes that must agree do not."""


class DTypeError(TypeError):
    """An array has the wrong type of number, or is no array at all."""


class OutOfRangeError(ValueError, IndexError):
    """An index that is not there."""


class OutOfMemoryError(MemoryError):
    """There is no memory for what was asked."""


class BackendError(RuntimeError):
    """The array backend is missing, has no device, or was mixed with the other one."""


class DistributedError(RuntimeError):
    """MPI is missing, or the processes do not work together as they have to."""


class GraphError(RuntimeError):
    """The recorded graph cannot answer: already freed, never recorded, or changed in place."""


class AnomalyError(FloatingPointError):
    """`detect_anomaly` met the first NaN or infinity."""


class DataError(ValueError):
    """A data file is missing, truncated, corrupted or not what it claims to be."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the model it is loaded into."""


class GradientError(AssertionError):
    """`gradcheck` found a gradient that finite differences contradict."""
