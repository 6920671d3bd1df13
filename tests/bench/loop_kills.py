"""Kill `build.py run` again and again and count the versions and submissions it leaves.

    python tests/bench/loop_kills.py [--kills 200] [--in-flight 60] [--at-once 4] [--seed 0]

Every trial has a sandbox of its own whose kernel ends at once. One command is killed
(kill -9, Ctrl-C in turn), either at a random moment of the loop or while SaveKernel or
CreateSubmission is in flight, with a commit that takes 0 to 8 seconds and is carried out
although the command is gone. The same command is then repeated until it succeeds; where it
exits with 75 and the sandbox has received nothing, as after a kill between the note and the
request, it is repeated with --send-anyway. Prints a Markdown table and fails unless every trial
ends with one version and one submission.
"""

import argparse
import collections
import concurrent.futures
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
STUB = (sys.executable, str(ROOT / "tests" / "stub.py"), "ok")
COMMIT_SECONDS = 8
CODE = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
import build
from kernel.remote import push
build.RUNS = pathlib.Path(sys.argv[2]) / "runs"
push.DIST = pathlib.Path(sys.argv[2]) / "dist"
sys.exit(build.main(["run", "demo", *sys.argv[3:]]))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=60)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    from kernel.sandbox.demo import lay_out_demo

    chance = random.Random(args.seed)
    writes = [("SaveKernel", "CreateSubmission")[i % 2] for i in range(args.in_flight)]
    trials = writes + [None] * (args.kills - args.in_flight)
    plans = [
        (i, method, (signal.SIGKILL, signal.SIGINT)[i // 2 % 2], chance.random(), chance.random())
        for i, method in enumerate(trials)
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        solution = lay_out_demo(Path(scratch) / "demo")
        data = Path(scratch) / "demo" / "input"
        length = measure_length(data, solution, Path(scratch))
        print(f"{os.cpu_count()} cores; an undisturbed run takes {length:.1f} s", flush=True)
        with concurrent.futures.ThreadPoolExecutor(args.at_once) as pool:
            work = [
                pool.submit(try_once, data, solution, Path(scratch), length, *plan)
                for plan in plans
            ]
            outcomes = [future.result() for future in work]
    return report(outcomes)


def open_sandbox(data, solution, folder):
    from kernel.sandbox.server import Sandbox

    return Sandbox(data, solution, folder / "sandbox", python=STUB)


def start(sandbox, folder, *words):
    """Start the command, with the sandbox's environment."""
    variables = {**os.environ, **sandbox.environment()}
    variables = {name: value for name, value in variables.items() if value is not None}
    with open(folder / "log", "a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(ROOT), str(folder), *words],
            env=variables,
            stdout=log,
            stderr=log,
        )


def measure_length(data, solution, scratch):
    """Seconds of an undisturbed command."""
    folder = scratch / "undisturbed"
    folder.mkdir()
    with open_sandbox(data, solution, folder) as sandbox:
        started = time.monotonic()
        assert start(sandbox, folder).wait() == 0, (folder / "log").read_text()
        return time.monotonic() - started


def try_once(data, solution, scratch, length, number, method, kind, when, commit):
    """One trial: what was in flight, versions, submissions, exit codes of the repetitions."""
    from kernel.sandbox.faults import Fault

    folder = scratch / f"trial{number}"
    folder.mkdir()
    with open_sandbox(data, solution, folder) as sandbox:
        commit *= COMMIT_SECONDS
        if method:
            sandbox.script(method, Fault(wait=commit))
        process = start(sandbox, folder)
        if method:
            while method not in sandbox.calls and process.poll() is None:
                time.sleep(0.005)
            time.sleep(when * commit)
        else:
            time.sleep(when * length)
        was_running = process.poll() is None
        process.send_signal(kind)
        process.wait()
        codes, words = [], []
        while not codes or (codes[-1] and len(codes) < 5):
            codes.append(start(sandbox, folder, *words).wait())
            write = "CreateSubmission" if count(sandbox)[0] else "SaveKernel"
            unsent = codes[-1] == 75 and write not in sandbox.calls
            words = ["--send-anyway"] if unsent else []
        counts = count(sandbox)
        notes = len(list((folder / "runs" / ".sending").glob("*.json")))
    if counts != (1, 1) or notes or codes != [0]:
        log = (folder / "log").read_text()[-3000:]
        print(f"trial {number} {method} {kind.name}: {counts} {notes} {codes}\n{log}", flush=True)
    return method or "any moment", was_running, counts, notes, codes


def count(sandbox):
    """How many versions and submissions the sandbox has."""
    state = sandbox.service.state
    versions = sum(len(kernel["versions"]) for kernel in state["kernels"].values())
    return versions, len(state["submissions"])


def report(outcomes):
    """Print the table; the exit code."""
    print(
        "| killed in | kills | while running | one version, one submission | repeated once "
        "| exit code 75, nothing sent |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    groups = collections.defaultdict(list)
    for method, *rest in outcomes:
        groups[method].append(rest)
    bad = 0
    for method, rows in groups.items():
        running = sum(row[0] for row in rows)
        good = sum(row[1] == (1, 1) and not row[2] for row in rows)
        once = sum(row[3] == [0] for row in rows)
        unsent = sum(row[3] == [75, 0] for row in rows)
        bad += len(rows) - good
        print(f"| {method} | {len(rows)} | {running} | {good} | {once} | {unsent} |")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
