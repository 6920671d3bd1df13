"""HTTP with time-outs, and with retries where a repetition does no harm."""

import contextlib
import json
import ssl
import sys
import time
import urllib.parse
from collections.abc import Callable

import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.util import Retry

TIMEOUT = (10, 60)  # seconds to connect, and of silence
PATIENCE = 300  # seconds to keep retrying one call
FIRST_PATIENCE = 15  # where no connection was ever made: there may be no network
BACK_OFF = 0.5  # seconds before the second attempt; doubles, up to half a minute
TRANSIENT = (429, 500, 502, 503, 504)  # HTTP status of errors that pass
# Repeating one of these would push, submit or create twice.
WRITES = ("SaveKernel", "CreateSubmission", "CreateDataset")
LOG_STREAM = "/kernels/logs/stream/"
STREAM_START = 2_048  # bytes
WEB_PAGE = (
    "received a web page instead of an answer. Does this network ask for a log-in, or is "
    "the service down? The same command resumes from here."
)
# Called after each request with it and its response or error, or None: see transcript.py.
observe: Callable[[requests.PreparedRequest, requests.Response | Exception], None] | None = None


class Transport(HTTPAdapter):
    """Sends requests with a time-out and repeats them after transient errors.

    Reads are repeated after a lost connection, silence, 429, 5xx and a web page instead
    of an answer; writes only after 429, which says that nothing was done, and where no
    connection was made. Retry-After is honored. After `patience` seconds the last outcome
    stands, sooner before the first connection. The log of a running kernel is requested once.

    Attributes:
        timeout: tuple of two floats, seconds to connect and of silence; TIMEOUT by default.
        patience: float, seconds to keep retrying one call; PATIENCE by default.
        on_write: function that is called with True right before a write is sent, and with
            False where nothing came of it, or None.
    """

    def __init__(self, timeout: tuple[float, float] | None = None, patience: float | None = None):
        super().__init__()
        self.timeout = timeout or TIMEOUT
        self.patience = PATIENCE if patience is None else patience
        self.was_connected = False
        self.on_write: Callable[[bool], None] | None = None

    def proxy_manager_for(self, proxy, **options):
        # urllib3 leaves Nagle's algorithm on for proxies, such as the sandbox: with
        # delayed acknowledgments it costs 40 ms a call.
        no_delay = HTTPConnection.default_socket_options
        return super().proxy_manager_for(proxy, socket_options=no_delay, **options)

    def send(self, request, **options):
        options["timeout"] = options.get("timeout") or self.timeout
        path = urllib.parse.urlsplit(request.url).path
        is_write = path.rsplit("/", 1)[-1] in WRITES
        on_write = self.on_write if is_write else None

        def is_undone(state):
            if state.outcome.failed:
                return is_unsent(state.outcome.exception())
            return state.outcome.result().status_code == 429

        def is_transient(state):
            if is_write:
                if on_write and is_undone(state):
                    on_write(False)
                return is_undone(state)
            if LOG_STREAM in path:  # the next look at the kernel requests it again
                return False
            if state.outcome.failed:
                return isinstance(state.outcome.exception(), requests.RequestException)
            response = state.outcome.result()
            return response.status_code in TRANSIENT or is_web_page(response)

        def is_over(state):
            error = state.outcome.exception()
            self.was_connected = self.was_connected or not (error and is_unsent(error))
            patience = self.patience if self.was_connected else min(FIRST_PATIENCE, self.patience)
            return tenacity.stop_before_delay(patience)(state)

        def attempt():
            if on_write:
                on_write(True)
            try:
                response = HTTPAdapter.send(self, request, **options)
                whole = not options.get("stream") or (observe and LOG_STREAM not in path)
                if whole or response.status_code in TRANSIENT:
                    response.content  # noqa: B018 - a truncated body fails here
            except requests.RequestException as error:
                if observe:
                    observe(request, error)
                raise
            if observe and LOG_STREAM not in path:
                observe(request, response)
            kind = response.headers.get("Content-Type", "")
            if not options.get("stream") and "application/json" in kind:
                leave_out_nulls(response)
            return response

        retry = tenacity.Retrying(
            retry=is_transient,
            wait=choose_pause,
            stop=is_over,
            before_sleep=lambda state: announce(state.next_action.sleep),
            retry_error_callback=lambda state: state.outcome.result(),
        )
        return retry(attempt)


def is_unsent(error: BaseException) -> bool:
    """Whether a request failed before anything was sent.

    True where the name was not found, the connection was refused or timed out, to the
    service or to a proxy, where the proxy made none, and for a wrong certificate.
    """
    cause = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)  # of urllib3's MaxRetryError
    cause = getattr(cause, "original_error", cause)  # of its ProxyError
    if isinstance(cause, urllib3.exceptions.SSLError) and cause.args:
        cause = cause.args[0]
    unsent = urllib3.exceptions.ConnectTimeoutError, ssl.SSLCertVerificationError
    return isinstance(cause, unsent) or str(cause).startswith("Tunnel connection failed")


def choose_pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: those of Retry-After, one at least, else doubling ones."""
    if not state.outcome.failed:
        requested = state.outcome.result().headers.get("Retry-After")
        with contextlib.suppress(urllib3.exceptions.InvalidHeader):
            if requested:
                return max(2 * BACK_OFF, Retry().parse_retry_after(requested))
    return back_off(state.attempt_number - 1)


def back_off(num_failures: int) -> float:
    """Seconds to wait after a failure: they double with each earlier one, up to half a minute."""
    return min(30, BACK_OFF * 2**num_failures)


def pause(num_failures: int) -> None:
    """Wait after a failure."""
    announce(seconds := back_off(num_failures))
    time.sleep(seconds)


def announce(seconds: float) -> None:
    """Print that we wait, if it is long enough to be noticed."""
    if seconds >= 4:
        print(f"no answer; trying again in {seconds:.0f} s", file=sys.stderr)


def observe_stream(response: requests.Response, content: bytes) -> None:
    """Let the observer see the first lines that were read of a stream.

    All of it, a few hundred times in a run, would fill the observer's file.
    """
    if observe:
        start = content[:STREAM_START]
        response._content = start[: start.rfind(b"\n") + 1]
        observe(response.request, response)


def leave_out_nulls(response: requests.Response) -> None:
    """Let fields that are null be absent, as protobuf's JSON means them.

    The official client fails on a null list or status; an absent one has its default.
    """

    def drop(pairs):
        return {name: value for name, value in pairs if value is not None}

    with contextlib.suppress(ValueError):  # no JSON: the official client says so
        content = json.loads(response.content, object_pairs_hook=drop)
        response._content = json.dumps(content).encode()


class WrongAnswer(requests.ConnectionError):
    """Something else than what was asked for, in words: a web page, another part of a file."""


def is_web_page(response: requests.Response) -> bool:
    """Whether a web page came instead of an answer, or instead of a file of another type.

    The store for files acknowledges an upload with an empty page, and may refuse with one.
    """
    request = response.request
    if "text/html" not in response.headers.get("Content-Type", ""):
        return False
    if request.method == "POST" or not response.ok:
        return request.method == "POST"
    if request.method == "PUT":
        return bool(response.content)
    return not is_page_name(urllib.parse.urlsplit(request.url).path)


def is_page_name(name: str) -> bool:
    """Whether a file of this name is a web page itself, such as __results__.html."""
    return name.lower().endswith((".html", ".htm"))


def mount(connection: requests.Session, adapter: Transport) -> requests.Session:
    """Let a connection use our transport, and return it."""
    for scheme in ("https://", "http://"):
        connection.mount(scheme, adapter)
    return connection
