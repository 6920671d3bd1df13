"""Faults that the sandbox is told to make, for tests of what goes wrong."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with the next calls of a method.

    Attributes:
        status: int, HTTP status of the answer.
        body: its text; a dict becomes JSON.
        headers: dict of its headers.
        after: bool, carry out the call first, so that only its answer is lost.
        drop: bool, close the connection without an answer.
        hang: float, seconds to wait before that.
        wait: float, seconds to wait first; then the call is carried out, although the client
            may have left, and answered as usual, or with the error if `after` or `drop`.
        cut: int, close the connection after this many bytes, or None.
        patch: dict, answer as usual with these fields replaced, or None.
        times: int, how many calls; a negative number for all.
    """

    status: int = 500
    body: str | dict = "<html>error</html>"
    headers: dict = dataclasses.field(default_factory=dict)
    after: bool = False
    drop: bool = False
    hang: float = 0
    wait: float = 0
    cut: int | None = None
    patch: dict | None = None
    times: int = 1

    @property
    def is_carried_out(self) -> bool:
        """Whether the call does its work although its answer is at fault."""
        return self.after or self.patch is not None or bool(self.cut or self.wait)
