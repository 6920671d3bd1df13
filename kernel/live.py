"""What a run prints, and below it, on a terminal, one line that says how far the run is."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from tqdm import tqdm
from tqdm.utils import disp_trim

from pcam_kaggle.system.progress import SECONDS

from . import processes
from .progress import Progress
from .terminal import clean_line

# What TensorFlow and XLA log when they start: information, warnings, and a GPU library that is
# not there or registered twice. All other errors are shown.
START_UP = re.compile(
    r"(\d[\d-]+ [\d:.]+: )?[IW]\d* .*\.cc:\d+\]|To enable the following instructions: "
    r"|.*\.cc:\d+\] (Unable to register cu|failed call to cuInit)|WARNING: All log messages before"
)
END_SECONDS = 2  # that what a process has started may write on after its end


class LiveLine(contextlib.AbstractContextManager):
    """Prints the lines of a run; on a terminal those that only say how far it is become one.

    That line stands below the others and is gone in the end. It has no color. In a log or a pipe,
    and on a terminal that cannot go back in a line (TERM=dumb), every line is printed.

    Args:
        say: function that prints a line; with any but `print` there is no live line.
        is_waiting: bool, False where nothing is waited for: every line is printed.

    Attributes:
        progress: the Progress that reads the lines.
    """

    def __init__(self, say: Callable[[str], None] = print, is_waiting: bool = True):
        self.print, self.progress = say, Progress()
        terminal = getattr(sys.stdout, "stream", sys.stdout)  # below a SafeStream
        is_live = is_waiting and say is print and can_draw(terminal)
        self.terminal = terminal if is_live else None
        self.draw_text = tqdm.status_printer(terminal) if is_live else lambda text: None

    def __exit__(self, *error):
        self.clear()

    def say(self, text: str, stream: TextIO | None = None) -> None:
        """Print a line above the live one, on the standard output unless a stream is given."""
        self.clear()
        if self.print is print or stream:
            print(text, file=stream, flush=True)
        else:
            self.print(text)
        self.draw()

    def take(self, line: str, shown: str | None = None, stream: TextIO | None = None) -> None:
        """Print a line of a run, or draw what it says in the live line.

        Args:
            line: str.
            shown: str, what is printed in its place, such as the line with its time.
            stream: as for `say`.
        """
        if START_UP.match(line):
            return
        if self.progress.read(line) and self.terminal:
            self.draw()
        else:
            self.say(line if shown is None else shown, stream)

    def draw(self) -> None:
        """Draw the live line anew."""
        if self.terminal:
            columns = os.get_terminal_size(self.terminal.fileno()).columns or 80
            text = clean_line(self.progress.describe(columns))
            self.draw_text(disp_trim(text, columns - 1))

    def clear(self) -> None:
        """Remove the live line until it is drawn again."""
        if self.terminal:
            self.draw_text("")
            self.terminal.write("\r")

    def pause(self, seconds: float) -> None:
        """Wait, and draw the live line every second."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.draw()
            time.sleep(min(1, left))


def can_draw(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal on which a line can be drawn over."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def follow(process: subprocess.Popen, live: LiveLine) -> Iterator[tuple[str, TextIO | None]]:
    """The lines that a process prints, as they come, until it ends.

    Args:
        process: what `started` yields.
        live: LiveLine, which is drawn meanwhile.

    Yields:
        A line, and the stream to print it on: None for the standard output.
    """
    lines = queue.SimpleQueue()

    def read(pipe, stream):
        for line in pipe:
            lines.put((line.rstrip("\n"), stream))
        lines.put(None)

    for pipe, stream in ((process.stdout, None), (process.stderr, sys.stderr)):
        threading.Thread(target=read, args=(pipe, stream), daemon=True).start()
    num_open, ended = 2, None
    while num_open and (ended is None or time.monotonic() - ended < END_SECONDS):
        try:
            item = lines.get(timeout=1)
        except queue.Empty:
            live.draw()
        else:
            if item is None:
                num_open -= 1
            else:
                yield item
        if ended is None and process.poll() is not None:
            ended = time.monotonic()
    process.wait()


@contextlib.contextmanager
def started(
    command: list[str], environment: dict, live: LiveLine, stdin: int | None = None
) -> Iterator[subprocess.Popen]:
    """A process whose lines can be followed, and which is killed if the block fails.

    Args:
        command: list of words.
        environment: dict of variables.
        live: LiveLine; if it is drawn, the process says every second how far it is.
        stdin: as for `subprocess.Popen`.
    """
    own = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"}
    if live.terminal:
        own[SECONDS] = "1"
    pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    text = {"encoding": "utf-8", "errors": "replace"}
    with processes.started(command, env={**environment, **own}, **pipes, **text) as process:
        yield process
