"""Refuses every connection but to 127.0.0.1, in each process that a test starts.

Python imports this file at start where its folder is on PYTHONPATH.
"""

import sys


def refuse_network(event, arguments):
    """Raise before a socket connects, or a name is looked up, anywhere else."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in ("127.0.0.1", "localhost", None, ""):
        raise PermissionError(f"a test may not connect to {host!r}, only to 127.0.0.1")


sys.addaudithook(refuse_network)
