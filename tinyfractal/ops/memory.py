"""How images lie in memory: the batch inside.

An array's shape says how it is indexed, its strides say where the numbers lie. Images are indexed
(N, H, W, C) everywhere. What the fast operations give lies in memory as (H, W, N, C): the same
pixel of all images side by side. So an image shifted by a pixel is one long block for the whole
batch, and what is done along rows or columns of pixels is a product with one long matrix: nothing
needs to be copied together first. NumPy's elementwise functions keep the order of their input.
"""

from __future__ import annotations

from ..backend import Array


def batch_inside(x: Array) -> Array:
    """(N, H, W, C) → (H, W, N, C), the order in memory: a view."""
    return x.transpose(1, 2, 0, 3)


def batch_first(x: Array) -> Array:
    """(H, W, N, C) → (N, H, W, C): a view."""
    return x.transpose(2, 0, 1, 3)
