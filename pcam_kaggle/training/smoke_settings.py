"""Settings of the recipe smoke."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class SmokeSettings(Part):
    """A short session."""

    num_test: int = setting(5_000, "test patches to predict", low=1)
    costs: str = setting("", "GPU hours of the other recipes, as estimated for two T4")
