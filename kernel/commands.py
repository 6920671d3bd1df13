"""The commands that talk to Kaggle, or to the sandbox, step by step."""

import argparse
import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .folders import DATA
from .listing import describe_run, find_rows, print_json, say_aside
from .records import PushRecord, SubmissionRecord, read_record
from .remote.client import Client
from .remote.leaderboard import show_leaderboard
from .remote.once import Undecided
from .remote.output import download_output
from .remote.push import push_kernel
from .remote.scores import fetch_scores
from .remote.submit import submit_predictions
from .remote.transcript import recording
from .remote.watch import RunFailed, wait_for_kernel
from .remote.weights import check_architecture, publish_weights
from .runs import choose_run, find_folder, find_run, list_records
from .terminal import join_words


def push(args: argparse.Namespace, runs: Path) -> None:
    """Push, and wait if asked."""
    with recording(args.record):
        client = Client()
        run = do_push(client, args, runs)
        if args.wait:
            wait_for_kernel(client, run, True, 60 * (args.queue_timeout or 60))


def find_pushed(args: argparse.Namespace, runs: Path) -> tuple[Client, Path]:
    """The service and the run that a command names; an unknown name needs no credentials."""
    pairs = list_records(runs)
    choose_run(args.name, pairs, runs)
    client = Client()
    return client, choose_run(args.name, pairs, runs, client)


def status(args: argparse.Namespace, runs: Path) -> None:
    """A run's state."""
    client, run = find_pushed(args, runs)
    failure, say = None, say_aside if args.json else print
    try:
        wait_for_kernel(client, run, args.wait, 60 * (args.queue_timeout or 60), say)
    except RunFailed as error:
        failure = error
    if args.json:
        print_json(describe_run(run, find_rows(run.parent), runs))
    if failure:
        raise failure


def output(args: argparse.Namespace, runs: Path) -> None:
    """A run's output."""
    do_output(*find_pushed(args, runs), runs, args.only)


def submit(args: argparse.Namespace, runs: Path) -> None:
    """A run's submission and its scores."""
    with recording(args.record):
        do_submit(*find_pushed(args, runs), args, runs)


def leaderboard(args: argparse.Namespace, runs: Path) -> None:
    """A run's place among the teams."""
    client, run = find_pushed(args, runs)
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
    from .sandbox import demo as shipped  # scikit-learn: a second

    stop_on_terminate()
    with locked(runs, "demo"):
        folder = runs / "demo"
        found = [folder, *sorted(runs.glob("demo-[0-9]*"))]  # with those that were set aside
        same = [path for path in found if shipped.is_same_demo(path, args.recipe, args.overrides)]
        if folder not in same and (earlier := shipped.set_aside(folder)):
            print(f"what the earlier demo finished is in {earlier}")
        if same:
            print("demo    of the same build as an earlier one: reuses what that has finished")
            same[0].rename(folder)
        with shipped.open_demo(folder) as sandbox, sandbox.entered():
            args.resume = shipped.was_interrupted(sandbox)
            seconds = run_loop(Client(), args, folder)
    name = find_run(None, folder).relative_to(runs).as_posix()
    print(f"hand it in   {join_words(['python', 'build.py', 'handin', name])}")
    for name, duration in seconds.items():
        print(f"{name:<12} {duration:>7.1f} s")
    print(f"{'whole demo':<12} {time.perf_counter() - started:>7.1f} s")


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
            wait_for_kernel(client, run, True, 60 * (args.queue_timeout or 60))
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
    check_architecture(args.architecture)
    dataset = publish_weights(Client(), args.architecture, args.file, runs)
    print(f"dataset {dataset}: pushes that need it list it, and need no internet")


def stop_on_terminate() -> None:
    """Handle SIGTERM like Ctrl-C: the sandbox then stops its kernels."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
