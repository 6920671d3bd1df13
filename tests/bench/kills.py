"""End sessions of a small task at random moments, and continue each (Linux).

    python tests/bench/kills.py --kills 100

The kernel file of the recipe `demo` trains small networks on shipped patches with two workers.
In turn all processes of a session are killed, its parent alone, or a worker; half of the
moments are random in the whole session, half in a later epoch of some network. The following
session must end with the submission of an undisturbed run, byte by byte. Counted are also
processes that outlive their parent, broken files, locks that stayed and moments without a
valid submission. --chain N ends N sessions before one is left to end.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from processes import ENDINGS, Session, find_partial, list_networks  # noqa: E402
from session import describe_damage, judge_end, print_rows  # noqa: E402

from kernel.bundle.page import bundle_kernel  # noqa: E402
from kernel.bundle.recipes import parse_words, read_recipe  # noqa: E402
from kernel.sandbox.demo import lay_out_demo  # noqa: E402

TASK = ("num_images=300", "num_folds=3", "epochs=6", "batch_size=16", "num_workers=2")
EPOCH = re.compile(r" epoch +(\d+)/(\d+) ")
LONGEST = 600  # seconds of a session


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="name=value", default=TASK)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--chain", type=int, default=1, help="kills before a session may end")
    parser.add_argument("--endings", nargs="+", choices=ENDINGS, default=ENDINGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder for all files; emptied first")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        sys.exit(0 if end_many(args, (args.work or Path(folder)).absolute()) else 1)


def end_many(args, work):
    """Run undisturbed, then end sessions; whether every one was continued well."""
    shutil.rmtree(work, ignore_errors=True)
    lay_out_demo(work / "data")
    inputs = work / "data" / "input"
    script = work / "script.py"
    words = [*TASK, *args.overrides]
    overrides = parse_words(read_recipe("demo"), [*{w.split("=")[0]: w for w in words}.values()])
    script.write_text(bundle_kernel("demo", overrides).source, "utf-8", newline="\n")
    whole = Session(script, inputs, work / "undisturbed", work, seconds=LONGEST).start()
    whole.run()
    whole.close()
    if whole.process.returncode:
        print("\n".join(text for _, text in whole.log[-20:]))
        return False
    print(f"undisturbed {whole.seconds:.1f} s, {len(list_networks(whole.output))} networks")
    rows = []
    while len(rows) < args.kills:
        size = min(args.chain, args.kills - len(rows))
        for attempt in range(5):  # a moment may lie behind the end
            shutil.rmtree(work / "ended", ignore_errors=True)
            numbers = range(len(rows), len(rows) + size)
            chain = [end_one(args, work, script, inputs, whole, n, attempt) for n in numbers]
            if all(row["reached"] for row in chain):
                break
        following = Session(script, inputs, work / "ended", work, seconds=LONGEST).start()
        following.run()
        following.close()
        problems = judge_end(following, whole)
        chain[-1]["problems"] += problems
        rows += chain
        print_round(chain, following)
        if problems:  # kept for a look
            shutil.copytree(work / "ended", work / f"failed{len(rows)}")
    return summarize(rows)


def end_one(args, work, script, inputs, whole, number, attempt):
    """End one session at a random moment: dict about it."""
    chance = random.Random(f"{args.seed} {number} {attempt}")
    ending = args.endings[number % len(args.endings)]
    later = number // len(args.endings) % 2 == 0  # half of the moments of each ending
    session = Session(script, inputs, work / "ended", work, seconds=LONGEST)
    is_first = not any(session.output.iterdir())
    moment = in_later_epoch(whole, chance, is_first) if later else in_session(whole, chance)
    running = session.start().run(until=moment)
    networks, epoch = len(list_networks(session.output)), find_epoch(session)
    ended = {"ending": ending, "left": 0, "seconds": 0.0}
    if running:
        ended = session.end(ending, chance)
    return {
        "ending": ended["ending"],
        "moment": "a later epoch" if later else "any",
        "reached": running,
        "epoch": epoch,
        "networks": networks,
        "partial": len(find_partial(session.output)),
        "seconds": ended["seconds"],
        "problems": describe_damage(session, ended),
    }


def in_session(whole, chance):
    """A function of a session: whether a random moment of its whole time has come."""
    moment = chance.uniform(0, whole.seconds)
    return lambda session: time.monotonic() - session.started >= moment


def in_later_epoch(whole, chance, is_first):
    """A function of a session: whether a random moment in a later epoch has come.

    It follows the line of an epoch of some network that is neither its first nor its last, by up
    to the time of an epoch. A session that continues another ends in the first such epoch.
    """
    times = read_epochs(whole)
    last = times[0][2]
    count = chance.randrange(sum(2 <= epoch < last for _, epoch, _ in times)) if is_first else 0
    pause = chance.uniform(0, (times[-1][0] - times[0][0]) / max(1, len(times) - 1))

    def has_come(session):
        lines = [seconds for seconds, epoch, _ in read_epochs(session) if 2 <= epoch < last]
        elapsed = time.monotonic() - session.started
        return len(lines) > count and elapsed >= lines[count] + pause

    return has_come


def read_epochs(session):
    """The epochs in a log: tuples of seconds, the epoch and the number of epochs."""
    found = [(seconds, EPOCH.search(text)) for seconds, text in list(session.log)]
    return [(seconds, int(m[1]), int(m[2])) for seconds, m in found if m]


def find_epoch(session):
    """The last epoch in a session's log, or 0."""
    return max((epoch for _, epoch, _ in read_epochs(session)[-2:]), default=0)


def print_round(rows, following):
    """Print a line for each session that was ended, and how the next one ended."""
    for row in rows:
        print(
            f"{row['ending']:<8} in {row['moment']:<13} after epoch {row['epoch']}, "
            f"{row['networks']} networks{'' if row['reached'] else ' (had ended before)'}; all "
            f"ended after {row['seconds']:.1f} s; {'; '.join(row['problems']) or 'well'}"
        )
    print(f"         continued in {following.seconds:.1f} s", flush=True)


def summarize(rows):
    """Print the counts; whether nothing failed."""
    problems = Counter()
    for row in rows:
        for name in ("processes stayed", "broken", "lock", "another submission", "exit code"):
            problems[name] += any(name in text for text in row["problems"])
    good = sum(not row["problems"] for row in rows)
    later = sum(row["epoch"] >= 2 for row in rows)
    slowest = max((r["seconds"] for r in rows if r["ending"] == "parent"), default=0)
    print()
    print_rows(
        [
            ("count", "of", len(rows)),
            ("ended without a problem, and continued to the same bytes", good, len(rows)),
            ("ended in or after a second epoch", later, len(rows)),
            ("had ended before the moment came", sum(not r["reached"] for r in rows), len(rows)),
            *[(f"with problem: {name}", count, len(rows)) for name, count in problems.items()],
            (
                "with a temporary file left at the kill",
                sum(r["partial"] > 0 for r in rows),
                len(rows),
            ),
            ("longest time that workers outlived their parent, s", f"{slowest:.1f}", ""),
        ]
    )
    return good == len(rows)


if __name__ == "__main__":
    main()
