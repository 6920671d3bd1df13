"""Settings of recipes that look at the patches before they train."""

import dataclasses

from ..data.settings import FoldSettings
from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class CleaningSettings(Part):
    """Training patches to leave out."""

    clean: tuple = setting((), "patches to leave out", ("blank", "duplicates"), kind="names")


@dataclasses.dataclass(frozen=True)
class StainFoldSettings(FoldSettings):
    """Cross-validation that may hold out a color of stain."""

    split: str = setting(
        "stratified", "stain: hold out each of two colors of stain in turn", ("stratified", "stain")
    )
    stain_check: bool = setting(
        False, "also train on one color of stain and test on the other; warns of a gap"
    )

    def check(self):
        super().check()
        if self.split == "stain" and self.num_folds != 2:
            raise ValueError(
                "split: there are two colors of stain; use num_folds=2. "
                f"Received: split='stain', num_folds={self.num_folds}"
            )
        if self.split == "stain" and self.stain_check:
            raise ValueError(
                "stain_check: the folds of split=stain are that check; use "
                "stain_check=false. Received: split='stain', stain_check=True"
            )
