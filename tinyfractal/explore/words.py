"""Each step in a teacher's words: what forward does, and what backward makes of the gradient g."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..engine.node import Node

PLAIN = "a gradient per argument: g times the local derivative"


class Words(NamedTuple):
    """A formula, and a sentence for either direction; {k} is the number of arguments."""

    formula: str
    forward: str
    backward: str


WORDS: dict[str, Words] = {
    # arithmetic
    "add": Words("y = a + b", "a plus b", "both get g as it is: moving either moves y as far"),
    "sub": Words("y = a - b", "a minus b", "a gets g, b gets -g"),
    "mul": Words("y = a · b", "a times b", "each gets g times the other one"),
    "div": Words("y = a / b", "a divided by b", "a gets g / b, b gets -g · y / b"),
    "neg": Words("y = -x", "the sign turned", "x gets -g"),
    "pow": Words("y = xⁿ", "x to the power n", "x gets g · n · xⁿ⁻¹"),
    "maximum": Words(
        "y = max(a, b)", "the larger of the two", "the winner gets g; a tie is shared"
    ),
    "minimum": Words(
        "y = min(a, b)", "the smaller of the two", "the winner gets g; a tie is shared"
    ),
    "where": Words(
        "y = a where the condition holds, else b",
        "chosen place by place from a or b",
        "g goes to whichever was chosen, place by place",
    ),
    # the calculus table
    "exp": Words("y = eˣ", "e to the power x", "x gets g · y: the exponential is its own slope"),
    "log": Words("y = ln x", "the natural logarithm", "x gets g / x"),
    "sqrt": Words("y = √x", "the square root", "x gets g / (2 · y)"),
    "abs": Words("y = |x|", "the size without the sign", "x gets g, its sign turned where x < 0"),
    "sin": Words("y = sin x", "the sine", "x gets g · cos x"),
    "cos": Words("y = cos x", "the cosine", "x gets -g · sin x"),
    "tanh": Words(
        "y = tanh x",
        "squashed to between -1 and 1",
        "x gets g · (1 - y²): little where y is near ±1",
    ),
    "sigmoid": Words(
        "y = 1 / (1 + e⁻ˣ)",
        "squashed to between 0 and 1",
        "x gets g · y · (1 - y): a quarter at most",
    ),
    "relu": Words(
        "y = max(x, 0)",
        "negative numbers become 0",
        "g passes where y > 0 and stops where y = 0",
    ),
    "leaky_relu": Words(
        "y = x, or slope · x where x < 0",
        "negative numbers become small",
        "g passes where x > 0, and times the slope elsewhere",
    ),
    "softplus": Words("y = ln(1 + eˣ)", "a smooth relu", "x gets g · sigmoid(x)"),
    "gelu": Words("y = x · Φ(x)", "x times the chance that a normal draw is below x", PLAIN),
    "clip": Words(
        "y = x, held between min and max", "cut off at both ends", "g passes where x was inside"
    ),
    # sums and the like
    "sum": Words("y = Σ x", "all added up", "every number that was added gets the same g"),
    "mean": Words("y = Σ x / n", "the mean of n numbers", "every one of the n numbers gets g / n"),
    "var": Words(
        "y = Σ (x - mean)² / n",
        "how far the numbers spread around their mean",
        "x gets g · 2 (x - mean) / n",
    ),
    "max": Words("y = max x", "the largest number", "only the largest gets g; a tie is shared"),
    "min": Words("y = min x", "the smallest number", "only the smallest gets g; a tie is shared"),
    "logsumexp": Words("y = ln Σ eˣ", "a smooth maximum", "x gets g · softmax(x)"),
    "softmax": Words(
        "y = eˣ / Σ eˣ", "scores become probabilities that sum to 1", "x gets y · (g - Σ g · y)"
    ),
    "log_softmax": Words(
        "y = x - ln Σ eˣ", "scores become log probabilities", "x gets g - softmax(x) · Σ g"
    ),
    # shapes
    "reshape": Words("y = x, in another shape", "the same numbers, reshaped", "g is shaped back"),
    "transpose": Words("y = xᵀ", "the axes change places", "the axes of g change back"),
    "broadcast_to": Words("y = x, repeated", "x is repeated", "g is summed over the repeats"),
    "squeeze": Words("y = x", "axes of length 1 are dropped", "g gets those axes back"),
    "expand_dims": Words("y = x", "axes of length 1 are added", "g loses those axes again"),
    "flip": Words("y = x, reversed", "reversed", "g is reversed back"),
    "getitem": Words(
        "y = x[index]", "a part of x is picked", "the picked part gets g, the rest of x gets 0"
    ),
    "scatter": Words(
        "y = 0; y[index] += x", "x is put among zeros", "x gets the part of g at its places"
    ),
    "concatenate": Words(
        "y = x₁, x₂, …", "{k} arrays are put in a row", "each gets its own stretch of g"
    ),
    "pad": Words("y = x with a border", "a border is added", "x gets the inner part of g"),
    "identity": Words("y = x", "passed on", "x gets g"),
    "clone": Words("y = x", "copied", "x gets g"),
    "astype": Words("y = x", "another number type", "x gets g, in its own type"),
    # layers
    "matmul": Words(
        "Y = A B",
        "rows of A times columns of B",
        "A gets G Bᵀ and B gets Aᵀ G, by the same product",
    ),
    "linear": Words(
        "y = x W + b",
        "each output is a weighted sum of the inputs, plus a bias",
        "x gets G Wᵀ, the weights get xᵀ G, the bias gets the sum of G over the batch",
    ),
    "conv2d": Words(
        "y[i, j] = Σ over u, v of x[i + u, j + v] · weight[u, v]",
        "at every place the window of the input, times the kernel, summed",
        "the input gets g spread back through the kernel; the kernel gets every window times its "
        "g, summed over all places",
    ),
    "output_of": Words(
        "y = yₖ", "one of several convolutions of the same input", "g goes back to it"
    ),
    "batch_norm": Words(
        "y = (x - mean) / √(variance + eps) · weight + bias",
        "each channel gets mean 0 and variance 1 over the batch, then a scale and a shift",
        "x gets g scaled, less its mean and its part along the normalized x; the scale and the "
        "shift get sums over the batch",
    ),
    "layer_norm": Words(
        "y = (x - mean) / √(variance + eps) · weight + bias",
        "each row gets mean 0 and variance 1, then a scale and a shift",
        "x gets g scaled, less its mean and its part along the normalized x",
    ),
    "join": Words(
        "y = (x₁ + … + xₖ) / k",
        "the mean of the {k} living branches",
        "each of the {k} living branches gets g / {k}",
    ),
    "cross_entropy": Words(
        "y = -ln p[label], p = softmax(logits)",
        "how surprised the network is by the right answers",
        "the logits get p - q, what it said less what was right, divided among the batch",
    ),
    "max_pool2d": Words(
        "y = max of each window",
        "the largest number of each window",
        "the largest of each window gets its g, the others get 0",
    ),
    "avg_pool2d": Words(
        "y = mean of each window",
        "the mean of each window",
        "each number of a window gets its share of g",
    ),
}


def words_of(name: str) -> Words:
    """The words for a primitive; general ones for a primitive of the user's own."""
    return WORDS.get(name, Words("", "computed from its {k} arguments", PLAIN))


