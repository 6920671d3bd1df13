"""What a run on Kaggle needs, checked without changing anything here or there."""

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pcam_kaggle.system.paths import COMPETITION

from ..bundle.recipes import Recipe, is_download, list_networks, needs_gpu, read_recipe
from ..folders import ROOT, RUNS, find_downloaded
from . import transport
from .client import Client
from .competition import PAGE, NotJoined, check_joined
from .datasets import fetch_dataset_status
from .download import ARCHIVE_BYTES, DATA_BYTES
from .quota import check_timeout, choose_timeout, expect_hours, read_gpu_hours
from .weights import find_dataset, find_datasets, read_registry

PATIENCE = 10  # seconds to keep retrying one call
TIMEOUT = (5, 20)  # seconds to connect, and of silence
OUTPUT_BYTES = 1e9  # more than the output of a run

Finding = tuple[str, str, str]  # state, found, remedy


@dataclasses.dataclass(frozen=True)
class Check:
    """What one check has found.

    Attributes:
        name: str, what was checked.
        state: str, "ok", "warn", "fail", or "skip" where it could not be checked.
        found: str, in one line.
        remedy: str, what to do, in one line; "" where the state is ok.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


def run_checks(
    name: str, overrides: dict | None = None, runs: Path = RUNS
) -> tuple[Client | None, list[Check]]:
    """Check what a push of a recipe needs; each check survives the failure of the others.

    Args:
        name: str, the recipe's name.
        overrides: dict of typed settings.
        runs: Path of the folder of runs.

    Returns:
        The Client, or None where there is none, and the list of Checks.
    """
    recipe, overrides = read_recipe(name), dict(overrides or {})
    timeout = tuple(map(min, TIMEOUT, transport.TIMEOUT))
    client = catch(Client, timeout, min(PATIENCE, transport.PATIENCE))
    started = time.perf_counter()
    competition = catch(check_joined, client)
    seconds = time.perf_counter() - started
    is_reached = not isinstance(competition, Exception) or isinstance(competition, NotJoined)
    service = client if is_reached else competition
    quotas = catch(Client.call, service, "kernels", "get_accelerator_quota_statistics")
    hours = quotas if needs_gpu(recipe, overrides) else None
    checks = [
        attempt("credentials", check_credentials, client),
        attempt("service", check_service, service, seconds),
        attempt("competition", check_competition, competition),
        attempt("account", check_account, quotas),
        attempt("GPU hours", check_gpu_hours, recipe, overrides, hours),
        attempt("submissions", check_submissions, service),
        attempt("weights", check_weights, service, recipe, overrides, runs),
    ]
    blocked = next((i for i, check in enumerate(checks[:2]) if check.state == "fail"), len(checks))
    for i in range(blocked + 1, len(checks)):
        remedy = f"fix the {checks[blocked].name} first"
        checks[i] = Check(checks[i].name, "skip", "not checked", remedy)
    checks += [attempt("versions", check_versions), attempt("disk", check_disk, runs)]
    return (None if isinstance(client, Exception) else client), checks


def catch(function: Callable, *arguments) -> object:
    """What a function returns, or its error; the first argument that is one stands for it."""
    try:
        for argument in arguments:
            if isinstance(argument, Exception):
                raise argument
        return function(*arguments)
    except (ValueError, OSError) as error:
        return error


def attempt(name: str, check: Callable[..., Finding], *arguments) -> Check:
    """Carry out a check; an error becomes its finding."""
    found = catch(check, *arguments)
    if not isinstance(found, Exception):
        return Check(name, *found)
    text = " ".join(str(found).split())
    found, _, remedy = text.partition(" Try: " if " Try: " in text else ". ")
    return Check(name, "fail", found, remedy or "try again later")


def check_credentials(client: Client) -> Finding:
    """Whose credentials were found, and where."""
    api = client.api
    method = api.config_values[api.CONFIG_NAME_AUTH_METHOD]
    key_given = "KAGGLE_USERNAME" in os.environ and "KAGGLE_KEY" in os.environ
    places = {
        "ACCESS_TOKEN": "the access token of KAGGLE_API_TOKEN"
        if "KAGGLE_API_TOKEN" in os.environ
        else "the access token in ~/.kaggle",
        "LEGACY_API_KEY": "KAGGLE_USERNAME and KAGGLE_KEY" if key_given else api.config,
        "OAUTH": "kaggle auth login",
    }
    found = f"{client.username}, by {places[method]}"
    if api.token_refused:
        return "warn", f"{found}; an access token was refused", "remove that token or renew it"
    return "ok", found, ""


def check_service(client: Client, seconds: float) -> Finding:
    """How fast the service answers."""
    return "ok", f"{client.service} answers in {1000 * seconds:.0f} ms", ""


def check_competition(competition: object) -> Finding:
    """Whether the competition takes submissions."""
    if competition.submissions_disabled:
        return "fail", "joined, but closed for submissions", f"see {PAGE}"
    return "ok", "joined, takes submissions", ""


def check_account(quotas: object) -> Finding:
    """Whether the phone is verified, as far as the service tells."""
    quota = quotas.gpu_quota
    if quota and quota.has_ever_run:
        return "ok", "a GPU session has run, which takes a verified phone", ""
    return (
        "warn",
        "no GPU session yet; the service does not say whether the phone is verified, which "
        "GPU and internet need",
        "see kaggle.com/settings",
    )


def check_gpu_hours(recipe: Recipe, overrides: dict, quotas: object) -> Finding:
    """Whether the week's GPU hours suffice for the recipe."""
    if not needs_gpu(recipe, overrides):
        return "ok", f"{recipe.name} needs no GPU", ""
    gpu = read_gpu_hours(quotas)
    if gpu is None:
        return "warn", "the service does not say", "see kaggle.com/settings"
    check_timeout(choose_timeout(None, gpu), gpu)
    expected = expect_hours(recipe, overrides)
    need = "unknown" if expected is None else f"about {expected:g} h (estimated)"
    found = f"{gpu.left:.1f} of {gpu.total:.0f} h left this week; {recipe.name} takes {need}"
    if expected and expected > gpu.left:
        return "warn", found, f"push after {gpu.renewed}, or finish then with push --resume"
    return "ok", found, ""


