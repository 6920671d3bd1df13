"""Settings of cleaning and of the stain check."""

import dataclasses

from ..data.settings import FoldSettings
from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class CleaningSettings(Part):
    """Training patches to leave out."""

    clean: tuple = setting((), "patches to leave out", ("blank", "duplicates"), kind="names")


@dataclasses.dataclass(frozen=True)
class StainFoldSettings(FoldSettings):
    """Cross-validation that can hold out a group of hue."""

    split: str = setting(
        "stratified", "stain: hold out each of two groups of hue in turn", ("stratified", "stain")
    )
    stain_check: bool = setting(
        False, "also train on one group of hue and test on the other; warns of a gap"
    )

    def check(self):
        super().check()
        if self.split == "stain" and self.num_folds != 2:
            raise ValueError(
                "split: there are two groups of hue; use num_folds=2. "
                f"Received: split='stain', num_folds={self.num_folds}"
            )
        if self.split == "stain" and self.stain_check:
            raise ValueError(
                "stain_check: the folds of split=stain are that check; use "
                "stain_check=false. Received: split='stain', stain_check=True"
            )
