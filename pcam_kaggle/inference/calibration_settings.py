"""Prediction settings of recipes that can calibrate."""

import dataclasses

from ..system.settings import setting
from .settings import PredictionSettings


@dataclasses.dataclass(frozen=True)
class CalibratedSettings(PredictionSettings):
    """Views, average, labels and calibration."""

    calibration: str = setting("none", "map of each network, fitted out of fold", ("none", "platt"))

    def check(self):
        super().check()
        if self.calibration == "platt" and self.ensemble == "rank":
            raise ValueError(
                "calibration: ranks are not probabilities; use ensemble=mean or logit. "
                "Received: calibration='platt', ensemble='rank'"
            )
