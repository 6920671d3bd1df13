"""The course notebook's "ResNet34", as published.

The second of its three systems: a residual network from scratch, trained with Adam on a part of
the patches, with the notebook's affine augmentation, early stopping and a learning rate that falls
on a plateau. Set `labels=hard` to submit hard labels as it did.
"""

from ..methods.course import main, parts  # noqa: F401

SETTINGS = {
    "architecture": "course_resnet34",
    "num_images": 12_000,
    "num_folds": 5,
    "folds": (0,),
    "augmentation": "affine",
    "epochs": 20,
    "batch_size": 96,
    "optimizer": "adam",
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "early_stopping_patience": 5,
    "plateau_patience": 3,
    "tta": "none",
    "precision": "float32",
}
