"""Checks of chapter 10."""

from collections.abc import Callable

import numpy as np

import tinyfractal as tf

from . import NotYet, as_array, as_list, as_whole, asked, exercise


@exercise
def check_standardize(my_standardize: Callable) -> str:
    """Against mean and deviation measured channel by channel, with Python's own loops over C."""
    rng = np.random.default_rng(0)
    training = rng.normal((1, 5), (0.5, 2), size=(40, 4, 4, 2)).astype(np.float32)
    images = rng.normal((2, 5), (0.5, 1), size=(30, 4, 4, 2)).astype(np.float32)
    found = as_array(asked(my_standardize, training, images), "The result", images.shape)
    for c in range(2):
        channel, seen = images[..., c], training[..., c]
        if np.allclose(found[..., c], (channel - seen.mean()) / seen.std(), atol=1e-3):
            continue
        if np.allclose(found[..., c], (channel - channel.mean()) / channel.std(), atol=1e-3):
            raise NotYet("Mean and deviation are of `images`: whose should they be?")
        raise NotYet(
            f"Channel {c} is not right. Mean and deviation are one number for each channel: "
            "over which axes are they taken?"
        )
    return "The test images do not come out with mean 0, and they should not."


@exercise
def check_shift_image(shift_image: Callable) -> str:
    """Pixel by pixel: where does each one come from?"""
    image = np.arange(1.0, 21.0).reshape(4, 5)
    for down, right in ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -2), (2, -1), (-3, 3), (4, 0)):
        truth = np.zeros_like(image)
        for i in range(4):
            for j in range(5):
                if 0 <= i - down < 4 and 0 <= j - right < 5:
                    truth[i, j] = image[i - down, j - right]
        case = f"With down={down}, right={right}"
        found = as_array(asked(shift_image, image, down, right), f"{case}, the image", image.shape)
        if not np.array_equal(found, truth):
            raise NotYet(
                f"{case} it is not right. Draw the two pictures: which rows of the image are still "
                "there, and where do they go?"
            )
    return "The library pads once and takes a window for each image."


@exercise
def check_column_parameters(column_parameters: Callable) -> str:
    """Against columns that were built, and counted."""
    for channels, in_channels, classes in (((8,), 1, 10), ((4, 6), 1, 10), ((4, 6, 8), 3, 7)):
        net = tf.FractalNet(in_channels, classes, columns=4, channels=channels)
        for c in range(4):
            truth = net.column(c).count_parameters()
            found = asked(column_parameters, c, channels, in_channels, classes)
            found = as_whole(found, "The number of parameters")
            if found != truth:
                raise NotYet(
                    f"Column {c} of channels={channels} has {truth:,} parameters, you count "
                    f"{found:,}. How many convolutions has it in a block, and how many input "
                    "channels has the first of them, and the others?"
                )
    return "Add up the columns, the head only once: that is the whole network."


@exercise
def check_early_exit(early_exit: Callable) -> str:
    """Image by image, column by column."""
    rng = np.random.default_rng(0)
    for columns, threshold in ((3, 0.6), (2, 0.9), (4, 0.45), (3, 1.5)):
        logits = rng.normal(0, 1.5, size=(columns, 50, 4))
        exponentials = np.exp(logits)
        probabilities = list(exponentials / exponentials.sum(axis=2, keepdims=True))
        if threshold < 1:  # one image is exactly as sure as it has to be
            threshold = float(probabilities[0][0].max())
        pair = as_list(asked(early_exit, probabilities, threshold), "The answer", 2)
        classes = as_array(pair[0], "The classes", (50,)).astype(int)
        who = as_array(pair[1], "Which column gave each", (50,)).astype(int)
        for n in range(50):
            column = next(
                (c for c in range(columns) if max(probabilities[c][n]) >= threshold), columns - 1
            )
            if who[n] != column:
                tops = [round(float(max(p[n])), 2) for p in probabilities]
                raise NotYet(
                    f"At threshold {threshold:.2f}, an image whose columns are sure to {tops} is "
                    f"answered by column {column}, you say {who[n]}."
                )
            if classes[n] != list(probabilities[column][n]).index(max(probabilities[column][n])):
                raise NotYet("The columns are right, but not the classes: whose answer counts?")
    return "Depth where it is needed, decided for each image."
