"""What reaches the terminal: characters that it can show, and none that control it."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

# Control characters but tab and line feed, marks that reverse a line or are not seen, and halves
# of characters.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
PLAIN = re.compile(r"[\w.:=+@/\\-]+")  # words that no shell on Windows needs quoted


class SafeStream:
    """A text stream that shows unsafe characters as escapes, such as \\x1b."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text))

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Let whatever is printed in a block, or a function, be safe to show.

    Characters that the stream's encoding lacks become question marks. Each line is written at
    once, also to a file or a pipe: a run of hours can be followed there.
    """
    before = sys.stdout, sys.stderr
    errors = {stream: stream.errors for stream in before if hasattr(stream, "reconfigure")}
    for stream in errors:
        stream.reconfigure(errors="replace", line_buffering=True)
    # A stream that was closed before the start is None.
    sys.stdout, sys.stderr = (stream and SafeStream(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream, name in errors.items():
            if not stream.closed:
                stream.reconfigure(errors=name)


def say_interrupted(program: str, told: str, words: Iterable[str]) -> int:
    """Print what Ctrl-C has ended, and the command that continues it.

    Returns:
        The exit code.
    """
    print(f"{program}: {told}. To continue: {join_words(words)}", file=sys.stderr)
    return 130  # as of a program that SIGINT has ended


def join_words(words: Iterable[str], on_windows: bool = os.name == "nt") -> str:
    """A command as one line, to be pasted into sh, or cmd.exe and PowerShell on Windows."""
    if not on_windows:
        return shlex.join(words)
    return " ".join(word if PLAIN.fullmatch(word) else quote_word(word) for word in words)


def quote_word(word: str) -> str:
    """A word in double quotes, as programs on Windows read them."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return '"{}"'.format(re.sub(r"(\\+)$", r"\1\1", escaped))


def clean_line(text: str | None) -> str:
    """A name that others chose, as one line without control characters."""
    return " ".join(UNSAFE.sub(" ", text or "").split())
