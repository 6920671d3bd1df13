"""Kaggle on localhost: the service's protocol, for the official client.

It runs pushed kernels, keeps their versions, logs and output, scores submissions, keeps
both leaderboards, and can be told to fail. It listens on 127.0.0.1 only.
"""

import contextlib
import dataclasses
import datetime
import http.server
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from pcam_kaggle.system.paths import find_data

from .faults import NO_FAULT, Fault
from .handler import Handler
from .judge import Judge
from .service import Service

PROXY_NAMES = ("HTTP_PROXY", "http_proxy")
NO_PROXY_NAMES = ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection."""

    allow_reuse_address = os.name != "nt"  # where it would share a port that is taken

    def handle_error(self, request, client_address) -> None:
        """Print an error of the sandbox; a client that leaves is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Sandbox(contextlib.AbstractContextManager):
    """A running stand-in for Kaggle; a context manager that stops all it started.

    Args:
        data: path of the competition's folder, of which kernels get a copy.
        folder: Path of the state, which a later sandbox resumes.
        solution, teams, deadline: as `Judge` takes them.
        port: int, 0 for a free one.
        username: str, the user of `environment`; others are let in with the same key.
        python: tuple, the command that runs a kernel's script, or what executes its notebook.

    Attributes:
        calls: list of the methods that were called, in order.
        faults: dict of method to the faults that are still to come, the next one first.

    Raises:
        FileNotFoundError, ValueError: data or a solution that is none.
        OSError: a port that is taken.
    """

    def __init__(
        self,
        data: Path,
        solution: Path | pd.DataFrame,
        folder: Path,
        teams: Iterable[tuple] = (),
        deadline: datetime.datetime | None = None,
        port: int = 0,
        username: str = "sandbox",
        python: tuple = (sys.executable,),
    ):
        data, judge = find_data(data), Judge(solution, teams, deadline)
        self.service = Service(data, judge, folder, username, python)
        self.calls: list[str] = []
        self.faults: dict[str, list[Fault]] = {}
        self.lock = threading.Lock()  # of these two
        self.closing = threading.Event()
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.sandbox = self
        self.service.url = self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        """Stop the server and every session, and keep the state."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        for session in self.service.sessions.values():
            session.stop()
        self.service.save()

    def environment(self) -> dict[str, str | None]:
        """Variables that point the official client and ours here; None: to be unset."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            **dict.fromkeys(PROXY_NAMES, self.url),
            **dict.fromkeys(NO_PROXY_NAMES),
            "KAGGLE_API_TOKEN": self.service.key,
            "KAGGLE_USERNAME": self.service.username,
            "KAGGLE_KEY": self.service.key,
        }

    def list_instructions(self) -> Iterator[str]:
        """How to use it, as lines for a terminal."""
        variables = {**self.environment(), "KAGGLE_API_TOKEN": None}.items()
        yield f"sandbox   {self.url}, on this machine only"
        yield f"data      {self.service.data}"
        yield f"state     {self.service.folder}"
        yield "To point build.py or the kaggle command here (the key opens this sandbox"
        yield "only; choose any user name: each is a team), in a shell:"
        yield from (f"  export {k}={v}" if v else f"  unset {k}" for k, v in variables)
        yield "or in PowerShell:"
        yield from (f'  $env:{k} = "{v or ""}"' for k, v in variables if k == k.upper())
        yield "Ctrl-C stops it and every kernel that it runs."

    @contextlib.contextmanager
    def entered(self) -> Iterator["Sandbox"]:
        """Point this process's environment here for the length of a block."""
        ours = self.environment()
        before = {name: os.environ.pop(name) for name in ours if name in os.environ}
        os.environ.update({name: value for name, value in ours.items() if value})
        try:
            yield self
        finally:
            for name in ours:
                os.environ.pop(name, None)
            os.environ.update(before)

    def script(self, method: str, *faults: Fault) -> None:
        """Let the next calls of a method of the protocol, or of a plain URL, fail in turn.

        Those are named "upload", "file", "data", "logs" and "page".
        """
        with self.lock:
            self.faults.setdefault(method, []).extend(faults)

    def take_fault(self, method: str) -> Fault:
        """Record a call; the fault that is due."""
        with self.lock:
            self.calls.append(method)
            faults = self.faults.get(method) or [NO_FAULT]
            fault = faults.pop(0)
            if fault.times != 1:
                faults.insert(0, dataclasses.replace(fault, times=fault.times - 1))
            return fault
