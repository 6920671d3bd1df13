"""Settings of the predictions and of the submission."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class PredictionSettings(Part):
    """Views, average and labels."""

    tta: str = setting("dihedral", "test-time views to average", ("none", "flip", "dihedral"))
    ensemble: str = setting("mean", "average over networks", ("mean", "rank", "logit"))
    labels: str = setting("probability", "hard: 0 or 1, which costs AUC", ("probability", "hard"))

    def check(self):
        if self.labels == "hard" and self.ensemble == "rank":
            raise ValueError(
                "labels: hard labels are probabilities above 0.5, which ranks are not; use "
                "ensemble=mean. Received: labels='hard', ensemble='rank'"
            )
