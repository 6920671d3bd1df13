"""How a network is trained."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Part):
    """Epochs, batches, optimizer, schedule, stopping."""

    epochs: int = setting(6, "passes over the training patches", low=1)
    batch_size: int = setting(64, "patches per step", low=1)
    optimizer: str = setting("adamw", "the optimizer", ("adam", "adamw", "sgd"))
    learning_rate: float = setting(3e-4, "highest learning rate", low=1e-8, high=10)
    weight_decay: float = setting(0.01, "decoupled weight decay", low=0, high=1)
    schedule: str = setting("cosine", "learning rate over the run", ("cosine", "constant"))
    warmup: float = setting(0.1, "cosine: share of steps with a rising rate", low=0, high=0.9)
    gradient_clip: float = setting(0.0, "largest gradient norm; 0: no clipping", low=0, high=1000)
    ema_momentum: float = setting(0.0, "moving average of weights; 0: none", low=0, high=0.9999)
    label_smoothing: float = setting(0.05, "how far labels move toward 0.5", low=0, high=0.5)
    early_stopping_patience: int = setting(0, "epochs without a lower val_loss; 0: off", low=0)
    plateau_patience: int = setting(0, "epochs without gain before the rate falls; 0: off", low=0)
    plateau_factor: float = setting(0.1, "plateau: factor of the rate", low=0.001, high=0.999)

    def check(self):
        if self.plateau_patience and self.schedule != "constant":
            raise ValueError(
                "plateau_patience: a schedule sets its own rate; use schedule=constant. "
                f"Received: schedule={self.schedule!r}"
            )
        if self.ema_momentum and self.early_stopping_patience:
            raise ValueError(
                "ema_momentum: averaged weights are those of the end; use "
                "early_stopping_patience=0. Received: early_stopping_patience="
                f"{self.early_stopping_patience}"
            )
