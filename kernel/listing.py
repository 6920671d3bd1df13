"""The runs, made here or pushed: a table for people, JSON for programs."""

import argparse
import collections
import contextlib
import datetime
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from .board import BoardRow, read_board
from .folders import DRAFT
from .locks import is_held
from .records import (
    ALIVE,
    PushRecord,
    ResultRecord,
    make_record,
    read_record,
    read_result,
    read_status,
    read_submission,
)
from .runs import count_networks, find_time, is_own, list_folders, list_records, list_stats

PUSH_KEYS = ("service", "recipe", "build_id", "kernel", "version", "pushed")
SCORE_KEYS = ("public_score", "private_score")
RANK_KEYS = ("public_rank", "private_rank", "num_teams")
WORDS = {  # of states
    "COMPLETE": "finished",
    "ERROR": "failed",
    "CANCEL_REQUESTED": "ending",
    "CANCEL_ACKNOWLEDGED": "cancelled",
    "NEW_SCRIPT": "not run",
}
HEADER = ("run", "state", "cv", "public", "private", "age", "size")
LEAST_WIDTH = 72  # of a terminal for the table; a narrower one shows paragraphs


def show_runs(args: argparse.Namespace, runs: Path) -> None:
    """All runs, the latest last; asks Kaggle only about own ones that are queued or running."""
    unreached = ask_states(runs)
    found = sorted(list_folders(runs), key=find_time)
    rows = {folder: find_rows(folder) for folder in {run.parent for run in found}}  # of demos, too
    shown = [describe_run(run, rows[run.parent], runs) for run in found]
    shown = [run for run in shown if run]
    if args.json:
        print_json({"runs": shown, "unreached": unreached})
        return
    if not shown:
        print("there is no run yet. Try: python build.py demo, or python build.py push RECIPE")
        return
    is_terminal = sys.stdout and sys.stdout.isatty()  # None where it was closed before the start
    width = max(20, shutil.get_terminal_size().columns) if is_terminal else sys.maxsize
    print(*(list_table if width >= LEAST_WIDTH else list_paragraphs)(shown, width), sep="\n")
    for line in list_notes(shown):
        print(textwrap.fill(line, width))
    if unreached:
        print(f"states of pushed runs as they were last seen: {unreached}")


def ask_states(runs: Path) -> str | None:
    """Ask for the states of own runs that are not over; why that failed, or None."""
    pairs = [(run, record) for run, record in list_records(runs) if record.kernel]
    alive = [(run, record) for run, record in pairs if read_status(run).state in ALIVE]
    if not alive:
        return None
    from .remote.client import Client  # 0.5 s
    from .remote.errors import KaggleError
    from .remote.watch import update_status

    client, unreached = None, None
    for run, record in alive:
        try:
            client = client or Client()
            if is_own(record, client):
                update_status(client, record, run)
        except KaggleError as error:
            unreached = str(error)
            if error.status not in (403, 404):  # of this run only
                break
    return unreached


def find_rows(runs: Path) -> dict[tuple, BoardRow]:
    """The rows of the board in a folder of runs, by service and submission."""
    return {(row.service, row.submission): row for row in read_board(runs)}


def describe_run(run: Path, rows: dict[tuple, BoardRow], runs: Path) -> dict:
    """A run as `runs --json` and `status --json` print it; None where something is unknown.

    Args:
        run: its folder.
        rows: as `find_rows` returns them for the folder that it is in.
        runs: Path of the folder of runs.

    Returns:
        dict with run, kind ("run", "study", "exploration" or "blend"), service ("home" for one
        made here), recipe, build_id, kernel, version, url, pushed, state (Kaggle's word, or
        PARTIAL for a run made here that has ended unfinished), seen (when the state was asked
        for), failure, networks (finished ones that are here), missing (names of networks that the
        run has not trained), submission, cv_patches and cv_folds (how many out-of-fold predictions
        there are, and of which folds), grouping (what the folds do not share), estimate (why
        scores on other slides may be lower, or ""), cv_auc, public_score, private_score,
        public_rank, private_rank, num_teams, changed (when it was finished, or last changed) and
        size (bytes). {} for a push.json that is damaged, which `list_records` names.
    """
    try:
        push = read_record(run, PushRecord)
    except ValueError:
        return {}
    result = read_finished(run)
    record = make_record(ResultRecord, result, run / "run.json") if result else None
    push = push or PushRecord("home", result.get("recipe", ""), result.get("build_id", ""))
    status = read_status(run)
    submission = read_submission(run)
    number = str(submission.submission) if submission else ""
    folds = count_folds(run / "oof.csv")
    row = rows.get((push.service, number), BoardRow())
    changed = datetime.datetime.fromtimestamp(find_time(run), datetime.UTC)
    return {
        "run": run.relative_to(runs).as_posix(),
        "kind": find_kind(run, push, result),
        **{name: getattr(push, name) or None for name in PUSH_KEYS},
        "url": push.url or None,
        "state": end_demo(status.state, run, runs) if push.kernel else find_state(run, record),
        "seen": status.seen or None,
        "failure": status.failure or None,
        "networks": count_networks(run),
        "missing": list(record.not_trained) if record else [],
        "submission": submission and submission.submission,
        "cv_patches": sum(folds.values()),
        "cv_folds": sorted(folds),
        "grouping": result.get("grouping"),
        "estimate": read_estimate(result),
        "cv_auc": result.get("oof_auc"),
        **{name: read_number(getattr(row, name), float) for name in SCORE_KEYS},
        **{name: read_number(getattr(row, name), int) for name in RANK_KEYS},
        "changed": changed.isoformat(timespec="seconds"),
        "size": sum(each.st_size for each in list_stats(run)),
    }


