"""Settings of cleaning and of what folds do not share."""

import dataclasses

from ..data.settings import FoldSettings
from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class CleaningSettings(Part):
    """Training patches to leave out."""

    clean: tuple = setting((), "patches to leave out", ("blank", "duplicates"), kind="names")


@dataclasses.dataclass(frozen=True)
class SplitSettings(FoldSettings):
    """Cross-validation that can hold out groups of hue or a hospital."""

    split: str = setting(
        "auto", "what folds never share; auto: slides if known", ("auto", "hue", "hospital")
    )

    def check(self):
        super().check()
        if self.split == "hospital" and self.num_folds != 2:
            raise ValueError(
                "split: there are two hospitals; use num_folds=2. "
                f"Received: split='hospital', num_folds={self.num_folds}"
            )
