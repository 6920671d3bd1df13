"""What reaches the terminal: characters that it can show, and none that control it."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import TextIO

# Control characters but tab and line feed, marks that reverse a line or are not seen, and halves
# of characters.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


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


def clean_line(text: str | None) -> str:
    """A name that others chose, as one line without control characters."""
    return " ".join(UNSAFE.sub(" ", text or "").split())
