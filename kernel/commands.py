"""The commands that talk to Kaggle, or to the sandbox, step by step."""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .board import BoardRow, read_board
from .folders import DATA
from .records import (
    PushRecord,
    SubmissionRecord,
    read_record,
    read_result,
    read_status,
    read_submission,
)
from .remote.client import Client
from .remote.errors import KaggleError
from .remote.leaderboard import show_leaderboard
from .remote.once import Undecided
from .remote.output import download_output
from .remote.push import push_kernel
from .remote.scores import fetch_scores
from .remote.submit import submit_predictions
from .remote.transcript import recording
from .remote.versions import ALIVE
from .remote.watch import RunFailed, update_status, wait_for_kernel
from .remote.weights import publish_weights
from .runs import find_folder, find_run, is_own, list_home, list_records

RUN_KEYS = ("service", "recipe", "build_id", "kernel", "version", "pushed")
SCORE_KEYS = ("public_score", "private_score")
RANK_KEYS = ("public_rank", "private_rank", "num_teams")
HEADER = ("pushed", "run", "account", "version", "state", "cv", "cv of")
HEADER += ("public", "private", "rank")


def push(args: argparse.Namespace, runs: Path) -> None:
    """Push, and wait if asked."""
    with recording(args.record):
        client = Client()
        run = do_push(client, args, runs)
        if args.wait:
            wait_for_kernel(client, run, True, 60 * args.queue_timeout)


def status(args: argparse.Namespace, runs: Path) -> None:
    """A run's state."""
    client, failure = Client(), None
    run = find_run(args.name, runs, client)
    say = say_aside if args.json else print
    try:
        wait_for_kernel(client, run, args.wait, 60 * args.queue_timeout, say)
    except RunFailed as error:
        failure = error
    if args.json:
        print_json(describe_run(run, find_rows(runs)))
    if failure:
        raise failure


def output(args: argparse.Namespace, runs: Path) -> None:
    """A run's output."""
    client = Client()
    do_output(client, find_run(args.name, runs, client), runs, args.only)


def submit(args: argparse.Namespace, runs: Path) -> None:
    """A run's submission and its scores."""
    with recording(args.record):
        client = Client()
        do_submit(client, find_run(args.name, runs, client), args, runs)


def leaderboard(args: argparse.Namespace, runs: Path) -> None:
    """A run's place among the teams."""
    client = Client()
    run = find_run(args.name, runs, client)
    do_leaderboard(client, run, fetch_scores(client, run), runs)


def run(args: argparse.Namespace, runs: Path) -> None:
    """The whole loop."""
    with recording(args.record):
        run_loop(Client(), args, runs)


def demo(args: argparse.Namespace, runs: Path) -> None:
    """The whole loop on the shipped patches, against a sandbox of its own.

    A demo of the same build is resumed: what it has finished is taken, and nothing is trained or
    submitted again.
    """
    started = time.perf_counter()
    print("demo    starts a local stand-in for the service: no account, no GPU", flush=True)
    from .locks import locked
    from .sandbox.demo import is_same_demo, open_demo, was_interrupted  # scikit-learn: a second

    folder = runs / "demo"
    stop_on_terminate()
    with locked(runs, "demo"):
        if is_same_demo(folder, args.recipe, args.overrides):
            print(f"demo    of the same build as in {folder}: takes what that has finished")
        else:
            set_aside(folder)
        with open_demo(folder) as sandbox, sandbox.entered():
            args.resume = was_interrupted(sandbox)
            seconds = run_loop(Client(), args, folder)
    print(f"hand it in   python build.py handin {find_run(None, folder)}")
    for name, duration in seconds.items():
        print(f"{name:<12} {duration:>7.1f} s")
    print(f"{'whole demo':<12} {time.perf_counter() - started:>7.1f} s")


def set_aside(folder: Path) -> None:
    """Keep the results of a demo of another build as demo-1, demo-2, ...; remove other files."""
    if any(folder.glob("*/run.json")):
        numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1))
        earlier = next(path for path in numbered if not path.exists())
        for name in ("data", "sandbox"):
            shutil.rmtree(folder / name, ignore_errors=True)
        folder.rename(earlier)
        print(f"the results of the earlier demo are in {earlier}")
    shutil.rmtree(folder, ignore_errors=True)


