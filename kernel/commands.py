"""The commands that speak to Kaggle, or to the sandbox, step after step."""

import contextlib
import signal
import time

from .client import Client, KaggleError
from .leaderboard import show_leaderboard
from .output import download_output
from .push import ALIVE, push_kernel
from .runs import find_folder, find_run, list_runs, locked, read_board, read_record
from .submit import fetch_scores, submit_predictions
from .watch import look, wait_for_kernel
from .weights import publish_weights


def push(args, runs):
    """Push, and wait if asked."""
    client = Client()
    run = do_push(client, args, runs)
    if args.wait:
        wait_for_kernel(client, run, True, 60 * args.queue_timeout)


def status(args, runs):
    """A run's state."""
    run = find_run(args.name, runs)
    wait_for_kernel(Client(), run, args.wait, 60 * args.queue_timeout)


def output(args, runs):
    """A run's output."""
    run = find_run(args.name, runs)
    do_output(Client(), run, runs)


def submit(args, runs):
    """A run's submission and its scores."""
    run = find_run(args.name, runs)
    do_submit(Client(), run, args.message, runs)


def leaderboard(args, runs):
    """A run's place among the teams."""
    run, client = find_run(args.name, runs), Client()
    do_leaderboard(client, run, fetch_scores(client, run), runs)


def run(args, runs):
    """The whole loop."""
    run_loop(Client(), args, runs)


def demo(args, runs):
    """The whole loop on the shipped patches, against a sandbox of its own."""
    from .demo import open_demo  # scikit-learn: a second, which the others need not

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


def run_loop(client, args, runs):
    """Push, wait, output, submit, leaderboard; the seconds that each took, as a dict.

    Each step finds what an earlier, interrupted call has done.
    """
    seconds = {}

    @contextlib.contextmanager
    def step(name):
        print(f"-- {name}", flush=True)
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    with step("push"):
        run = do_push(client, args, runs)
    with step("status"):
        wait_for_kernel(client, run, True, 60 * args.queue_timeout)
    with step("output"):
        do_output(client, run, runs)
    with step("submit"):
        scores = do_submit(client, run, args.message, runs)
    with step("leaderboard"):
        do_leaderboard(client, run, scores, runs)
    return seconds


def do_push(client, args, runs):
    """Push and say what became of it; the run."""
    run = push_kernel(
        client, args.recipe, args.overrides, args.resume, args.timeout, runs
    )
    record = read_record(run, "push.json")
    print(f"pushed  {record['kernel']} v{record['version']}")
    print(f"build   {record['build_id']}")
    print(f"page    {record['url']}")
    print(f"run     {run}", flush=True)
    return run


def do_output(client, run, runs):
    """Download and say what came."""
    num_files = download_output(client, run, runs)
    came = f"{num_files} files in" if num_files else "was here already:"
    print(f"output  {came} {run}", flush=True)


def do_submit(client, run, message, runs):
    """Submit, wait for the scores and say them; they are returned."""
    submit_predictions(client, run, message, runs)
    scores = fetch_scores(client, run)
    print(f"sent    submission {scores['submission']}: {scores['message']}")
    private = scores["private_score"] or "not shown before the deadline"
    print(f"score   public {scores['public_score']}, private {private}", flush=True)
    return scores


def do_leaderboard(client, run, scores, runs):
    """Say the place and draw it."""
    print(f"picture {show_leaderboard(client, run, scores, runs)}", flush=True)


def runs(args, runs):
    """What was pushed, with states and scores; asks only for runs that are not over."""
    rows = {(row["service"], row["build_id"]): row for row in read_board(runs)}
    client, unreached = None, None
    header = ("pushed", "run", "version", "state", "cv", "public", "private", "rank")
    table = [header]
    for run in list_runs(runs):
        record = read_record(run, "push.json")
        state = read_record(run, "status.json").get("state", "QUEUED")
        if state in ALIVE and not unreached:
            try:
                client = client or Client()
                if client.service == record["service"]:
                    state = look(client, record, run)
            except KaggleError as error:
                unreached = error
        row = rows.get((record["service"], record["build_id"]), {})
        rank = row.get("private_rank") or row.get("public_rank") or ""
        table.append(
            (
                record["pushed"][:16].replace("T", " "),
                run.name,
                f"v{record['version']}" if record["version"] else "-",
                state + (" (last seen)" if unreached and state in ALIVE else ""),
                row.get("cv_auc", ""),
                row.get("public_score", ""),
                row.get("private_score", ""),
                rank,
            )
        )
    if len(table) == 1:
        print("nothing was pushed yet: python build.py push RECIPE")
        return
    widths = [max(map(len, column)) for column in zip(*table)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths))
        print(line.rstrip())
    if unreached:
        print(f"states as they were last seen: {unreached}")


def blend(args, runs):
    """Several runs as one submission."""
    from .blend import blend_runs

    folders = [find_folder(name, runs) for name in args.names]
    print(f"blend   {blend_runs(folders, args.method, runs)}")
    print("python build.py submit sends it")


def weights(args, runs):
    """Pretrained weights as a private dataset."""
    dataset = publish_weights(Client(), args.architecture, args.file, runs)
    print(f"dataset {dataset}: pushes that need it list it, and need no internet")


def sandbox(args, runs):
    """Serve a board until Ctrl-C."""
    from .judge import read_teams
    from .sandbox import Sandbox

    stop_on_terminate()
    teams = read_teams(args.teams) if args.teams else ()
    with Sandbox(
        args.data,
        args.solution,
        args.folder or runs / "sandbox",
        teams,
        args.deadline,
        args.port,
    ) as served:
        for line in served.describe():
            print(line, flush=True)
        try:
            while not served.closing.wait(1):
                pass
        except KeyboardInterrupt:
            print("stopped; the same command goes on with this board")


def stop_on_terminate():
    """Let a termination end us as Ctrl-C does: the sandbox then stops its kernels."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
