"""A recipe's kernel to Kaggle: written, compared with what is there, sent once."""

import datetime
import json
import time

import tenacity
from slugify import slugify

from pcam_kaggle.paths import COMPETITION
from pcam_kaggle.recipes import RECIPES, get_config

from .client import KaggleError, LostAnswer
from .header import make_slug
from .metadata import DIST, write_kernel
from .runs import RUNS, find_commit, locked, now, read_record, write_record
from .weights import find_datasets

MAX_HOURS = 12  # Kaggle's limit for a session
GPU_PATIENCE = 3_600  # seconds that a full GPU queue is waited for
NUM_IMAGES = 220_025  # of the competition
ALIVE = ("QUEUED", "RUNNING")


class GpuBusy(KaggleError):
    """All GPU sessions that the account may have are taken."""


def push_kernel(
    client, recipe, overrides=None, resume=False, hours=None, runs=RUNS, say=print
):
    """Push a recipe's kernel, unless this very build is there and has not failed.

    Writes kernel/dist/<slug>/ and runs/<slug>-<build id>/push.json. A repeated push
    finds the version that is queued, running or complete instead of starting another.

    Args:
        client: Client.
        recipe: str, its name.
        overrides: dict of typed settings.
        resume: bool, attach the kernel's own earlier output, whose finished folds the
            new version takes over.
        hours: float, the session's time-out; None for four times the expected hours.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Path of the run.

    Raises:
        ValueError: wrong settings, a title whose slug is not the kernel's.
        KaggleError: what Kaggle refused; an input that it does not know; no free GPU
            within an hour; an answer that was lost and a version that is not there.
    """
    config = get_config(recipe, overrides)
    datasets = find_datasets(config, client.service, runs)
    expected = expect_hours(recipe, config)
    if hours is None:
        hours = min(MAX_HOURS, max(1, 4 * expected)) if expected else MAX_HOURS
    inputs = {"owner": client.username, "dataset_sources": datasets, "resume": resume}
    with locked(DIST, make_slug(recipe, overrides), say):
        script, bundle = write_kernel(recipe, overrides, **inputs)
        metadata = read_metadata(script.with_name("kernel-metadata.json"))
        stored = find_kernel(client, metadata["id"])
        check_resume(resume, stored, bundle)
        version, url = find_same(client, stored, metadata, bundle, resume), None
        if version:
            say(f"version {version} of {metadata['id']} is this build: not sent again")
        else:
            say_quota(client, expected, hours, say)
            version, url = send(client, script, metadata, bundle, stored, hours, say)
        run = runs / f"{make_slug(recipe, overrides)}-{bundle.build_id}"
        record = {
            "service": client.service,
            "recipe": recipe,
            "settings": overrides or {},
            "build_id": bundle.build_id,
            "kernel": metadata["id"],
            "version": version,
            "url": url or name_page(metadata["id"]),
            "timeout_hours": hours,
            "expected_hours": expected,
            "dataset_sources": metadata["dataset_sources"],
            "kernel_sources": metadata["kernel_sources"],
        }
        record_push(run, record)
    return run


def record_push(run, record):
    """Write push.json, unless it is of this version; what was of another one goes."""
    earlier = read_record(run, "push.json")
    if all(earlier.get(name) == record[name] for name in ("service", "version")):
        return
    for name in ("status.json", "submit.json", "run.json"):
        (run / name).unlink(missing_ok=True)
    commit, dirty = find_commit()
    record = {"pushed": now(), **record, "commit": commit, "dirty": dirty}
    write_record(run, "push.json", record)


def read_metadata(path):
    """The metadata that is about to be pushed.

    Raises:
        ValueError: a title that Kaggle would file under another slug.
    """
    metadata = json.loads(path.read_text("utf-8"))
    slug = metadata["id"].split("/")[1]
    if slugify(metadata["title"]) != slug:
        raise ValueError(
            f"{path}: expected a title whose slug is {slug!r}. Received: "
            f"{metadata['title']!r}, whose slug is {slugify(metadata['title'])!r}"
        )
    return metadata


def find_kernel(client, kernel_id):
    """What is kept of a kernel's latest version (ApiGetKernelResponse), or None."""
    owner, slug = kernel_id.split("/")
    try:
        return client.call("kernels", "get_kernel", user_name=owner, kernel_slug=slug)
    except KaggleError as error:
        if error.status in (403, 404):  # Kaggle says 403 of a kernel that is not there
            return None
        raise


def find_same(client, stored, metadata, bundle, resume):
    """The latest version's number, if it is this build, on these inputs, unfailed."""
    if stored is None or not is_same_source(stored, bundle):
        return None
    kept = stored.metadata
    if set(kept.dataset_data_sources or []) != set(metadata["dataset_sources"]):
        return None
    if resume and not kept.kernel_data_sources:
        return None
    answer = fetch_status(client, metadata["id"], kept.current_version_number)
    state = answer.status.name
    alive = state in ALIVE or (state == "COMPLETE" and not resume)
    return kept.current_version_number if alive else None


def is_same_source(stored, bundle):
    """Whether Kaggle's copy is the bundled text, line ends and edges aside."""
    texts = (stored.blob.source or "", bundle.source)
    first, second = ("\n".join(text.strip().splitlines()) for text in texts)
    return first == second


