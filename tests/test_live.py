"""The lines of a run: whole ones in a pipe, one live line on a terminal."""

import itertools
import os
import struct
import subprocess
import sys

import pytest
from conftest import run_python

from kernel import live
from kernel.folders import ROOT
from kernel.live import START_UP
from kernel.progress import Progress

EPOCH = "{} epoch {:>2}/{}  loss 0.512  auc 0.8000  val_loss 0.498  val_auc {:.4f}  9.1 s"
OVER = "{} out-of-fold AUC 0.9133, epochs 2, 60 images/s, a CPU"
KERNEL = """
import sys, time
print("2026-11-30 01:08:43.603261: I external/local_xla/cudart_stub.cc:31] Could not find cuda")
print("network  small, 34,745 parameters")
print("networks 3, 1 at a time")
for epoch in (1, 2):
    print(f"fold 0 seed 0 epoch  {epoch}/2  loss 0.512  val_auc 0.9123  9.1 s")
print("fold 0 seed 0 out-of-fold AUC 0.9133, epochs 2")
print("progress \\x1b[2J batch 1 of 2")
print("a warning: \\x1b[2J", file=sys.stderr)
"""
RUN = """
from pathlib import Path
from kernel.home import run_script
from kernel.terminal import safe_output
with safe_output():
    run_script(Path("page.py"), Path("."), Path("."))
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a kernel that prints what one prints."""
    (tmp_path / "page.py").write_text(KERNEL)
    return tmp_path


def run_on_terminal(folder, columns, code=RUN, **environment):
    """What a run, or other code, writes to a terminal of so many columns."""
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    command = [sys.executable, "-c", code]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    process = subprocess.Popen(command, cwd=folder, env=environment, **streams)
    os.close(terminal)
    written = b""
    try:
        while part := os.read(master, 4096):
            written += part
    except OSError:  # Linux: the other end is closed
        pass
    os.close(master)
    assert process.wait() == 0
    return written.decode()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_has_one_live_line_that_does_not_wrap(columns, folder):
    written = run_on_terminal(folder, columns, NO_COLOR="1")
    drawn = [text for line in written.split("\r\n") for text in line.split("\r")[:-1]]
    assert all(len(text) < columns for text in drawn)
    *_, epoch = (text for text in drawn if "epoch" in text)
    of = "/" if columns == 40 else " of "
    assert f"1{of}3" in epoch and "val_auc 0.912" in epoch
    assert written.lstrip().startswith("starting")  # before the kernel prints a line
    lines = [line.split("\r")[-1].rstrip() for line in written.split("\r\n")]
    assert sorted(filter(None, lines)) == [
        r"a warning: \x1b[2J",
        "fold 0 seed 0 out-of-fold AUC 0.9133, epochs 2",
        "network  small, 34,745 parameters",
        "networks 3, 1 at a time",
    ]
    assert "\x1b" not in written and lines[-1] == ""  # no color, and the live line is gone
    assert "[2J batch 1 of 2" in written


def test_a_pipe_has_whole_lines(folder):
    code = f"import os\nos.chdir({str(folder)!r})\n{RUN}"
    result = run_python(["-c", code], PYTHONPATH=ROOT)
    lines = result.stdout.splitlines()
    assert [line.split("  loss")[0] for line in lines] == [
        "network  small, 34,745 parameters",
        "networks 3, 1 at a time",
        "fold 0 seed 0 epoch  1/2",
        "fold 0 seed 0 epoch  2/2",
        "fold 0 seed 0 out-of-fold AUC 0.9133, epochs 2",
        r"progress \x1b[2J batch 1 of 2",
    ]
    assert result.stderr == "a warning: \\x1b[2J\n"


def test_a_terminal_that_cannot_go_back_has_whole_lines(folder):
    lines = run_on_terminal(folder, 80, TERM="dumb").split("\r\n")
    assert not any("\r" in line for line in lines) and sum("epoch" in line for line in lines) == 3


def test_what_another_part_prints_stands_above_the_live_line(folder):
    code = """
import sys
from kernel.live import LiveLine
with LiveLine() as live:
    live.pause(0.01)
    print("no answer; trying again in 4 s", file=sys.stderr)
    live.pause(0.01)
    print("a line")
"""
    lines = run_on_terminal(folder, 80, code).split("\r\n")
    assert [line.split("\r")[-1] for line in lines] == [
        "no answer; trying again in 4 s",
        "a line",
        "",
    ]
    assert "starting, 0 s" in lines[0] and "starting, 0 s" in lines[1]