def sentences(node: Node, shapes: Sequence[tuple[int, ...] | None]) -> dict[str, str]:
    """What a step does, forward and backward; `shapes` are those of its arguments, if known."""
    name = node.primitive.__name__
    words, count = words_of(name), len(shapes)
    forward, backward = (text.format(k=count) for text in (words.forward, words.backward))
    if name == "join" and not isinstance(node.params.get("weights"), float):
        forward = f"of {count} branches, each sample takes the mean of those that live for it"
        backward = "each sample's g is shared by the branches that live for it; others get 0"
    if node.params.get("fixed"):  # batch norm outside of training
        forward = "each channel is normalized by the running mean and variance, then scaled"
        forward += " and shifted"
        backward = "x gets g times a number per channel, weight / √(variance + eps)"
    if node.params.get("reduction", "mean") != "mean":
        backward = backward.replace(", divided among the batch", "")
    if any(node.params.get(key) is not None for key in ("weight", "ignored")):
        backward += "; samples count as their classes are weighted"
    if node.params.get("relu"):
        forward += "; then negative numbers become 0"
        backward = f"g stops where the output is 0; then {backward}"
    if name in STRETCHING:
        small = [shape for shape in shapes if shape is not None and shape != node.shape]
        if small:
            backward += f"; what was stretched from shape {small[0]} is summed back to it"
    return {"forward": f"{name}: {forward}.", "backward": f"{name}: {backward}."}


STRETCHING = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "where"}
