"""How long a study runs."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class StudySettings(Part):
    """Trials and hours."""

    trials: int = setting(20, "combinations of settings to try", low=1)
    study_hours: float = setting(
        0.0, "start no trial after this many hours; 0: max_hours", low=0, high=1000
    )
