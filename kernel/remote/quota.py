"""Hours: what a run is expected to take, when it is stopped, what the week has left."""

import datetime
from collections.abc import Callable

from ..bundle.recipes import Recipe, compose_settings
from ..facts.measurements import find_gpu_hours
from .client import Client
from .errors import KaggleError

MAX_HOURS = 12  # Kaggle's limit for a run
NUM_IMAGES = 220_025  # of the competition


def expect_hours(recipe: Recipe, overrides: dict | None = None) -> float | None:
    """About how many hours of GPU a run takes on Kaggle.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings, or None.

    Returns:
        float, the recipe's own hours scaled by the work of these settings; None for
        another network, or a recipe that needs no GPU.
    """
    if not recipe.uses_gpu:
        return None
    usual = compose_settings(recipe).flat()
    settings = compose_settings(recipe, overrides).flat()
    if settings.get("architecture") != usual.get("architecture"):
        return None
    scale = count_passes(settings) / count_passes(usual)
    return round(find_gpu_hours(recipe.name) * scale, 2)


def count_passes(settings: dict) -> int:
    """How many images are trained on, over all epochs, networks and trials."""
    num_folds = len(settings.get("folds", ())) or settings.get("num_folds", 1)
    num_networks = settings.get("trials") or num_folds * settings.get("num_seeds", 1)
    num_images = settings.get("num_images") or NUM_IMAGES
    return num_networks * settings.get("epochs", 1) * num_images


def choose_timeout(expected: float | None) -> float:
    """Hours after which Kaggle is to stop a run: four times what is expected."""
    return min(MAX_HOURS, max(1, 4 * expected)) if expected else MAX_HOURS


def say_quota(
    client: Client, expected: float | None, hours: float, say: Callable[[str], None]
) -> None:
    """Say what is left of the week's GPU hours, and what this run may use of it.

    Args:
        client: Client.
        expected: float, as `expect_hours` returns it.
        hours: float, the run's time-out.
        say: function that prints a line.
    """
    about = f"about {expected:.1f} h (estimated)" if expected else "unknown"
    say(f"GPU hours  this run {about}, stopped after {hours:g} h at the latest")
    try:
        answer = client.call("kernels", "get_accelerator_quota_statistics")
    except KaggleError as error:
        say(f"           left this week: unknown ({error})")
        return
    quota = answer.gpu_quota
    if not quota or not quota.total_time_allowed:
        say("           left this week: the service does not say")
        return
    none = datetime.timedelta()
    used = (quota.time_used or none) + (quota.time_reserved or none)
    left = (quota.total_time_allowed - used).total_seconds() / 3600
    total = quota.total_time_allowed.total_seconds() / 3600
    refresh = answer.quota_refresh_time
    until = f", renewed {refresh:%a %d %b %H:%M} UTC" if refresh else ""
    say(f"           {left:.1f} of {total:.0f} h left this week{until}")
    if expected and expected > left:
        say("           less than the run needs; Kaggle may refuse it or stop it early")
