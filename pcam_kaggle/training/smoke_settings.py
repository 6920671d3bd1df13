"""Settings of the recipe smoke."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class SmokeSettings(Part):
    """A short session."""

    num_test: int = setting(5_000, "test patches to predict", low=1)
    costs: str = setting("", "GPU hours of the other recipes, as estimated for two T4")

    def check(self):
        try:
            read_costs(self.costs)
        except ValueError as error:
            raise ValueError(
                "costs: expected recipes with their hours, such as best 5, fast 0.5. "
                f"Received: costs={self.costs!r}"
            ) from error


def read_costs(costs: str) -> dict:
    """The hours by recipe in a text such as "best 5, fast 0.5"."""
    pairs = (item.split() for item in costs.split(",") if item.strip())
    return {name: float(hours) for name, hours in pairs}
