"""Settings of networks with random initial weights."""

import dataclasses

from ..system.settings import setting
from .settings import NetworkSettings

SCRATCH = ("wide_cnn", "p4m_densenet", "resnet34")


@dataclasses.dataclass(frozen=True)
class ScratchSettings(NetworkSettings):
    """A network of SCRATCH."""

    architecture: str = setting("wide_cnn", "the network", SCRATCH)

    def check(self):
        super().check()
        if self.architecture == "p4m_densenet" and self.input_size % 16:
            raise ValueError(
                "input_size: p4m_densenet takes 32 to 224 pixels in steps of 16. "
                f"Received: input_size={self.input_size}"
            )