def check_submissions(client: Client) -> Finding:
    """How many submissions are left today."""
    limits = client.call("competitions", "get_submission_limits", competition_name=COMPETITION)
    found = f"{limits.num_allowed_now} left today, {limits.num_today} made"
    if limits.num_allowed_now < 1:
        return "warn", found, "submit after midnight UTC"
    return "ok", found, ""


def check_weights(client: Client, recipe: Recipe, overrides: dict, runs: Path) -> Finding:
    """Where the kernel takes the pretrained weights of each network from."""
    find_datasets(recipe, overrides, client.service, runs)  # refuses what no kernel could load
    known = read_registry(runs).get(client.service, {})
    attached, downloads = [], []
    for architecture, weights in list_networks(recipe, overrides):
        name, dataset = architecture or weights, find_dataset(architecture, weights, known)
        if dataset is None:
            downloads += [name] * is_download(weights)
            continue
        status = fetch_dataset_status(client, dataset.split("/")[1])
        if status != "READY":
            remedy = f"run python build.py weights {name}{'' if architecture else ' FOLDER'}"
            return "fail", f"the dataset {dataset} is {status or 'not there'}", remedy
        attached.append(f"{name} in {dataset}")
    if downloads:
        names = ", ".join(downloads)
        attached.append(f"{names} downloaded in the kernel, over the internet")
    return "ok", "; ".join(attached) or f"{recipe.name} needs none", ""


def check_versions() -> Finding:
    """Whether the packages are those that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    python = platform.python_version()
    wrong = []
    if not SpecifierSet(project["requires-python"]).contains(python, prereleases=True):
        wrong.append(f"Python {python}, not {project['requires-python']}")
    for text in project["dependencies"]:
        requirement = Requirement(text)
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version or 'missing'}, not {requirement.specifier}")
    if wrong:
        return "fail", "; ".join(wrong), "run python -m pip install -e . with a Python that fits"
    names = ("kaggle", "kagglesdk")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return "ok", ", ".join([f"Python {python}", *versions]), ""


def check_disk(runs: Path) -> Finding:
    """Whether the disk of runs/ has room for outputs and for the competition's data."""
    folder = next(path for path in (runs, *runs.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free for {runs.name}/"
    need = OUTPUT_BYTES if find_downloaded(runs) else ARCHIVE_BYTES + DATA_BYTES
    if free < OUTPUT_BYTES:
        return "fail", f"{found}; a run takes up to {OUTPUT_BYTES / 1e9:g} GB", "free up disk space"
    if free < need:
        remedy = "free up disk space, or run python build.py download --out DIR"
        return "warn", f"{found}; download takes {need / 1e9:.1f} GB", remedy
    return "ok", found, ""