def test_no_line_is_lost_however_slow_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(live.time, "monotonic", itertools.count(step=10).__next__)
    code = "for n in range(500): print(n)\nraise ValueError(n)"
    returned, _ = live.run_program([sys.executable, "-c", code], {**os.environ})
    out, err = capsys.readouterr()
    assert out.split() == [str(n) for n in range(500)]
    assert returned == 1 and err.endswith("ValueError: 499\n")


def test_a_program_that_ends_before_it_reads_its_request_says_why(capsys):
    request = {"paths": "x" * 1_000_000}  # more than a pipe holds
    command = [sys.executable, "-c", "import sys; sys.exit('no memory')"]
    assert live.run_program(command, {**os.environ}, request) == (1, None)
    assert capsys.readouterr().err == "no memory\n"
    code = "print('x' * 1_000_000); print(len(input())); print('{}')"
    assert live.run_program([sys.executable, "-c", code], {**os.environ}, request) == (0, {})


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self):
        return self.now


def test_the_progress_of_networks_one_after_another():
    clock = Clock()
    progress = Progress(clock)
    assert not progress.read("networks 3, 1 at a time")
    clock.now = 30
    assert progress.describe(80) == "1 of 3, training, 30 s so far"
    assert progress.read(EPOCH.format("fold 0 seed 0", 1, 2, 0.9))  # which compiles: not timed
    assert progress.describe(80) == "1 of 3, fold 0 epoch 1 of 2, val_auc 0.900, 30 s so far"
    clock.now = 35
    assert progress.read("progress fold 0 seed 0 batch 40 of 80")  # half of the second epoch
    assert progress.describe(40) == "1/3 epoch 1/2 val_auc 0.900 45 s left"
    clock.now = 40
    assert progress.read(EPOCH.format("fold 0 seed 0", 2, 2, 0.91))
    assert progress.read("progress predicted batch 1 of 2")
    assert "predicted batch 1 of 2, 40 s left" in progress.describe(80)
    assert not progress.read(OVER.format("fold 0 seed 0"))
    assert progress.describe(80) == "2 of 3, starting the next, 40 s so far"
    clock.now = 60
    assert progress.read(EPOCH.format("fold 1 seed 1", 1, 2, 0.9))  # the next one compiles, too
    # Two epochs in 30 s, three are left.
    assert progress.describe(80) == "2 of 3, fold 1 epoch 1 of 2, val_auc 0.900, 45 s left"


def test_a_resumed_network_is_timed_after_the_epoch_that_compiles():
    clock = Clock()
    progress = Progress(clock)
    progress.read("networks 1, 1 at a time")
    progress.read("fold 0 seed 0 resumes after epoch 2/6")
    clock.now = 90
    progress.read("progress fold 0 seed 0 batch 4 of 80")
    assert progress.describe(80) == "1 of 1, fold 0 epoch 2 of 6, 90 s so far"
    clock.now = 110
    progress.read(EPOCH.format("fold 0 seed 0", 3, 6, 0.9))
    clock.now = 120
    progress.read(EPOCH.format("fold 0 seed 0", 4, 6, 0.9))
    assert progress.describe(80).endswith(", 20 s left")


def test_a_run_is_looked_at_again():
    """The log of a run of 1,000 s that resumed a network, read at once."""
    clock = Clock()
    progress = Progress(clock)
    progress.text = "running"
    clock.now = 60
    assert progress.describe(80) == "running, 60 s so far"
    for seconds, line in [
        (100, "networks 2, 1 at a time"),
        (110, "fold 0 seed 0 resumes after epoch 3/4"),
        (200, EPOCH.format("fold 0 seed 0", 4, 4, 0.9)),
        (200, OVER.format("fold 0 seed 0")),
        (300, EPOCH.format("fold 1 seed 1", 1, 4, 0.8)),
    ]:
        progress.read(line, seconds)
    # Two epochs in 200 s, three are left.
    assert progress.describe(80) == "2 of 2, fold 1 epoch 1 of 4, val_auc 0.800, 5 min left"
    clock.now += 180
    assert progress.describe(80).endswith(" 2 min left")
    progress.read(OVER.format("fold 1 seed 1"), 400)
    assert progress.describe(80) == "writing the results, 5 min so far"
    # The next method of the run, whose networks have no epochs.
    progress.read("networks 2, 1 at a time", 410)
    assert progress.describe(80) == "1 of 2, training, 0 s so far"
    progress.read(OVER.format("midnight fold 0 seed 0"), 420)
    assert progress.describe(80) == "2 of 2, starting the next, 10 s so far"


