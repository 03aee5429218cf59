"""The engine: how backprop works.

    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad  # Tensor([2., 4.])

Read `tensor` first, the array with a history; then `node`, the recorded operation, and `backward`,
the chain rule. `primitive` says what an operation is and how it gets recorded, `operators` why
`a + b` works, `definition` what a function made of others is. Then you have seen backprop.

The rest serves it: `modes` switches recording on and off, `operands` sorts the arguments of an
operation, `arraylike` is what Python and NumPy ask of a Tensor, `anomaly` looks for the first
NaN, and `gradcheck` asks whether a gradient is right.
"""

from .backward import backward_order
from .node import Node
from .tensor import Tensor, grad

__all__ = ["Node", "Tensor", "backward_order", "grad"]
