"""What `fit` refuses before its first step, and that nothing has changed then."""

import threading

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import nn, optim
from tinyfractal.data import Dataset, load
from tinyfractal.errors import DataError, ShapeError
from tinyfractal.train import evaluate, fit, inference, predict

DIGITS = load("digits")
TRAIN, TEST = DIGITS[0][:65], DIGITS[1][:20]


def linear(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def run(net, train=TRAIN, test=TEST, optimizer=None, schedule=None, **options):
    optimizer = optimizer or optim.SGD(net.parameters())
    schedule = schedule or optim.CosineLR(optimizer, 2)
    return fit(net, train, test, optimizer, schedule, quiet=True, **options)


def refused(error, text, net, **options):
    """The call is refused in these words, and leaves weights, modes and chance alone."""
    before, modes = net.state_dict(), [m.training for _, m in net.named_modules()]
    chance = tf.backend.random_state()
    with pytest.raises(error, match=text) as caught:
        run(net, **options)
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())
    assert [m.training for _, m in net.named_modules()] == modes
    assert tf.backend.random_state() == chance


# ----- Schedule and optimizer -----


def test_a_cell_that_is_run_twice_is_refused_where_the_rates_would_be_others():
    net = linear()
    optimizer = optim.SGD(net.parameters())
    schedule = optim.CosineLR(optimizer, 2)
    assert len(run(net, optimizer=optimizer, schedule=schedule)) == 2
    again = {"optimizer": optimizer, "schedule": schedule}
    refused(ValueError, "schedule is after epoch 2 already", net, **again)


def test_a_constant_schedule_may_be_used_again():
    net = linear()
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    schedule = optim.ConstantLR(optimizer, 2)
    for _ in range(2):
        history = run(net, optimizer=optimizer, schedule=schedule)
        assert [record["lr"] for record in history] == [0.5, 0.5]
        assert schedule.epoch == 2


def test_a_schedule_that_is_too_short_is_refused_and_one_without_an_end_is_not():
    refused(
        ValueError, "run out after 2 epochs: in epoch 3 its learning rate is 0", linear(), epochs=4
    )
    net = linear()
    optimizer = optim.SGD(net.parameters())
    assert len(run(net, schedule=optim.StepLR(optimizer, 2), optimizer=optimizer, epochs=3)) == 3


def test_an_optimizer_has_to_move_the_weights_of_the_model_and_all_of_them():
    net, other = linear(), linear()
    theirs = optim.SGD(other.parameters())
    refused(ValueError, "moves 2 tensors that are not the model's", net, optimizer=theirs)
    some = optim.SGD([net[1].bias])
    refused(
        ValueError,
        "leaves out 1 of the model's 2 parameters, such as 1.weight",
        net,
        optimizer=some,
    )
    schedule = optim.CosineLR(theirs, 2)
    refused(ValueError, "schedule belongs to another optimizer", net, schedule=schedule)
    with pytest.raises(ValueError, match="model has no parameters to train, got Flatten"):
        run(nn.Flatten(), optimizer=theirs)


def test_weights_that_are_frozen_may_be_left_out():
    net = linear()
    net[1].weight.requires_grad = False
    before = net[1].weight.numpy().copy(), net[1].bias.numpy().copy()
    run(net, optimizer=optim.SGD([net[1].bias]))
    assert np.array_equal(before[0], net[1].weight.numpy())
    assert not np.array_equal(before[1], net[1].bias.numpy())


def test_resume_needs_a_folder():
    refused(ValueError, "resume=True needs the folder of a run", linear(), resume=True)


# ----- Data -----


def test_a_set_without_images_is_refused_by_name():
    refused(DataError, r"train \(digits\) has no images", linear(), train=TRAIN[:0])
    refused(DataError, r"test \(digits\) has no images", linear(), test=TEST[:0])
    refused(DataError, r"validation \(digits\) has no images", linear(), validation=TEST[:0])
    with pytest.raises(DataError, match="evaluate: dataset digits has no images"):
        evaluate(linear(), TEST[:0])


def test_a_test_set_of_another_kind_is_refused():
    small = Dataset(TEST.images[:, :4], TEST.labels, TEST.classes, "small")
    refused(
        DataError, r"train has images of \(8, 8, 1\), test of \(4, 8, 1\)", linear(), test=small
    )
    names = ("zero", *TEST.classes[1:])
    renamed = Dataset(TEST.images, TEST.labels, names, "renamed")
    refused(DataError, "class 0 is '0' and 'zero'", linear(), test=renamed)
    more = Dataset(TEST.images, TEST.labels, (*TEST.classes, "more"), "more")
    refused(DataError, "got 10 and 11 of them", linear(), test=more)


def test_a_model_without_a_logit_for_each_label_is_refused():
    refused(ShapeError, "gives 4 logits, for labels 0 to 3; the dataset has the label 9", linear(4))
    refused(
        ShapeError,
        r"logits \(1, K\), one row for each image, got \(1, 8, 8, 1\)",
        nn.BatchNorm2d(1),
    )


def test_a_last_batch_of_one_is_refused_where_batch_norm_cannot_train_on_it():
    rows = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm2d(8), nn.Linear(8, 10))
    text = "batch_size=64 leaves 1 of the 65 images for the last batch, .*choose another batch_size"
    refused(ValueError, text, rows, batch_size=64)
    refused(ValueError, "batch_size=1 leaves 1 of", rows, batch_size=1)
    assert len(run(rows, batch_size=63)) == 2
    images = tf.FractalNet(columns=2, channels=(4,))  # with 64 numbers per channel
    assert len(run(images, batch_size=64)) == 2


# ----- predict, and two at once -----


def test_predict_says_what_is_wrong_with_its_images():
    net = linear()
    with pytest.raises(ShapeError, match=r"got \(8, 8, 1\); for one image write image\[None\]"):
        predict(net, TEST.images[0])
    with pytest.raises(TypeError, match="images need numbers, got <U"):
        predict(net, ["a cat"])
    with pytest.raises(DataError, match="NaN"):
        predict(net, np.full((1, 8, 8, 1), np.nan, np.float32))
    expected = predict(net, TEST.images)
    for same in (TEST, tf.Tensor(TEST.images), TEST.images.tolist()):
        np.testing.assert_allclose(predict(net, same), expected, 1e-6)


def test_the_last_of_two_overlapping_blocks_puts_the_mode_back():
    net, inside, leave = linear(), threading.Event(), threading.Event()

    def other():
        with inference(net):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with inference(net):
        thread.start()
        inside.wait(10)
    assert not any(module.training for _, module in net.named_modules())  # the other goes on
    leave.set()
    thread.join()
    assert all(module.training for _, module in net.named_modules())


def test_on_epoch_sees_each_record_and_can_end_the_training():
    seen = []
    history = run(linear(), on_epoch=lambda record: seen.append(record) or len(seen) == 1)
    assert seen == history
    assert len(history) == 1
