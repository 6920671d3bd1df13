"""Patches of a run and the folds they are assigned to."""

import dataclasses

from ..system.settings import Part, setting

SLIDE_MAPS = ("patch_id_wsi*.csv", "slides.csv")  # names that slide_map=auto takes


@dataclasses.dataclass(frozen=True)
class DataSettings(Part):
    """The training patches."""

    num_images: int = setting(0, "training patches drawn at random; 0: all", low=0)
    slide_map: str = setting("auto", "CSV id,slide for folds by slide; auto: if found; none")
    verify_ids: bool = setting(False, "check that every id is the sha1 of its pixels")
    seed: int = setting(0, "random seed of sampling, folds, first network", low=0, high=10**9)


@dataclasses.dataclass(frozen=True)
class FoldSettings(Part):
    """Cross-validation."""

    num_folds: int = setting(5, "number of stratified folds", low=2, high=100)
    folds: tuple = setting((), "folds to train; empty: all", kind="ints")
    # Every seed derived from `seed` stays below 2**31: seed + fold * num_seeds + number + 1.
    num_seeds: int = setting(1, "networks per fold, each from its own seed", low=1, high=1000)

    def check(self):
        wrong = [fold for fold in self.folds if not 0 <= fold < self.num_folds]
        if wrong or len(set(self.folds)) < len(self.folds):
            raise ValueError(
                f"folds: expected different numbers from 0 to {self.num_folds - 1}. "
                f"Received: folds={self.folds}"
            )