def run_loop(client: Client, args: argparse.Namespace, runs: Path) -> dict[str, float]:
    """Push, wait, output, submit, leaderboard; the seconds that each took.

    Each step finds what an earlier, interrupted call has done. What a failed kernel has
    left is downloaded and submitted too, if it is a valid submission.

    Raises:
        RunFailed: the kernel failed, whether or not it left a submission.
        Undecided: a push or a submission may have been sent, and does not show.
    """
    seconds, failure = {}, None

    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        print(f"-- {name}", flush=True)
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    with step("push"):
        run = do_push(client, args, runs)
    with step("status"):
        try:
            wait_for_kernel(client, run, True, 60 * args.queue_timeout)
        except RunFailed as error:
            failure = error
            print(f"{error}\nTHE RUN FAILED: downloading and submitting what it left")
    try:
        with step("output"):
            do_output(client, run, runs)
        with step("submit"):
            scores = do_submit(client, run, args, runs)
        with step("leaderboard"):
            do_leaderboard(client, run, scores, runs)
    except (ValueError, OSError) as error:
        if failure is None or isinstance(error, Undecided):
            raise
        print(f"after that failure: {error}", flush=True)
    if failure:
        raise failure
    return seconds


def do_push(client: Client, args: argparse.Namespace, runs: Path) -> Path:
    """Push and print the result; the run."""
    run = push_kernel(
        client,
        args.recipe,
        args.overrides,
        args.resume,
        args.timeout,
        runs,
        send_anyway=args.send_anyway,
        slides=args.slide_dataset,
        notebook=args.notebook,
        sources=args.sources,
    )
    record = read_record(run, PushRecord)
    print(f"pushed  {record.kernel} v{record.version}")
    print(f"build   {record.build_id}")
    if client.service == "Kaggle":  # the sandbox has no pages
        print(f"page    {record.url}")
    print(f"run     {run}", flush=True)
    return run


def do_output(client: Client, run: Path, runs: Path, only: Sequence[str] = ()) -> None:
    """Download and print the result."""
    num_files = download_output(client, run, runs, only)
    came = f"{num_files} files in" if num_files else "already in"
    print(f"output  {came} {run}", flush=True)
    if num_files:
        from .card.write import write_own_card  # pandas: a second to import

        write_own_card(run, runs)


def do_submit(client: Client, run: Path, args: argparse.Namespace, runs: Path) -> SubmissionRecord:
    """Submit, wait for the scores and print them; the submission."""
    submit_predictions(client, run, args.message, runs, send_anyway=args.send_anyway)
    record = fetch_scores(client, run)
    print(f"submitted as submission {record.submission}: {record.message}")
    private = record.private_score or "not shown before the deadline"
    print(f"score   public {record.public_score}, private {private}", flush=True)
    return record


def do_leaderboard(client: Client, run: Path, scores: SubmissionRecord, runs: Path) -> None:
    """Print the place and draw it."""
    print(f"picture {show_leaderboard(client, run, scores, runs)}", flush=True)


def show_runs(args: argparse.Namespace, runs: Path) -> None:
    """What was pushed, with states and scores; asks only about own runs that are alive."""
    pairs, client, unreached = list_records(runs), None, None
    for run, record in pairs:
        if read_status(run).state not in ALIVE or not record.kernel:
            continue
        try:
            client = client or Client()
            if is_own(record, client):
                update_status(client, record, run)
        except KaggleError as error:
            unreached = error
            if error.status not in (403, 404):  # of this run only
                break
    rows = find_rows(runs)
    shown = [describe_run(run, rows) for run, _ in pairs]
    home = [run.relative_to(runs).as_posix() for run in list_home(runs)]
    if args.json:
        print_json({"runs": shown, "home": home, "unreached": unreached and str(unreached)})
        return
    if home:
        print(f"made at home, in {runs}: {', '.join(home)}")
    if not shown:
        print("nothing was pushed yet. Try: python build.py push RECIPE")
        return
    table = [HEADER, *(list_cells(run, unreached is not None) for run in shown)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths))
        print(line.rstrip())
    if len({(run["cv_patches"], *run["cv_folds"]) for run in shown if run["cv_patches"]}) > 1:
        print("cv is of each run's own patches; to compare runs: python build.py report RUN RUN")
    for text in dict.fromkeys(run["estimate"] for run in shown if run["estimate"]):
        names = ", ".join(run["run"] for run in shown if run["estimate"] == text)
        print(f"cv of {names}: {text}")
    if unreached:
        print(f"states as they were last seen: {unreached}")


def find_rows(runs: Path) -> dict[tuple, BoardRow]:
    """The rows of the board by service and submission."""
    return {(row.service, row.submission): row for row in read_board(runs)}


