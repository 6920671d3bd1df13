"""The commands that talk to Kaggle, or to the sandbox, step by step."""

import argparse
import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .board import BoardRow, read_board
from .records import PushRecord, StatusRecord, SubmissionRecord, read_record
from .remote.client import Client
from .remote.errors import KaggleError
from .remote.leaderboard import show_leaderboard
from .remote.output import download_output
from .remote.push import push_kernel
from .remote.scores import fetch_scores
from .remote.submit import submit_predictions
from .remote.transcript import recording
from .remote.versions import ALIVE
from .remote.watch import RunFailed, update_status, wait_for_kernel
from .remote.weights import publish_weights
from .runs import find_folder, find_run, list_runs

HEADER = ("pushed", "run", "version", "state", "cv", "public", "private", "rank")


def push(args: argparse.Namespace, runs: Path) -> None:
    """Push, and wait if asked."""
    with recording(args.record):
        client = Client()
        run = do_push(client, args, runs)
        if args.wait:
            wait_for_kernel(client, run, True, 60 * args.queue_timeout)


def status(args: argparse.Namespace, runs: Path) -> None:
    """A run's state."""
    run = find_run(args.name, runs)
    wait_for_kernel(Client(), run, args.wait, 60 * args.queue_timeout)


def output(args: argparse.Namespace, runs: Path) -> None:
    """A run's output."""
    run = find_run(args.name, runs)
    do_output(Client(), run, runs, args.only)


def submit(args: argparse.Namespace, runs: Path) -> None:
    """A run's submission and its scores."""
    run = find_run(args.name, runs)
    with recording(args.record):
        do_submit(Client(), run, args.message, runs)


def leaderboard(args: argparse.Namespace, runs: Path) -> None:
    """A run's place among the teams."""
    run, client = find_run(args.name, runs), Client()
    do_leaderboard(client, run, fetch_scores(client, run), runs)


def run(args: argparse.Namespace, runs: Path) -> None:
    """The whole loop."""
    with recording(args.record):
        run_loop(Client(), args, runs)


def demo(args: argparse.Namespace, runs: Path) -> None:
    """The whole loop on the shipped patches, against a sandbox of its own."""
    from .locks import locked
    from .sandbox.demo import open_demo  # scikit-learn: a second to import

    started = time.perf_counter()
    folder = runs / "demo"
    stop_on_terminate()
    with locked(folder, "demo"), open_demo(folder) as sandbox, sandbox.entered():
        print(f"the sandbox runs on {sandbox.url}: no account, no GPU")
        seconds = run_loop(Client(), args, folder)
    print(f"report it    python build.py report {find_run(None, folder)}")
    for name, duration in seconds.items():
        print(f"{name:<12} {duration:>7.1f} s")
    print(f"{'whole demo':<12} {time.perf_counter() - started:>7.1f} s")


def run_loop(client: Client, args: argparse.Namespace, runs: Path) -> dict[str, float]:
    """Push, wait, output, submit, leaderboard; the seconds that each took.

    Each step finds what an earlier, interrupted call has done. What a failed kernel has
    left is downloaded and submitted too, if it is a valid submission.

    Raises:
        RunFailed: the kernel failed, whether or not it left a submission.
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
            scores = do_submit(client, run, args.message, runs)
        with step("leaderboard"):
            do_leaderboard(client, run, scores, runs)
    except (ValueError, OSError) as error:
        if failure is None:
            raise
        print(f"what it left could not be submitted: {error}", flush=True)
    if failure:
        raise failure
    return seconds


def do_push(client: Client, args: argparse.Namespace, runs: Path) -> Path:
    """Push and print the result; the run."""
    run = push_kernel(client, args.recipe, args.overrides, args.resume, args.timeout, runs)
    record = read_record(run, PushRecord)
    print(f"pushed  {record.kernel} v{record.version}")
    print(f"build   {record.build_id}")
    print(f"page    {record.url}")
    print(f"run     {run}", flush=True)
    return run


def do_output(client: Client, run: Path, runs: Path, only: Sequence[str] = ()) -> None:
    """Download and print the result."""
    num_files = download_output(client, run, runs, only)
    came = f"{num_files} files in" if num_files else "already in"
    print(f"output  {came} {run}", flush=True)


def do_submit(client: Client, run: Path, message: str | None, runs: Path) -> SubmissionRecord:
    """Submit, wait for the scores and print them; the submission."""
    submit_predictions(client, run, message, runs)
    record = fetch_scores(client, run)
    print(f"submitted as submission {record.submission}: {record.message}")
    private = record.private_score or "not shown before the deadline"
    print(f"score   public {record.public_score}, private {private}", flush=True)
    return record


def do_leaderboard(client: Client, run: Path, scores: SubmissionRecord, runs: Path) -> None:
    """Print the place and draw it."""
    print(f"picture {show_leaderboard(client, run, scores, runs)}", flush=True)


def show_runs(args: argparse.Namespace, runs: Path) -> None:
    """What was pushed, with states and scores; asks only about runs that are alive."""
    rows = {(row.service, row.build_id): row for row in read_board(runs)}
    client, unreached = None, None
    table = [HEADER]
    for run in list_runs(runs):
        record = read_record(run, PushRecord)
        state = (read_record(run, StatusRecord) or StatusRecord()).state
        if state in ALIVE and not unreached:
            try:
                client = client or Client()
                if client.service == record.service:
                    state = update_status(client, record, run)
            except KaggleError as error:
                unreached = error
        if unreached and state in ALIVE:
            state += " (last seen)"
        row = rows.get((record.service, record.build_id), BoardRow())
        table.append(list_cells(run, record, state, row))
    if len(table) == 1:
        print("nothing was pushed yet. Try: python build.py push RECIPE")
        return
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths))
        print(line.rstrip())
    if unreached:
        print(f"states as they were last seen: {unreached}")


def list_cells(run: Path, record: PushRecord, state: str, row: BoardRow) -> tuple:
    """A run's line in the table of `show_runs`, in the order of HEADER."""
    return (
        record.pushed[:16].replace("T", " "),
        run.name,
        f"v{record.version}" if record.version else "-",
        state,
        row.cv_auc,
        row.public_score,
        row.private_score,
        row.private_rank or row.public_rank,
    )


def blend(args: argparse.Namespace, runs: Path) -> None:
    """Combine several runs into one submission."""
    from .blend import blend_runs

    folders = [find_folder(name, runs) for name in args.names]
    print(f"blend   {blend_runs(folders, args.method, runs)}")
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
