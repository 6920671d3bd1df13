"""`python -m kernel.sandbox`: Kaggle's API on localhost, with a leaderboard of one's own."""

import argparse
import datetime
import signal
import sys
from pathlib import Path

from ..folders import RUNS
from ..terminal import safe_output, say_interrupted


@safe_output()
def main(words: list[str] | None = None) -> int:
    """Serve until Ctrl-C. Returns 130 then, or 1 where it cannot be served."""
    words = sys.argv[1:] if words is None else words
    args = make_parser().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: kernels are stopped
    try:
        from .judge import read_teams  # scikit-learn: a second
        from .server import Sandbox

        teams = read_teams(args.teams) if args.teams else ()
        with Sandbox(
            args.data, args.solution, args.folder, teams, args.deadline, args.port
        ) as server:
            for line in server.list_instructions():
                print(line, flush=True)
            while not server.closing.wait(1):
                pass
    except KeyboardInterrupt:
        told = "stopped; what was pushed and submitted is kept"
        command = ["python", "-m", "kernel.sandbox", *words]
        return say_interrupted("kernel.sandbox", told, command)
    except (ValueError, OSError) as error:
        print(f"kernel.sandbox: error: {error}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """--data DIR --solution CSV [...]"""
    parser = argparse.ArgumentParser(
        prog="python -m kernel.sandbox",
        description="Serve Kaggle's API on localhost, with your own leaderboard.",
    )
    path = {"type": Path, "metavar": "CSV"}
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the competition")
    parser.add_argument("--solution", required=True, help="id,label,Usage", **path)
    parser.add_argument("--teams", help="earlier teams: team,public,private", **path)
    parser.add_argument(
        "--folder",
        type=Path,
        default=RUNS / "sandbox",
        metavar="DIR",
        help="its state; runs/sandbox if omitted",
    )
    parser.add_argument("--port", type=int, default=0, help="a free one if omitted")
    parser.add_argument(
        "--deadline",
        type=datetime.datetime.fromisoformat,
        metavar="DATE",
        help="YYYY-MM-DD, UTC: later submissions are late; the board stays open if omitted",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