def describe_run(run: Path, rows: dict[tuple, BoardRow]) -> dict:
    """A run as `runs --json` and `status --json` print it; None where something is unknown.

    Returns:
        dict with run, service, recipe, build_id, kernel, version, url, pushed, state, seen (when
        the state was asked for), failure, submission, cv_patches and cv_folds (how many
        out-of-fold predictions there are, and of which folds), grouping (what the folds do not
        share), estimate (why scores on other slides may be lower, or ""), cv_auc, public_score,
        private_score, public_rank, private_rank and num_teams.
    """
    from .predictions import find_estimate  # pandas: a second to import

    result = read_finished(run)
    record = read_record(run, PushRecord)
    status = read_status(run)
    submission = read_submission(run)
    number = str(submission.submission) if submission else ""
    folds = count_folds(run / "oof.csv")
    row = rows.get((record.service, number), BoardRow())
    return {
        "run": run.name,
        **{name: getattr(record, name) for name in RUN_KEYS},
        "url": record.url or None,
        "state": status.state,
        "seen": status.seen or None,
        "failure": status.failure or None,
        "submission": submission and submission.submission,
        "cv_patches": sum(folds.values()),
        "cv_folds": sorted(folds),
        "grouping": result.get("grouping"),
        "estimate": find_estimate(result),
        "cv_auc": result.get("oof_auc"),
        **{name: read_number(getattr(row, name), float) for name in SCORE_KEYS},
        **{name: read_number(getattr(row, name), int) for name in RANK_KEYS},
    }


def read_finished(run: Path) -> dict:
    """A run's run.json; {} where there is none, or where it is damaged, which is said."""
    try:
        return read_result(run)
    except ValueError as error:
        say_aside(f"left out: {error}")
        return {}


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


def list_cells(run: dict, is_old: bool) -> tuple:
    """A run's line in the table of `show_runs`, in the order of HEADER."""
    scores = ("cv_auc", *SCORE_KEYS)
    cv, public, private = ("" if run[name] is None else f"{run[name]:.4f}" for name in scores)
    folds = f"{run['cv_patches']:,} (fold {','.join(run['cv_folds'])})"
    return (
        run["pushed"][:16].replace("T", " "),
        run["run"],
        describe_account(run),
        f"v{run['version']}" if run["version"] else "-",
        f"{run['state']} (last seen)" if is_old and run["state"] in ALIVE else run["state"],
        cv,
        folds if run["cv_patches"] else "",
        public,
        private,
        str(run["private_rank"] or run["public_rank"] or ""),
    )


def describe_account(run: dict) -> str:
    """Whose a run is, with the service if it is not Kaggle; "" for a blend on Kaggle."""
    owner = (run["kernel"] or "").split("/")[0]
    return owner if run["service"] == "Kaggle" else f"{owner} ({run['service']})".strip()


def say_aside(text: str) -> None:
    """Print a line that is no part of a command's JSON."""
    print(text, file=sys.stderr, flush=True)


def print_json(content: dict) -> None:
    """Print what a command has found as one JSON object."""
    print(json.dumps(content, indent=2))


def doctor(args: argparse.Namespace, runs: Path) -> None:
    """What a run on Kaggle needs.

    Raises:
        ValueError: a check failed.
    """
    from .remote.doctor import run_checks

    client, checks = run_checks(args.recipe, args.overrides, runs)
    failed = [check.name for check in checks if check.state == "fail"]
    if args.json:
        content = {
            "ok": not failed,
            "recipe": args.recipe,
            "service": client and client.service,
            "username": client and client.username,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        print_json(content)
    else:
        for check in checks:
            remedy = f". Try: {check.remedy}" if check.remedy else ""
            print(f"{check.state:<5} {check.name:<12} {check.found}{remedy}")
    if failed:
        raise ValueError(f"doctor: failed: {', '.join(failed)}")


def download(args: argparse.Namespace, runs: Path) -> None:
    """The competition's data."""
    from .live import LiveLine
    from .remote.download import download_data

    with LiveLine() as live:
        data = download_data(args.out or runs / DATA, live.take)
    print(f"data    {data}")


def blend(args: argparse.Namespace, runs: Path) -> None:
    """Combine several runs into one submission."""
    from .blend import blend_runs

    folders = [find_folder(name, runs) for name in args.names]
    print(f"blend   {blend_runs(folders, args.method, runs, anyway=args.anyway)}")
    print("python build.py submit submits it")


def weights(args: argparse.Namespace, runs: Path) -> None:
    """Pretrained weights as a private dataset."""
    dataset = publish_weights(Client(), args.architecture, args.file, runs)
    print(f"dataset {dataset}: pushes that need it list it, and need no internet")


def sandbox(args: argparse.Namespace, runs: Path) -> None:
    """Serve a board until Ctrl-C."""
    from .sandbox.judge import read_teams
    from .sandbox.server import Sandbox

    stop_on_terminate()
    teams = read_teams(args.teams) if args.teams else ()
    with Sandbox(
        args.data, args.solution, args.folder or runs / "sandbox", teams, args.deadline, args.port
    ) as server:
        for line in server.list_instructions():
            print(line, flush=True)
        try:
            while not server.closing.wait(1):
                pass
        except KeyboardInterrupt:
            print("stopped; the same command resumes this board")


def stop_on_terminate() -> None:
    """Handle SIGTERM like Ctrl-C: the sandbox then stops its kernels."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
