"""Prediction: invariant under its own views, in the order asked for."""

import keras
import numpy as np
import pytest
from keras import ops
from small_task import build_tiny

from pcam_kaggle.inference import views
from pcam_kaggle.inference.predict import predict
from pcam_kaggle.inference.views import NUM_VIEWS, predict_views
from pcam_kaggle.inference.views import test_time_views as make_views
from pcam_kaggle.models.settings import NetworkSettings

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), np.uint8)
IMAGES = IMAGES.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def network():
    """A network whose predictions differ between patches and between views."""
    keras.utils.set_random_seed(0)
    made = build_tiny(NetworkSettings())
    kernel = made.layers[-1].get_weights()[0] * 5
    features = keras.Model(made.inputs, made.layers[-1].input)(IMAGES.astype("float32"))
    made.layers[-1].set_weights([kernel, -np.mean(features @ kernel, axis=0)])
    return made


@pytest.fixture(scope="module")
def upright(network):
    """Predictions over each set of views."""
    return {tta: predict(network, IMAGES, tta=tta) for tta in ("none", "flip", "dihedral")}


def test_the_predictions_tell_patches_and_views_apart(upright):
    assert np.ptp(upright["none"]) > 1e-3
    assert np.abs(upright["none"] - upright["flip"]).max() > 1e-4
    assert np.abs(upright["flip"] - upright["dihedral"]).max() > 1e-4


@pytest.mark.parametrize(
    "tta, view",
    [
        ("flip", lambda x: x[:, ::-1]),
        ("flip", lambda x: x[:, :, ::-1]),
        ("flip", lambda x: x[:, ::-1, ::-1]),
        ("dihedral", lambda x: x[:, ::-1]),
        ("dihedral", lambda x: x.transpose(0, 2, 1, 3)),
        ("dihedral", lambda x: np.rot90(x, 1, (1, 2))),
        ("dihedral", lambda x: np.rot90(x, 3, (1, 2))),
    ],
)
def test_a_prediction_is_the_same_for_every_view_of_its_group(network, upright, tta, view):
    seen = predict(network, np.ascontiguousarray(view(IMAGES)), tta=tta)
    assert np.abs(seen - upright[tta]).max() < 1e-6


def test_flips_alone_do_not_cover_a_quarter_turn(network, upright):
    turned = np.ascontiguousarray(np.rot90(IMAGES, 1, (1, 2)))
    assert np.abs(predict(network, turned, tta="flip") - upright["flip"]).max() > 1e-5


def test_a_prediction_is_the_mean_over_its_views_in_evaluation_mode(network, upright):
    flips = [IMAGES[:, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    single = [np.asarray(network(v.astype("float32"), training=False))[:, 0] for v in flips]
    assert np.allclose(upright["flip"], np.mean(single, 0), atol=1e-6)
    assert np.allclose(upright["none"], single[0], atol=1e-6)
    assert upright["flip"].dtype == np.float32


def test_the_view_as_it_is_comes_along(network, upright):
    mean, one_view = predict_views(network, IMAGES, tta="dihedral")
    assert np.allclose(mean, upright["dihedral"], atol=1e-6)
    assert np.allclose(one_view, upright["none"], atol=1e-6)


def test_predictions_follow_the_positions(network, upright):
    found = predict(network, IMAGES, np.array([3, 0]))
    assert np.allclose(found, upright["none"][[3, 0]], atol=1e-6)


def test_many_batches_are_as_one(network, upright, monkeypatch):
    monkeypatch.setattr(views, "IMAGES_PER_PASS", 8)  # two patches of four views
    assert np.allclose(predict(network, IMAGES, tta="flip"), upright["flip"], atol=1e-6)


def test_all_predictions_of_a_network_share_a_model(network):
    first = views.add_views(network, "flip")
    predict(network, IMAGES[:2], tta="flip")
    predict(network, IMAGES, np.array([3, 0]), tta="flip")
    assert views.add_views(network, "flip") is first
    other = keras.models.clone_model(network)
    assert not np.allclose(predict(other, IMAGES), predict(network, IMAGES))


@pytest.mark.parametrize("tta, num_views", NUM_VIEWS.items())
def test_views_are_different_and_a_group(tta, num_views):
    patches = IMAGES[:1]
    made = [ops.convert_to_numpy(v)[0] for v in make_views(patches, tta)]
    known = {view.tobytes() for view in made}
    assert len(made) == len(known) == num_views
    turned = [np.rot90(patches[0], k) for k in range(4)]
    square = {view.tobytes() for view in [*turned, *(np.flip(v, axis=1) for v in turned)]}
    assert known <= square
    for view in made:  # the views of a view are the same set
        assert {ops.convert_to_numpy(v)[0].tobytes() for v in make_views(view[None], tta)} == known
