"""Faults that the sandbox is told to make, for tests of what goes wrong."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with the next calls of a method; by default nothing."""

    status: int | None = None  # HTTP status of an answer in place of the usual one
    body: str | dict = "<html>error</html>"  # of that answer; a dict becomes JSON
    headers: dict = dataclasses.field(default_factory=dict)  # further ones
    after: bool = False  # carry out the call although it is not answered as usual
    drop: bool = False  # close the connection without an answer
    hang: float = 0  # seconds of silence before that
    wait: float = 0  # seconds before anything is done; the client may leave meanwhile
    cut: int | None = None  # close the connection after this many bytes of the usual answer
    patch: dict = dataclasses.field(default_factory=dict)  # fields to replace in it
    times: int = 1  # how many calls; a negative number for all

    @property
    def is_carried_out(self) -> bool:
        """Whether the call does its work."""
        return self.after or not (self.status or self.drop or self.hang)


NO_FAULT = Fault()
