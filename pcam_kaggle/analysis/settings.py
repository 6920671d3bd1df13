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
    """Cross-validation that can hold out groups of hue or a hospital."""

    split: str = setting(
        "auto", "what folds never share; auto: slides if known", ("auto", "hue", "hospital")
    )
    stain_check: bool = setting(
        False, "also train on one group of hue and test on the other; warns of a gap"
    )

    def check(self):
        super().check()
        if self.split == "hospital" and self.num_folds != 2:
            raise ValueError(
                "split: there are two hospitals; use num_folds=2. "
                f"Received: split='hospital', num_folds={self.num_folds}"
            )
        if self.split == "hue" and self.num_folds == 2 and self.stain_check:
            raise ValueError(
                "stain_check: the two folds of split=hue are that check; use "
                "stain_check=false. Received: split='hue', num_folds=2, stain_check=True"
            )
