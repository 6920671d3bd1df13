"""Faults that the sandbox is told to make, for tests of what goes wrong."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with the next calls of a method; by default nothing.

    Attributes:
        wait: float, seconds before anything is done; the client may leave meanwhile.
        status: int, HTTP status of an answer in place of the usual one, or None.
        body: the text of that answer; a dict becomes JSON.
        headers: dict of its headers.
        drop: bool, close the connection without an answer.
        hang: float, seconds of silence before that.
        after: bool, carry out the call although it is not answered as usual.
        cut: int, close the connection after this many bytes of the usual answer, or None.
        patch: dict, fields to replace in the usual answer.
        times: int, how many calls; a negative number for all.
    """

    status: int | None = None
    body: str | dict = "<html>error</html>"
    headers: dict = dataclasses.field(default_factory=dict)
    after: bool = False
    drop: bool = False
    hang: float = 0
    wait: float = 0
    cut: int | None = None
    patch: dict = dataclasses.field(default_factory=dict)
    times: int = 1

    @property
    def is_carried_out(self) -> bool:
        """Whether the call does its work."""
        return self.after or not (self.status or self.drop or self.hang)