def fetch_status(client, kernel_id, version):
    """One version's session: its status and failure message."""
    fields = name_fields(kernel_id, version)
    return client.call("kernels", "get_kernel_session_status", **fields)


def name_fields(kernel_id, version):
    """The fields of a request that name one version."""
    owner, slug = kernel_id.split("/")
    label = f"v{version}"
    return {"user_name": owner, "kernel_slug": slug, "version_label": label}


def check_resume(resume, stored, bundle):
    """Refuse a resume without an earlier version, or from another build."""
    if resume and (stored is None or not is_same_source(stored, bundle)):
        kept = "another build" if stored else "no version"
        raise ValueError(
            "--resume: expected that the kernel's latest version on Kaggle is build "
            f"{bundle.build_id}, whose finished folds go on. Received: {kept}. "
            "Push without --resume."
        )


def send(client, script, metadata, bundle, stored, hours, say):
    """Send the kernel's folder once; the number of its new version and its page."""

    def save():
        try:
            answer = client.save_kernel(script.parent, round(hours * 3600))
        except LostAnswer as error:
            say(f"{error} Looking whether it arrived.")
            version = find_lost_version(client, metadata["id"], bundle, stored)
            return version, name_page(metadata["id"])
        check_answer(answer, metadata, client)
        return answer.version_number, answer.url or name_page(metadata["id"])

    def say_busy(state):
        pause = state.next_action.sleep
        say(f"{state.outcome.exception()} Trying again in {pause:.0f} s.")

    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(GpuBusy),
        wait=tenacity.wait_exponential(
            multiplier=30 * client.pace, max=300 * client.pace
        ),
        stop=tenacity.stop_before_delay(GPU_PATIENCE),
        before_sleep=say_busy,
        reraise=True,
    )
    return patiently(save)


def check_answer(answer, metadata, client):
    """Refuse an answer that says, inside an HTTP 200, that the push went wrong.

    Raises:
        GpuBusy: the account's GPU sessions are taken.
        KaggleError: all else.
    """
    error = answer.error or ""
    if "Maximum batch" in error:
        raise GpuBusy(f"{client.service} says: {error}")
    if "not found" in error:
        raise KaggleError(
            f"{client.service} says: {error} Expected: that {metadata['id']} belongs "
            f"to the credentials, which are {client.username}'s."
        )
    if error:
        raise KaggleError(f"{client.service} refused the push: {error}")
    invalid = [
        f"{kind}: {', '.join(sources)}"
        for kind, sources in {
            "competition": answer.invalid_competition_sources,
            "dataset": answer.invalid_dataset_sources,
            "kernel": answer.invalid_kernel_sources,
            "model": answer.invalid_model_sources,
        }.items()
        if sources
    ]
    if invalid:
        raise KaggleError(
            f"{client.service} does not know these inputs of {metadata['id']}: "
            f"{'; '.join(invalid)}. Version {answer.version_number} runs without them "
            f"and will fail. Expected: the competition {COMPETITION}, joined on its "
            "page, and datasets of your own or public ones. Mend that and push again."
        )
    if not answer.version_number:
        raise KaggleError("the answer to the push has no version number")
    where = (answer.ref or answer.url or "").rstrip("/")
    slug = metadata["id"].split("/")[1]
    if where and not where.split("?")[0].endswith(slug):
        raise KaggleError(
            f"{client.service} filed the kernel as {where}. Expected: "
            f"{metadata['id']}. Is there another kernel of that title? Rename or "
            "delete it on kaggle.com."
        )


def name_page(kernel_id):
    """A kernel's page on Kaggle."""
    return f"https://www.kaggle.com/code/{kernel_id}"


def find_lost_version(client, kernel_id, bundle, before):
    """The version that a push made whose answer was lost.

    Raises:
        KaggleError: none shows; the same command may be given again.
    """
    known = before.metadata.current_version_number if before else 0
    for _ in range(5):
        stored = find_kernel(client, kernel_id)
        version = stored.metadata.current_version_number if stored else 0
        if version > known and is_same_source(stored, bundle):
            return version
        time.sleep(3 * client.pace)
    raise KaggleError(
        "the answer to the push was lost and no new version shows on Kaggle. Nothing "
        "was recorded. Give the same command again: it looks before it sends."
    )


def expect_hours(recipe, config):
    """About how many hours a run takes on Kaggle's GPU, or None for another network."""
    usual = get_config(recipe)
    if config.architecture != usual.architecture:
        return None

    def count_passes(c):
        networks = c.trials or (len(c.folds) or c.num_folds) * c.num_seeds
        return networks * c.epochs * (c.num_images or NUM_IMAGES)

    scale = count_passes(config) / count_passes(usual)
    return round(RECIPES[recipe].gpu_hours * scale, 2)


def say_quota(client, expected, hours, say):
    """Say what is left of the week's GPU hours, and what this run may take of it."""
    about = f"about {expected:.1f} h (estimated)" if expected else "not known"
    say(f"GPU hours  this run {about}, stopped after {hours:g} h at the latest")
    try:
        answer = client.call("kernels", "get_accelerator_quota_statistics")
    except KaggleError as error:
        say(f"           left this week: not known ({error})")
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
        say("           that is less than the run needs; Kaggle may refuse or cut it")
