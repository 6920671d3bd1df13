"""Measure the loop around a kernel: what push, output, submit, leaderboard cost.

    python tests/bench/loop.py

Runs against the sandbox, on the shipped patches and the competition's 1,149 final
scores; the kernel itself is stubbed, so that only the loop counts. Prints two Markdown
tables: seconds of each step in one process (`run`) and as a command of its own, and
time and memory of a 200-page output listing and of the leaderboard.
"""

import contextlib
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
STUB = (sys.executable, str(ROOT / "tests" / "stub.py"), "ok")
NUM_FILES = 200 * 200  # 200 pages of 200
CODE = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import build
build.RUNS = pathlib.Path(sys.argv[2])
sys.exit(build.main(sys.argv[3:]))
"""


def main():
    from kernel.sandbox.demo import DEADLINE, SHIPPED, lay_out_demo
    from kernel.sandbox.judge import read_teams
    from kernel.sandbox.server import Sandbox

    teams = read_teams(SHIPPED / "final_boards.csv")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch)
        solution = lay_out_demo(scratch / "data")
        with (
            Sandbox(
                scratch / "data" / "input",
                solution,
                scratch / "sandbox",
                teams,
                DEADLINE,
                python=STUB,
            ) as sandbox,
            sandbox.entered(),
        ):
            print(
                f"{os.cpu_count()} cores, {platform.machine()}, "
                f"Python {platform.python_version()}\n"
            )
            measure_steps(scratch)
            measure_sizes(sandbox, scratch)


def measure_steps(scratch):
    """Seconds of each step but the wait for the kernel, in one process and alone."""
    import build
    from kernel import commands
    from kernel.remote.client import Client
    from kernel.remote.watch import wait_for_kernel
    from kernel.runs import find_run

    args = build.parse(["run", "demo", "epochs=2"])
    runs = scratch / "runs"
    with contextlib.redirect_stdout(io.StringIO()):
        together = commands.run_loop(Client(), args, runs)
    alone = {}
    for words in (["push", "demo"], ["output"], ["submit"], ["leaderboard"]):
        alone[words[0]] = run_command(words, scratch / "alone")
        if words[0] == "push":
            run = find_run(None, scratch / "alone")
            wait_for_kernel(Client(), run, say=lambda line: None)
    seconds = min(run_command(["doctor", "demo"], scratch / "alone") for _ in range(3))
    print(f"`doctor` takes {seconds:.2f} s\n")
    print("| step | in `run`, s | as a command, s |\n| --- | --- | --- |")
    for name, seconds in alone.items():
        print(f"| {name} | {together[name]:.2f} | {seconds:.2f} |")
    total = sum(together[name] for name in alone)
    print(f"| together | {total:.2f} | {sum(alone.values()):.2f} |\n")


def run_command(words, runs):
    """Wall seconds of a command, as a user starts it."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT), str(runs), *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def measure_sizes(sandbox, scratch):
    """Time and peak memory of long answers."""
    from kernel.remote.client import Client
    from kernel.remote.leaderboard import fetch_board
    from kernel.remote.output import download_output
    from kernel.runs import find_run

    run = find_run(None, scratch / "alone")
    working = sandbox.service.folder / "kernels/sandbox/pcam-demo/v2/working"
    for i in range(NUM_FILES - 2):
        (working / f"part{i:05d}.txt").write_text("x")
    sandbox.service.outputs.clear()
    (run / "run.json").unlink()
    client = Client()
    print("| what | seconds | peak memory of the client |\n| --- | --- | --- |")
    owner = {"user_name": "sandbox", "kernel_slug": "pcam-demo", "version_label": "v2"}

    def list_files():
        pages = ("kernels", "list_kernel_session_output", "files")
        assert len(list(client.call_pages(*pages, **owner))) == NUM_FILES

    for name, work in {
        f"listing {NUM_FILES:,} files on 200 pages": list_files,
        "a board of 1,149 teams": lambda: fetch_board(client, public=True),
    }.items():
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"| {name} | {seconds:.1f} | {peak / 2**20:.1f} MiB |")
    started = time.perf_counter()
    download_output(client, run, scratch / "alone")
    print(f"| downloading the files too | {time.perf_counter() - started:.0f} | |")


if __name__ == "__main__":
    main()
