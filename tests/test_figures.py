"""The curves: one picture for any run, readable whatever the first losses were."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcam_kaggle.figures import plot_curves


@pytest.mark.parametrize("num_epochs, num_folds", [(1, 1), (20, 5), (3, 9)])
def test_curves_are_drawn_for_any_run(tmp_path, num_epochs, num_folds):
    rows = [
        {
            "fold": fold,
            "seed": fold,
            "epoch": epoch + 1,
            **dict.fromkeys(["accuracy", "auc", "val_accuracy", "val_auc"], 0.9),
            "loss": 0.5,
            "val_loss": 197.2 if epoch == 0 else 0.6,  # the seed's first epoch
        }
        for fold in range(num_folds)
        for epoch in range(num_epochs)
    ]
    plot_curves(pd.DataFrame(rows), tmp_path / "curves.png", "a run")
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert picture.shape == (500, 1500, 3)
    assert (picture < 128).any(axis=2).mean() > 0.005  # ink


def test_a_picture_that_cannot_be_drawn_leaves_no_file(tmp_path):
    with pytest.raises(KeyError):
        plot_curves(pd.DataFrame({"fold": [0]}), tmp_path / "curves.png", "a run")
    assert list(tmp_path.iterdir()) == []
