"""Batches: uint8, complete, shuffled again every epoch, resumable."""

import numpy as np
import pytest

from pcam_kaggle.data import batches as batches_module
from pcam_kaggle.data.batches import Batches

IMAGES = np.arange(10, dtype=np.uint8)[:, None, None, None]
LABELS = np.arange(10) % 2
ODD = np.array([1, 3, 5, 7, 9])


def list_order(batches):
    """The numbers of the images of an epoch, in order."""
    return [int(i) for n in range(len(batches)) for i in batches[n][0].ravel()]


def test_training_batches_are_shuffled_again_and_drop_the_rest():
    train = Batches(IMAGES, ODD, 2, LABELS, shuffle_seed=0)
    first = list_order(train)
    train.on_epoch_end()
    assert len(first) == 4 and set(first) < set(ODD)
    assert list_order(train) != first
    images, labels = train[0]
    assert images.dtype == np.uint8 and images.shape == (2, 1, 1, 1)
    assert labels.dtype == np.float32 and labels.tolist() == [[1.0], [1.0]]


def test_labels_are_those_of_the_images():
    train = Batches(IMAGES, np.arange(10), 5, LABELS, shuffle_seed=3)
    for number in range(len(train)):
        images, labels = train[number]
        assert labels.ravel().tolist() == (images.ravel() % 2).tolist()


def test_without_shuffling_images_come_in_order_and_the_first_fill_the_last_batch():
    test = Batches(IMAGES, ODD, 2)
    for _ in range(2):
        assert [test[i].ravel().tolist() for i in range(len(test))] == [[1, 3], [5, 7], [9, 1]]
        test.on_epoch_end()
    assert Batches(IMAGES, ODD[:3], 2)[1].ravel().tolist() == [5, 1]
    assert len(Batches(IMAGES, ODD, 5)) == 1


def test_images_that_fill_up_weigh_nothing_and_the_others_alike():
    valid = Batches(IMAGES, ODD, 3, LABELS)
    weights = [valid[i][2] for i in range(len(valid))]
    assert {array.dtype for array in weights} == {np.dtype("float32")}
    # Two batches of three hold five images: their mean is of weights whose sum is six.
    assert np.concatenate(weights).tolist() == pytest.approx([6 / 5] * 5 + [0])
    assert valid[1][1].ravel().tolist() == [1, 1, 1]
    whole = Batches(IMAGES, ODD[:4], 2, LABELS)
    assert whole[1][2].tolist() == [1, 1]


def test_a_batch_is_a_sign_of_life(monkeypatch):
    beats = []
    monkeypatch.setattr(batches_module, "beat", lambda *progress: beats.append(progress))
    test = Batches(IMAGES, ODD, 2, what="fold 0 seed 0 batch")
    assert not beats
    assert test[0] is not None and beats == [("fold 0 seed 0 batch", 1, len(test))]


def test_a_batch_is_never_larger_than_the_data():
    images = np.zeros((3, 1, 1, 1), np.uint8)
    batches = Batches(images, [0, 1, 2], 64, np.zeros(3), shuffle_seed=0)
    assert len(batches) == 1 and len(batches[0][0]) == 3


def test_skipped_epochs_leave_the_order_that_they_would_have():
    whole, resumed = (Batches(IMAGES, ODD, 2, LABELS, shuffle_seed=1) for _ in range(2))
    for _ in range(3):
        whole.on_epoch_end()
    resumed.skip_epochs(3)
    assert list_order(resumed) == list_order(whole)
    other = Batches(IMAGES, np.arange(10), 2, LABELS, shuffle_seed=2)
    assert list_order(other) != list_order(Batches(IMAGES, np.arange(10), 2, LABELS, 3))
