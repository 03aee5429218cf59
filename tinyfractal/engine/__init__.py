"""The engine: how backprop works.

    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad  # Tensor([2., 4.])

Read `tensor` first: the array with a history, the recorded operation, and backward. Then
`primitive`: what an operation is, and how it gets recorded; `operators`: why `a + b` works;
`modes`: how recording is switched off; `definition`: a function made of others. `anomaly` looks for
the first NaN, and `gradcheck` asks whether a gradient is right.
"""

from .tensor import Node, Tensor, backward_order, grad

__all__ = ["Node", "Tensor", "backward_order", "grad"]