def test_a_network_that_says_its_end_twice_is_one():
    progress = Progress(Clock())
    progress.read("networks 2, 1 at a time")
    progress.read(EPOCH.format("fold 0 seed 0", 1, 4, 0.8))
    progress.read("fold 0 seed 0 was cut short after epoch 1: max_hours")
    progress.read(OVER.format("fold 0 seed 0"))
    assert progress.describe(80).startswith("2 of 2, ")


def test_the_progress_of_networks_side_by_side():
    clock = Clock()
    progress = Progress(clock)
    progress.read("networks 2, 2 at a time")
    clock.now = 50
    progress.read(EPOCH.format("fold 1 seed 1", 1, 4, 0.8))
    clock.now = 51
    progress.read(EPOCH.format("fold 0 seed 0", 1, 4, 0.8))
    assert progress.describe(200).endswith("val_auc 0.800, 51 s so far")  # neither is timed yet
    clock.now = 61
    progress.read(EPOCH.format("fold 0 seed 0", 2, 4, 0.9))
    text = progress.describe(200)
    assert "fold 0 epoch 2 of 4, val_auc 0.900, fold 1 epoch 1 of 4, val_auc 0.800" in text
    assert len(progress.describe(40)) < 40


def test_the_progress_of_trials_and_of_files():
    progress = Progress(Clock())
    assert progress.read("progress train    decoded 5,120 of 19,171")
    assert progress.describe(80) == "train    decoded 5,120 of 19,171, 0 s so far"
    assert progress.read("download  0.40 of 6.30 GB, 6 %")
    progress.read(EPOCH.format("trial 3", 1, 4, 0.8))
    assert progress.describe(80) == "trial 3 epoch 1 of 4, val_auc 0.800, 0 s so far"
    progress.read("trial 3: pruned after epoch 1")
    assert progress.describe(80) == "starting the next, 0 s so far"


@pytest.mark.parametrize(
    "line",
    [
        "x epoch 0/0  val_auc 0.5000",
        "x epoch 9/1  val_auc 0.5000",
        "progress x 5 of 0",
        "progress " + " " * 200_000 + "1 of 2",
        "x" + " epoch 1/2 " * 100_000 + "val_auc",
        " " * 200_000 + "out-of-fold AUC",
        "networks 999999, 1 at a time",
    ],
)
def test_no_line_of_a_log_stops_or_stalls_the_reader(line):
    progress = Progress(Clock())
    for part in (line, "networks 1, 1 at a time", line):
        progress.read(part, 5)
        assert progress.describe(80)


def test_a_result_is_no_line_of_progress():
    assert not Progress(Clock()).read("slides   12 of 15")


@pytest.mark.parametrize(
    "line, is_start_up",
    [
        ("2026-11-30 01:08:43.603261: I xla/cudart_stub.cc:31] Could not find cuda", True),
        ("2026-11-30 01:08:43.6: I tensorflow/core/util/port.cc:153] oneDNN custom", True),
        ("To enable the following instructions: AVX2 FMA, in other operations, rebuild", True),
        ("WARNING: All log messages before absl::InitializeLog() is called are written", True),
        ("E0000 00:00:1731.1 37 cuda_dnn.cc:8310] Unable to register cuDNN factory", True),
        ("I0000 00:00:1731.1 37 gpu_device.cc:2022] Created device /job:localhost", True),
        ("2026-11-30 01:10:26.0: E xla/cuda_platform.cc:51] failed call to cuInit: E", True),
        ("E0000 00:00:1731.1 37 gpu_device.cc:99] CUDA_ERROR_OUT_OF_MEMORY", False),
        ("2026-11-30 01:10:26.0: F tensorflow/core/tensor.cc:9] Check failed", False),
        ("I think: this is no log line", False),
    ],
)
def test_start_up_lines_are_dropped_and_errors_are_not(line, is_start_up):
    assert bool(START_UP.match(line)) == is_start_up
