"""A parent killed in a later epoch, then all processes: what the next sessions make of it."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench" / "kills.py"
SMALL = ("num_images=90", "num_folds=2", "epochs=8")


@pytest.mark.skipif(sys.platform != "linux", reason="the bench reads /proc")
def test_sessions_that_were_killed_end_with_the_bytes_of_an_undisturbed_one():
    command = [sys.executable, BENCH, *SMALL, "--kills", "2", "--chain", "2"]
    result = subprocess.run(
        [*map(str, command), "--endings", "parent", "timeout"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