def find_kind(run: Path, push: PushRecord, result: dict) -> str:
    """What a run is, in a word."""
    if (run / "exploration.json").exists() or push.recipe == "explore":
        return "exploration"
    if "study" in result or (run / "study.log").exists():
        return "study"
    return "blend" if result.get("method") and not push.kernel else "run"


def end_demo(state: str, run: Path, runs: Path) -> str:
    """The state of a pushed run; the kernel of a demo, in a folder of runs/, ended with it."""
    if state not in ALIVE or run.parent == runs:
        return state
    is_running = is_held(runs / ".locks" / f"{run.parent.name}.lock")
    return state if is_running else "CANCEL_ACKNOWLEDGED"


def find_state(run: Path, record: ResultRecord | None) -> str:
    """The state of a run made here."""
    if is_held(run / ".lock") or is_held(run / DRAFT / ".lock"):
        return "RUNNING"
    is_finished = record and record.complete and not record.not_trained
    return "COMPLETE" if is_finished else "PARTIAL"


def read_finished(run: Path) -> dict:
    """A run's run.json; {} where there is none, or where it is damaged, which is said."""
    try:
        return read_result(run) if (run / "run.json").exists() else {}
    except ValueError as error:
        say_aside(f"left out: {error}")
        return {}


def read_estimate(result: dict) -> str:
    """Why scores on other slides may be lower, or ""; an older run.json does not say it."""
    if "estimate" in result or result.get("grouping") != "patch":
        return result.get("estimate", "")
    from .predictions import find_estimate  # pandas: a second to import

    return find_estimate(result)


def count_folds(path: Path) -> dict[str, int]:
    """The number of out-of-fold predictions by fold; {} where there are none."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", errors="replace") as file:
        next(file, None)
        return collections.Counter("".join(line.split(",")[2:3]) for line in file)


def read_number(text: str, kind: type) -> float | int | None:
    """A cell of the board as a number, or None where it holds none."""
    with contextlib.suppress(ValueError):
        return kind(text)
    return None


def list_table(shown: list[dict], width: int) -> Iterator[str]:
    """The table's lines; a name that is too long for its column has a line of its own."""
    rows = [HEADER, *(list_cells(run) for run in shown)]
    names, *columns = zip(*rows)
    widths = [max(map(len, column)) for column in columns]
    room = min(max(map(len, names)), width - sum(widths) - 2 * len(widths))
    for name, *cells in rows:
        if len(name) > room:
            yield name
            name = ""
        # Texts are aligned to the left, numbers to the right.
        state, *numbers = (cell.rjust(size) for cell, size in zip(cells, widths))
        yield "  ".join([name.ljust(room), state.strip().ljust(widths[0]), *numbers]).rstrip()


def list_paragraphs(shown: list[dict], width: int) -> Iterator[str]:
    """The same for a narrow terminal."""
    for run in shown:
        name, state, cv, public, private, age, size = list_cells(run)
        yield name
        scores = {"cv": cv, "public": public, "private": private}
        parts = [state, f"{age} ago", size, *(f"{n} {text}" for n, text in scores.items() if text)]
        text = ", ".join(part.replace(" ", "\xa0") for part in parts)  # where no line breaks
        indent = {"initial_indent": "  ", "subsequent_indent": "  "}
        yield textwrap.fill(text, width, **indent).replace("\xa0", " ")


def list_cells(run: dict) -> tuple:
    """A run's cells in the table, in the order of HEADER."""
    scores = (run[name] for name in ("cv_auc", *SCORE_KEYS))
    changed = datetime.datetime.fromisoformat(run["changed"])
    age = (datetime.datetime.now(datetime.UTC) - changed).total_seconds()
    cells = ("" if score is None else f"{score:.4f}" for score in scores)
    return run["run"], describe_state(run), *cells, describe_age(age), describe_size(run["size"])


def describe_state(run: dict) -> str:
    """A run's state in a word or two."""
    if run["state"] != "PARTIAL":
        return WORDS.get(run["state"], run["state"].lower())
    if run["kind"] == "study":
        return "partial"
    num_all = run["networks"] + len(run["missing"])
    return f"partial {run['networks']}/{num_all}" if run["missing"] else f"partial {num_all}"


def describe_age(seconds: float) -> str:
    """A time that has passed, in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "0 min"


def describe_size(num_bytes: int) -> str:
    """A size on disk."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} KB"


def list_notes(shown: list[dict]) -> Iterator[str]:
    """What readers of the scores should know."""
    if len({(run["cv_patches"], *run["cv_folds"]) for run in shown if run["cv_patches"]}) > 1:
        yield "cv is of each run's own patches; to compare runs: python build.py report RUN RUN"
    for text in dict.fromkeys(run["estimate"] for run in shown if run["estimate"]):
        names = ", ".join(run["run"] for run in shown if run["estimate"] == text)
        yield f"cv of {names}: {text}"


def say_aside(text: str) -> None:
    """Print a line that is no part of a command's JSON."""
    print(text, file=sys.stderr, flush=True)


def print_json(content: dict) -> None:
    """Print what a command has found as one JSON object."""
    print(json.dumps(content, indent=2))
