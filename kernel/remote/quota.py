"""Hours: what a run is expected to take, when it is stopped, what the week has left."""

import dataclasses
import datetime
import math
from collections.abc import Callable

from pcam_kaggle.system.settings import name_settings

from ..bundle.recipes import Recipe, compose_settings, needs_gpu
from ..facts.measurements import find_gpu_hours
from .client import Client
from .errors import KaggleError

MAX_HOURS = 12  # Kaggle's limit for a run
MARGIN = 0.5  # hours between a run's own end and its time-out
MIN_HOURS = 0.6  # the shortest time-out that leaves a run time of its own
NUM_IMAGES = 220_025  # of the competition
NUM_GPUS = 2  # of a session


@dataclasses.dataclass(frozen=True)
class GpuHours:
    """The week's GPU hours.

    Attributes:
        left, total: float, hours.
        renewed: str, when they are renewed, in words.
    """

    left: float
    total: float
    renewed: str


def expect_hours(recipe: Recipe, overrides: dict | None = None) -> float | None:
    """About how many hours of GPU a run takes on Kaggle.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings, or None.

    Returns:
        float, the recipe's own hours scaled by the work of these settings; None for
        another network, or a recipe that needs no GPU.
    """
    if not needs_gpu(recipe, overrides):
        return None
    usual = compose_settings(recipe).flat()
    settings = compose_settings(recipe, overrides).flat()
    if settings.get("architecture") != usual.get("architecture"):
        return None
    scale = count_passes(settings) / count_passes(usual)
    return round(find_gpu_hours(recipe.name) * scale, 2)


def count_passes(settings: dict) -> int:
    """How many images a GPU trains on, over all epochs and its share of networks or trials."""
    num_folds = len(settings.get("folds", ())) or settings.get("num_folds", 1)
    num_networks = num_folds * settings.get("num_seeds", 1)
    num_rounds = math.ceil((settings.get("trials") or num_networks) / NUM_GPUS)
    num_images = settings.get("num_images") or NUM_IMAGES
    return num_rounds * settings.get("epochs", 1) * num_images


def plan_hours(
    client: Client, recipe: Recipe, overrides: dict, asked: float | None, say: Callable[[str], None]
) -> tuple[float, float | None]:
    """Choose when Kaggle stops a new run and when the run ends itself, and say both.

    Args:
        client: Client.
        recipe: Recipe.
        overrides: dict of typed settings.
        asked: float, the time-out that the user asks for, or None.
        say: function that prints a line.

    Returns:
        The time-out in hours, and the `max_hours` to write into the kernel's settings;
        None where the user has set it, or the recipe has no such setting.

    Raises:
        ValueError: a time-out or a max_hours that leaves no time to end.
        KaggleError: too few GPU hours left this week.
    """
    on_gpu = needs_gpu(recipe, overrides)
    gpu = fetch_gpu_hours(client, say) if on_gpu else None
    timeout = choose_timeout(asked, gpu)
    if has_max_hours(recipe) or on_gpu:
        check_timeout(timeout, gpu)
    max_hours = choose_max_hours(recipe, overrides, timeout)
    if on_gpu:
        expected = expect_hours(recipe, overrides)
        about = "unknown" if expected is None else f"about {expected:.1f} h (estimated)"
        if expected is not None and expected < 0.05:
            about = "a few minutes (estimated)"
        ends = overrides.get("max_hours", max_hours)
        itself = f"ends itself after {ends:g} h, " if ends else ""
        say(f"           this run {about}; {itself}stopped after {timeout:g} h at the latest")
        if expected and expected > (ends or timeout):
            say(
                "           less than the run needs: it submits the networks that it finishes, and "
                "push --resume trains the rest"
            )
    return timeout, max_hours


def fetch_gpu_hours(client: Client, say: Callable[[str], None]) -> GpuHours | None:
    """What is left of the week's GPU hours, said; None where the service does not say."""
    try:
        answer = client.call("kernels", "get_accelerator_quota_statistics")
    except KaggleError as error:
        say(f"GPU hours  left this week: unknown ({error})")
        return None
    gpu = read_gpu_hours(answer)
    if gpu is None:
        say("GPU hours  left this week: the service does not say")
        return None
    left = f"{max(0, gpu.left):.1f} of {gpu.total:.0f} h left this week"
    say(f"GPU hours  {left}, renewed {gpu.renewed}")
    return gpu


def read_gpu_hours(answer: object) -> GpuHours | None:
    """The week's GPU hours in an answer on quotas; None where it does not say."""
    quota = answer.gpu_quota
    if not quota or not quota.total_time_allowed:
        return None
    none = datetime.timedelta()
    used = (quota.time_used or none) + (quota.time_reserved or none)
    left = (quota.total_time_allowed - used).total_seconds() / 3600
    total = quota.total_time_allowed.total_seconds() / 3600
    refresh = answer.quota_refresh_time
    return GpuHours(
        left, total, f"{refresh:%a %d %b %H:%M} UTC" if refresh else "Saturday 00:00 UTC"
    )


def choose_timeout(asked: float | None, gpu: GpuHours | None) -> float:
    """The smallest of 12 hours, those asked for and those left, in whole hundredths."""
    hours = min(MAX_HOURS, asked or MAX_HOURS, gpu.left if gpu else MAX_HOURS)
    return math.floor(100 * hours + 1e-6) / 100


def check_timeout(timeout: float, gpu: GpuHours | None) -> None:
    """Refuse a time-out in which a run cannot end by itself.

    Raises:
        KaggleError: that is all that is left this week.
        ValueError: that is what the user asks for.
    """
    if timeout >= MIN_HOURS:
        return
    if gpu and gpu.left < MIN_HOURS:
        raise KaggleError(
            f"GPU hours: expected at least {MIN_HOURS:g} h left this week. Received: "
            f"{max(0, gpu.left):.1f} of {gpu.total:.0f} h. Try: push again after {gpu.renewed}, "
            "or wait for a run that has reserved hours"
        )
    raise ValueError(
        f"--timeout: expected at least {MIN_HOURS:g} h, since a run ends itself {MARGIN:g} h "
        f"earlier. Received: {timeout:g}. Try: a longer one, or none"
    )


def has_max_hours(recipe: Recipe) -> bool:
    """Whether a run of a recipe can end itself."""
    return "max_hours" in name_settings(recipe.parts)


def choose_max_hours(recipe: Recipe, overrides: dict, timeout: float) -> float | None:
    """A run's own limit, as `plan_hours` returns it.

    Raises:
        ValueError: the user's own is too close to the time-out.
    """
    if not has_max_hours(recipe):
        return None
    most = round(timeout - MARGIN, 2)
    own = overrides.get("max_hours")
    if own is None:
        return min(most, recipe.changes.get("max_hours", most))
    if own > most:
        raise ValueError(
            f"max_hours: expected at most {most:g}, {MARGIN:g} h below the time-out of "
            f"{timeout:g} h. Received: {own:g}. Try: leave max_hours out; push then chooses it"
        )
    return None
