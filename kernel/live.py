"""What a run prints, and below it, on a terminal, one line that says how far the run is."""

import contextlib
import json
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

from .processes import shielded
from .progress import Progress
from .terminal import clean_line

# What TensorFlow and XLA log when they start: information, warnings, and a GPU library that is
# not there or registered twice. All other errors are shown.
START_UP = re.compile(
    r"(\d[\d-]+ [\d:.]+: )?[IW]\d* .*\.cc:\d+\]|To enable the following instructions: "
    r"|.*\.cc:\d+\] (Unable to register cu|failed call to cuInit)|WARNING: All log messages before"
)
END_SECONDS = 2  # that what a process has started may write on after its end


class AboveLine:
    """A text stream of a terminal whose text stands above a live line."""

    def __init__(self, stream: TextIO, live: "LiveLine"):
        self.stream, self.live = stream, live

    def write(self, text: str) -> int:
        self.live.clear()
        return self.stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


class LiveLine(contextlib.AbstractContextManager):
    """Prints the lines of a run; on a terminal those that only say how far it is become one.

    That line stands below the others and is gone in the end. It has no color. In a log or a pipe,
    and on a terminal that cannot go back in a line (TERM=dumb), every line is printed. Whatever
    else is printed in the block stands above it, too.

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
        self.terminal, self.is_drawn = terminal if is_live else None, False
        self.draw_text = tqdm.status_printer(terminal) if is_live else lambda text: None

    def __enter__(self):
        self.streams = sys.stdout, sys.stderr
        if self.terminal:
            sys.stdout, sys.stderr = (stream and AboveLine(stream, self) for stream in self.streams)
        return self

    def __exit__(self, *error):
        self.clear()
        sys.stdout, sys.stderr = self.streams

    def say(self, text: str, stream: TextIO | None = None) -> None:
        """Print a line above the live one, on the standard output unless a stream is given."""
        if self.print is print or stream:
            print(text, file=stream, flush=True)
        else:
            self.print(text)
        self.draw()

    def take(
        self,
        line: str,
        shown: str | None = None,
        stream: TextIO | None = None,
        seconds: float | None = None,
    ) -> None:
        """Print a line of a run, or draw what it says in the live line.

        Args:
            line: str.
            shown: str, what is printed in its place, such as the line with its time.
            stream: as for `say`.
            seconds: as for `Progress.read`.
        """
        if START_UP.match(line):
            return
        if self.progress.read(line, seconds) and self.terminal:
            self.draw()
        else:
            self.say(line if shown is None else shown, stream)

    def draw(self) -> None:
        """Draw the live line anew."""
        if self.terminal:
            columns = os.get_terminal_size(self.terminal.fileno()).columns or 80
            text = clean_line(self.progress.describe(columns))
            self.draw_text(disp_trim(text, columns - 1))
            self.is_drawn = True

    def clear(self) -> None:
        """Remove the live line until it is drawn again."""
        if self.is_drawn:
            self.draw_text("")
            self.terminal.write("\r")
            self.is_drawn = False

    def pause(self, seconds: float) -> None:
        """Wait, and draw the live line every second."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.draw()
            time.sleep(min(1, left))


def can_draw(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal on which a line can be drawn over."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def run_program(
    command: list[str], environment: dict, request: dict | None = None
) -> tuple[int, dict | None]:
    """Run a program, and print its lines as `LiveLine` does.

    Args:
        command: list of words.
        environment: dict of variables.
        request: dict that it reads as a line of JSON; it answers with another line of JSON.

    Returns:
        Its exit code, and its answer, or None.
    """
    answer, text = None, {"encoding": "utf-8", "errors": "replace"}
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    pipes["stdin"] = None if request is None else subprocess.PIPE
    environment = {**environment, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"}
    with LiveLine() as live:
        if live.terminal:
            environment[SECONDS] = "1"  # how far it is, every second
        with shielded(command, env=environment, **pipes, **text) as process:
            if request is not None:
                threading.Thread(target=send, args=(process.stdin, request), daemon=True).start()
            for line, stream in follow(process, live):
                if request is not None and stream is None and line.startswith("{"):
                    answer = json.loads(line)
                else:
                    live.take(line, stream=stream)
    return process.returncode, answer


def send(pipe: TextIO, request: dict) -> None:
    """Write a request to a program, which may have ended; the pipe stays open.

    The program ends when the pipe is closed, with this process.
    """
    with contextlib.suppress(OSError):  # its exit code and its last lines say why
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()


def follow(process: subprocess.Popen, live: LiveLine) -> Iterator[tuple[str, TextIO | None]]:
    """The lines that a process prints, as they come, until it ends.

    Args:
        process: Popen, with pipes.
        live: LiveLine, which is drawn meanwhile.

    Yields:
        A line, and the stream to print it on: None for the standard output.
    """
    lines = queue.SimpleQueue()

    def read(pipe, stream):
        for line in pipe:
            lines.put((line.rstrip("\n"), stream))

    def wait():
        process.wait()
        for reader in readers:
            reader.join(END_SECONDS)
        lines.put(None)

    pipes = (process.stdout, None), (process.stderr, sys.stderr)
    readers = [threading.Thread(target=read, args=pair, daemon=True) for pair in pipes]
    for thread in (*readers, threading.Thread(target=wait, daemon=True)):
        thread.start()
    live.draw()
    while True:
        try:
            item = lines.get(timeout=1)
        except queue.Empty:
            live.draw()
            continue
        if item is None:
            return
        yield item
