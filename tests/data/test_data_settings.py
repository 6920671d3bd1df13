"""Settings of the patches and folds: every seed that is derived from them is valid."""

import keras
import numpy as np
import pytest
from small_task import make_device, make_method, make_run

from pcam_kaggle.augmentation.flips import augment_patches
from pcam_kaggle.augmentation.settings import AugmentationSettings
from pcam_kaggle.data.folds import make_folds
from pcam_kaggle.data.settings import DataSettings, FoldSettings
from pcam_kaggle.training.members import list_jobs


def test_every_derived_seed_is_valid(tmp_path):
    run = make_run(tmp_path / "out", seed=10**9, num_folds=100, num_seeds=1000)
    seeds = [job.seed for job in list_jobs(make_method(), run, make_device(), "fold")]
    assert len(set(seeds)) == 100 * 1000
    largest = max(seeds)
    assert largest + 1 < 2**31  # the seed of Jitter
    keras.utils.set_random_seed(largest)
    make_folds(np.arange(20) % 2, 2, largest)
    settings = AugmentationSettings(stain_jitter=0.1, brightness=0.1)
    images = np.zeros((2, 96, 96, 3), np.uint8)
    augment_patches(keras.ops.convert_to_tensor(images), settings, largest)


@pytest.mark.parametrize(
    "part, change",
    [
        (DataSettings, {"seed": 10**9 + 1}),
        (DataSettings, {"seed": -1}),
        (FoldSettings, {"num_seeds": 1001}),
        (FoldSettings, {"num_folds": 101}),
    ],
)
def test_larger_values_are_refused_by_name(part, change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}: expected a whole number from"):
        part(**change)
