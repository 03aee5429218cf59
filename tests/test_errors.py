"""What a mistake is answered with: each message names the function, what came and what to do."""

import re

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, errors
from tinyfractal.errors import DataError, DTypeError, GraphError, ShapeError


def zeros(*shape):
    """An array of float32, on the backend."""
    return tf.backend.asarray(np.zeros(shape, np.float32))


def leaf(*shape):
    """A leaf of this shape."""
    return Tensor(zeros(*shape), requires_grad=True)


IMAGES, KERNEL = zeros(8, 32, 32, 3), zeros(3, 3, 3, 16)
LOGITS = zeros(4, 10)

MISTAKES = [  # (call, error, its text); Ellipsis stands for some text
    # shapes
    (lambda: leaf(2, 3) + leaf(4), ShapeError,
     "add: cannot work on a (2, 3), b (4,) (..."),
    (lambda: leaf(2, 3).reshape(4, -1), ShapeError,
     "reshape: cannot work on x (2, 3), shape=(4, -1) (cannot reshape array of size 6..."),
    (lambda: leaf(2, 3).sum(axis=2), ShapeError,
     "sum: cannot work on x (2, 3), axis=2, keepdims=False (axis 2 is out of bounds..."),
    (lambda: leaf(2, 3).squeeze(0), ShapeError,
     "squeeze: cannot work on x (2, 3), axis=0 (..."),
    (lambda: tf.concatenate([leaf(2, 3), leaf(2, 4)]), ShapeError,
     "concatenate: cannot work on xs (2, 3), xs (2, 4), axis=0 (..."),
    (lambda: tf.split(zeros(5, 2), 2), ShapeError,
     "split: axis 0 of (5, 2) has length 5, which does not divide into 2 equal parts; give the "
     "places to cut at instead"),
    (lambda: tf.pad(zeros(2, 3), [(1, 1)]), ShapeError,
     "pad: widths needs (before, after) for each axis of x (2, 3), got [(1, 1)]"),
    (lambda: tf.pad(zeros(2, 3), [(2, 0), (0, 0)], "reflect"), ShapeError,
     "pad: cannot reflect 2 numbers at the edge of axis 0 of (2, 3), which has 1 besides the "
     "edge; pad with zeros, or less"),
    (lambda: tf.pad(zeros(2), [(1, 1)], "wrap"), ValueError,
     'pad: mode needs "zeros" or "reflect", got \'wrap\''),
    # products
    (lambda: leaf(2, 3) @ leaf(4, 5), ShapeError,
     "matmul: the last axis of a (2, 3) must be as long as the second last axis of b (4, 5): "
     "3 is not 4; transpose one of them?"),
    (lambda: leaf(2, 3) @ leaf(2), ShapeError,
     "matmul: the last axis of a (2, 3) must be as long as the only axis of b (2,): 3 is not 2..."),
    (lambda: leaf(2, 3) @ 2.0, ShapeError,
     "matmul: a (2, 3) and b () need an axis; use * for a number"),
    (lambda: leaf() @ leaf(2), ShapeError, "matmul: a () and b (2,) need an axis..."),
    (lambda: leaf(2, 3, 4) @ leaf(3, 4, 5), ShapeError,
     "matmul: cannot work on a (2, 3, 4), b (3, 4, 5) (..."),
    (lambda: tf.linear(leaf(2, 3), leaf(4, 5)), ShapeError,
     "linear: x has 3 features (last axis of (2, 3)) but the weight (4, 5) expects 4"),
    (lambda: tf.linear(leaf(), leaf(4, 5)), ShapeError,
     "linear: x has no features (last axis of ()) but the weight (4, 5) expects 4"),
    (lambda: tf.linear(leaf(2, 3), leaf(3, 5), leaf(1)), ShapeError,
     "linear: bias has shape (1,), but the weight (3, 5) gives 5 features"),
    # convolution
    (lambda: tf.conv2d(IMAGES, zeros(3, 3, 16, 32)), ShapeError,
     "conv2d: x has 3 channels (last axis of (8, 32, 32, 3)) but the kernel (3, 3, 16, 32) "
     "expects 16"),
    (lambda: tf.conv2d(IMAGES, zeros(3, 3, 2, 32), groups=2), ShapeError,
     "conv2d: x has 3 channels (last axis of (8, 32, 32, 3)) but the kernel (3, 3, 2, 32) "
     "expects 4 (2 in each of 2 groups)"),
    (lambda: tf.conv2d(zeros(1, 4, 4, 4), zeros(3, 3, 2, 5), groups=2), ShapeError,
     "conv2d: 5 output channels do not divide into 2"),
    (lambda: tf.conv2d(IMAGES, KERNEL, zeros(3)), ShapeError,
     "conv2d: bias has shape (3,), but the kernel (3, 3, 3, 16) gives 16 channels"),
    (lambda: tf.conv2d(IMAGES[0], KERNEL), ShapeError,
     "conv2d: x needs four axes (N, H, W, C), got (32, 32, 3); add the batch axis with x[None]"),
    (lambda: tf.conv2d(IMAGES[0, 0], KERNEL), ShapeError,
     "conv2d: x needs four axes (N, H, W, C), got (32, 3)"),
    (lambda: tf.conv2d(IMAGES, KERNEL[0]), ShapeError,
     "conv2d: weight needs (kh, kw, C_in, C_out), got (3, 3, 16)"),
    (lambda: tf.conv2d(zeros(1, 4, 2, 3), KERNEL), ShapeError,
     "conv2d: the kernel (3, 3, 3, 16) is 3 wide but x (1, 4, 2, 3) with its padding only 2; use "
     'padding="same" or a smaller kernel'),
    (lambda: tf.conv2d(zeros(1, 4, 9, 3), KERNEL, dilation=2), ShapeError,
     "conv2d: the kernel (3, 3, 3, 16) with dilation 2 is 5 high but x (1, 4, 9, 3)..."),
    (lambda: tf.conv2d(IMAGES, KERNEL, padding="full"), ValueError,
     'conv2d: padding needs "same", "valid", a whole number of at least 0 or two of them, '
     "got 'full'"),
    (lambda: tf.conv2d(IMAGES, KERNEL, padding=-1), ValueError,
     'conv2d: padding needs "same", "valid", a whole number of at least 0 or two of them, got -1'),
    (lambda: tf.conv2d(IMAGES, KERNEL, stride=0), ValueError,
     "conv2d: stride needs a whole number of at least 1 or two of them, got 0"),
    (lambda: tf.conv2d(IMAGES, KERNEL, dilation=(1, 1.5)), TypeError,
     "conv2d: dilation needs a whole number of at least 1 or two of them, got (1, 1.5)"),
    (lambda: tf.conv2d(IMAGES, KERNEL, padding_mode="wrap"), ValueError,
     'conv2d: padding_mode needs "zeros" or "reflect", got \'wrap\''),
    # pooling
    (lambda: tf.max_pool2d(zeros(1, 2, 2, 1), 3), ShapeError,
     "max_pool2d: a window of (3, 3) does not fit into x (1, 2, 2, 1)"),
    (lambda: tf.avg_pool2d(zeros(1, 4, 4, 1), 2, padding=2), ShapeError,
     "avg_pool2d: padding (2, 2) is more than half the window (2, 2)"),
    (lambda: tf.max_pool2d(zeros(4, 4, 1), 2), ShapeError,
     "max_pool2d: x needs four axes (N, H, W, C), got (4, 4, 1); add the batch axis..."),
    (lambda: tf.global_avg_pool(zeros(4, 4)), ShapeError,
     "global_avg_pool: x needs four axes (N, H, W, C), got (4, 4)"),
    (lambda: tf.avg_pool2d(zeros(1, 4, 4, 1), 0), ValueError,
     "avg_pool2d: kernel_size needs a whole number of at least 1 or two of them, got 0"),
    # normalization
    (lambda: tf.batch_norm(zeros(4, 3), zeros(2), zeros(3)), ShapeError,
     "batch_norm: x has 3 channels (last axis of (4, 3)) but weight has shape (2,)"),
    (lambda: tf.batch_norm(zeros(4, 3), zeros(3), zeros(1)), ShapeError,
     "batch_norm: x has 3 channels (last axis of (4, 3)) but bias has shape (1,)"),
    (lambda: tf.batch_norm(zeros(1, 3), zeros(3), zeros(3)), ShapeError,
     "batch_norm: x (1, 3) has one number per channel, which has no variance; use larger batches "
     "or images in training, or call eval() first"),
    (lambda: tf.batch_norm(zeros(4, 3), None, zeros(3), zeros(3), zeros(3), False), DTypeError,
     "batch_norm: weight: expected a Tensor, an array or a number, got NoneType"),
    (lambda: tf.batch_norm(zeros(4, 3), zeros(3), zeros(3), training=False), ValueError,
     "batch_norm: outside training it needs running_mean and running_var"),
    (lambda: tf.layer_norm(zeros(4, 3), zeros(4), zeros(3)), ShapeError,
     "layer_norm: x has 3 channels (last axis of (4, 3)) but weight has shape (4,) and bias (3,)"),
    # losses
    (lambda: tf.cross_entropy(LOGITS, np.zeros(5, int)), ShapeError,
     "cross_entropy: expected logits (N, K) and labels (N,), got (4, 10) and (5,)"),
    (lambda: tf.cross_entropy(LOGITS, zeros(4)), DTypeError,
     "cross_entropy: labels are class numbers (integers), got float32; pass an array "
     "of integers, or Tensor(labels, dtype=int)"),
    (lambda: tf.cross_entropy(LOGITS, np.array([0, 1, 10, 2])), DataError,
     "cross_entropy: logits (4, 10) have classes 0 to 9, but the labels range from 0 to 10"),
    (lambda: tf.cross_entropy(LOGITS, np.array([0, 1, -1, 2])), DataError,
     "cross_entropy: logits (4, 10) have classes 0 to 9, but the labels range from -1 to 2"),
    (lambda: tf.cross_entropy(LOGITS, np.zeros(4, int), reduction="avg"), ValueError,
     'cross_entropy: reduction needs "mean", "sum" or "none", got \'avg\''),
    (lambda: tf.mse_loss(leaf(4, 1), leaf(4)), ShapeError,
     "mse_loss: prediction has shape (4, 1), target (4,)"),
    # join and dropout
    (lambda: tf.join([]), ShapeError, "join: xs is empty: there is no branch to join"),
    (lambda: tf.join([zeros(2, 3), zeros(2, 4)]), ShapeError,
     "join: xs[1] has shape (2, 4), xs[0] has (2, 3)"),
    (lambda: tf.join([zeros(2, 3)] * 3, mask=np.ones((3, 2), bool)), ShapeError,
     "join: mask has shape (3, 2), expected (2, 3)"),
    (lambda: tf.join([zeros(2, 3)] * 2, mask=np.array([[1, 0], [0, 0]]) > 0), ShapeError,
     "join: no branch is alive for sample 1"),
    (lambda: tf.dropout(zeros(2), 1.0), ValueError,
     "dropout: p needs a number from 0 to below 1, got 1.0"),
    (lambda: tf.dropout(zeros(2), 0.5, per_channel=True), ShapeError,
     "dropout: per_channel needs x (N, …, C), got (2,)"),
    # the engine
    (lambda: leaf(2).backward(), GraphError,
     "backward: only a single number has a gradient by itself; this output has shape (2,). Reduce "
     "it (y.sum()), or pass a gradient of that shape."),
    (lambda: leaf(2).backward(zeros(3)), ShapeError,
     "backward: the gradient has shape (3,), the output (2,)"),
    (lambda: Tensor([1.0]).backward(), GraphError,
     "backward: nothing was recorded behind this Tensor of shape (1,). Set requires_grad=True on "
     "an input, and compute outside `no_grad()`."),
    (lambda: tf.grad(Tensor(1.0), leaf(2)), GraphError, "grad: nothing was recorded behind..."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "text"), [pytest.param(*row, id=row[2][:50]) for row in MISTAKES]
)
def test_text(call, error, text):
    pattern = re.escape(text.removesuffix("...")) + ("" if text.endswith("...") else "$")
    with pytest.raises(error, match=pattern) as caught:
        call()
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("ShapeError", ValueError),
        ("DTypeError", TypeError),
        ("BackendError", RuntimeError),
        ("GraphError", RuntimeError),
        ("AnomalyError", FloatingPointError),
        ("DataError", ValueError),
        ("CheckpointError", ValueError),
        ("GradientError", AssertionError),
    ],
)
def test_every_error_is_also_a_builtin_one(error, builtin):
    assert issubclass(getattr(errors, error), builtin)


def test_a_refused_call_changes_nothing():
    x, running = leaf(1, 3), zeros(3) + 5
    with pytest.raises(ShapeError):
        tf.batch_norm(x, zeros(3), zeros(3), running, running)
    np.testing.assert_array_equal(running, 5)
    assert x.grad is None
