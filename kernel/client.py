"""Kaggle's official client with what it lacks: time-outs, retries, clear errors.

The only module that imports kaggle. KAGGLE_API_ENVIRONMENT=LOCALHOST with HTTP_PROXY
on 127.0.0.1 points it at a server that stands in for Kaggle, such as our sandbox.
"""

import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import time
import urllib.parse
import zipfile

import requests
import tenacity
import urllib3
from kagglesdk.kaggle_env import KaggleEnv
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from .metadata import find_credentials_folder

TIMEOUT = (10, 60)  # seconds to connect, and of silence
PATIENCE = 300  # seconds that one call is repeated for
BACK_OFF = 0.5  # seconds before the second try; doubles, to half a minute
PASSING = (429, 500, 502, 503, 504)  # HTTP status of errors that pass
# Repeating these would push, submit or create twice.
WRITES = ("SaveKernel", "CreateSubmission", "CreateDataset")
LOG_STREAM = "/kernels/logs/stream/"
SERVICES = {
    "kernels": "kernels_api",
    "competitions": "competition_api",
    "datasets": "dataset_api",
    "blobs": "blob_api",
}
THREE_WAYS = """\
Any one of these provides them:
  1. kaggle auth login, which opens the browser once;
  2. kaggle.json, from kaggle.com/settings, in {folder};
  3. KAGGLE_USERNAME and KAGGLE_KEY (or KAGGLE_API_TOKEN) in the environment."""


class KaggleError(OSError):
    """What Kaggle refused or failed to do; `status` is its HTTP status or None."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class LostAnswer(KaggleError):
    """A write was sent and its answer did not arrive: it may have been carried out."""


@contextlib.contextmanager
def importing():
    """Let kaggle be imported without a request, its help text, or its debug log.

    Its import authenticates: it would print 18 lines where there are no credentials,
    ask the service where there is a token, without a time-out, and under VERBOSE log
    every header.
    """

    def refuse(*args, **options):
        raise requests.ConnectionError("no request while kaggle is imported")

    for name in ("VERBOSE", "VERBOSE_OUTPUT"):
        os.environ.pop(name, None)
    send, requests.Session.send = requests.Session.send, refuse
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except OSError as error:
        raise KaggleError(
            f"the kaggle client cannot make its settings folder: {error}. Expected: a "
            "home folder, or KAGGLE_CONFIG_DIR, that can be written."
        ) from None
    finally:
        requests.Session.send = send


with importing():
    from kaggle.api.kaggle_api_extended import KaggleApi


class Transport(HTTPAdapter):
    """Sends requests with a time-out, and again after errors that pass.

    Reads are repeated after a lost connection, silence, 429, 5xx and a web page in
    the place of an answer; writes only after 429, which says that nothing was done.
    Retry-After is honoured. After PATIENCE seconds the last outcome stands. The log of
    a running session is asked for once.
    """

    def send(self, request, **options):
        options["timeout"] = options.get("timeout") or TIMEOUT
        path = urllib.parse.urlsplit(request.url).path
        write = path.rsplit("/", 1)[-1] in WRITES

        def passes(state):
            if LOG_STREAM in path:  # the next look at the session asks again
                return False
            if state.outcome.failed:
                error = state.outcome.exception()
                return not write and isinstance(error, requests.RequestException)
            response = state.outcome.result()
            if write:
                return response.status_code == 429
            return response.status_code in PASSING or is_web_page(response)

        def send_once():
            response = HTTPAdapter.send(self, request, **options)
            if not options.get("stream") or response.status_code in PASSING:
                response.content  # noqa: B018 - a body that is cut fails here
            return response

        again = tenacity.Retrying(
            retry=passes,
            wait=wait_as_asked,
            stop=tenacity.stop_before_delay(PATIENCE),
            before_sleep=say_pause,
            retry_error_callback=lambda state: state.outcome.result(),
        )
        return again(send_once)


def wait_as_asked(state):
    """Seconds to the next try: what Retry-After asks for, else doubling ones."""
    if not state.outcome.failed:
        asked = state.outcome.result().headers.get("Retry-After")
        with contextlib.suppress(urllib3.exceptions.InvalidHeader):
            if asked:
                return Retry().parse_retry_after(asked)
    return min(30, BACK_OFF * 2 ** (state.attempt_number - 1))


def say_pause(state):
    """Say that we wait, where it is long enough to be noticed."""
    pause = state.next_action.sleep
    if pause >= 4:
        print(f"no answer; trying again in {pause:.0f} s", file=sys.stderr)


def is_web_page(response):
    """Whether a call was answered by a web page: a captive portal, maintenance."""
    call = response.request.method == "POST"
    return call and "text/html" in response.headers.get("Content-Type", "")


class Api(KaggleApi):
    """The official client on our transport, with the credentials that it found."""

    def __init__(self):
        super().__init__()
        self.config_values = {}
        self.config = str(find_credentials_folder() / self.config_file)
        self.token_refused = False

    def build_kaggle_client(self):
        local = os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST"
        values = self.config_values
        client = self.build_kaggle_client_with_params(
            ["--local"] if local else [],
            username=values.get(self.CONFIG_NAME_USER),
            password=values.get(self.CONFIG_NAME_KEY),
            api_token=values.get(self.CONFIG_NAME_TOKEN),
        )
        http = client.http_client()
        if "LEGACY" in values.get(self.CONFIG_NAME_AUTH_METHOD, ""):
            http._signed_in = True  # or a stale access_token would be sent instead
        http._init_session()
        if http._signed_in and http._session.auth is None:
            login = values[self.CONFIG_NAME_USER], values[self.CONFIG_NAME_KEY]
            http._session.auth = login
        mount(http._session)
        return client

    def _introspect_token(self, access_token):
        try:
            username = super()._introspect_token(access_token)
        except requests.HTTPError as error:
            if error.response.status_code != 401:
                raise
            username = None
        self.token_refused = username is None  # the other ways are tried
        return username


def mount(session):
    """The session, on our transport."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, Transport())
    return session


class Client:
    """An authenticated connection to Kaggle, or to what stands in for it.

    Attributes:
        service: str, "Kaggle" or "sandbox".
        username: str, the owner of the credentials.
        pace: float, 1 on Kaggle; times between two looks are multiplied by it.

    Raises:
        KaggleError: no credentials, refused ones, or a service that is not reached.
    """

    def __init__(self):
        self.service = check_environment()
        self.pace = 1 if self.service == "Kaggle" else 0.02
        self.api = Api()
        try:
            with contextlib.redirect_stdout(io.StringIO()), explaining("the log-in"):
                self.api.authenticate()
        except SystemExit:
            found = "an access token that was refused, no other"
            raise KaggleError(
                f"{found if self.api.token_refused else 'no'} Kaggle credentials "
                f"found. {THREE_WAYS.format(folder=find_credentials_folder())}"
            ) from None
        self.username = self.api.config_values[self.api.CONFIG_NAME_USER]
        self.kaggle = self.api.build_kaggle_client()
        self.files = mount(requests.Session())  # signed addresses need no credentials

    def call(self, service, method, **fields):
        """One typed call of kagglesdk, such as call("kernels", "get_kernel", ...).

        Args:
            service: str, a key of SERVICES.
            method: str, the method's name in kagglesdk.
            fields: the fields of its request; enums by name, objects as dicts.

        Returns:
            The typed response.

        Raises:
            LostAnswer: a write whose answer was lost.
            KaggleError: any other failure, with its HTTP status.
        """
        stem = SERVICES[service]
        types = importlib.import_module(f"kagglesdk.{service}.types.{stem}_service")
        camel_case = method.title().replace("_", "")
        request = getattr(types, f"Api{camel_case}Request")()
        known = {field.field_name: field for field in request._fields}
        for name, value in fields.items():
            read = known[name].serializer.from_dict_value
            setattr(request, name, read(known[name].field_type, value))
        client = getattr(getattr(self.kaggle, service), f"{stem}_client")
        with explaining(camel_case):
            return getattr(client, method)(request)

    def call_pages(self, service, method, field, **fields):
        """The items of a paged answer's `field`, page after page, 200 a page."""
        token = ""
        while True:
            page = self.call(service, method, page_size=200, page_token=token, **fields)
            yield from getattr(page, field) or []
            following, token = token, page.next_page_token
            if not token:
                return
            if token == following:
                raise KaggleError(f"{method}: the same page came again; try later")

    def save_kernel(self, folder, timeout):
        """Push a folder as `kaggle kernels push -p folder -t timeout` does.

        Returns:
            ApiSaveKernelResponse; its `error` and `invalid_*_sources` may be set.
        """
        with explaining("SaveKernel"), contextlib.redirect_stdout(io.StringIO()):
            return self.api.kernels_push(str(folder), timeout=str(timeout))

    def read_live_log(self, kernel_id, version):
        """The lines that a running session has logged; [] where none are given.

        The service streams them, from the first one on each time, and does not end:
        what comes before a pause, or within ten of them, is taken.
        """
        pause = 0.2 + 2 * self.pace
        http = self.kaggle.http_client()
        content = b""
        with contextlib.suppress(
            requests.RequestException, urllib3.exceptions.HTTPError
        ):
            response = http._session.get(
                http._get_request_url("kernels", f"logs/stream/{kernel_id}"),
                params={"versionLabel": f"v{version}"},
                headers={"Accept": "text/event-stream, */*"},
                stream=True,
                timeout=(TIMEOUT[0], pause),
            )
            kind = response.headers.get("Content-Type", "")
            until = time.monotonic() + 10 * pause
            with contextlib.closing(response):
                while "text/event-stream" in kind and time.monotonic() < until:
                    content += (chunk := response.raw.read1(65_536))
                    if not chunk:
                        break
        whole_lines = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")
        texts = []
        for line in whole_lines.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # no log entry
                texts.append(str(json.loads(line.removeprefix("data: "))["data"]))
        return "".join(texts).splitlines()

    def upload(self, path, service, method, **fields):
        """Upload a file to where a call, which takes `fields`, says that it goes.

        Returns:
            str, the token that stands for the file in the call that uses it.
        """
        stat = path.stat()
        place = self.call(
            service,
            method,
            content_length=stat.st_size,
            last_modified_epoch_seconds=int(stat.st_mtime),
            **fields,
        )
        with explaining(f"the upload of {path.name}"):
            answer = self.files.put(place.create_url, data=path.read_bytes())
            answer.raise_for_status()
        return place.token

    def download(self, source, path):
        """Write the body of a response, or of an address, to a new file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with explaining(f"the download of {path.name}"):
            if isinstance(source, str):
                source = self.files.get(source, stream=True)
            source.raise_for_status()
            self.api.download_file(source, str(path), None, quiet=True)

    def download_data_file(self, competition, file_name, path):
        """Download one file of a competition, unwrapped where Kaggle zips it."""
        response = self.call(
            "competitions",
            "download_data_file",
            competition_name=competition,
            file_name=file_name,
        )
        self.download(response, path)
        if zipfile.is_zipfile(path):
            wrapped = path.with_name(f"{path.name}.zip")
            os.replace(path, wrapped)
            with zipfile.ZipFile(wrapped) as archive:
                member = archive.open(archive.namelist()[0])
                with member, open(path, "wb") as file:
                    shutil.copyfileobj(member, file)
            wrapped.unlink()


@contextlib.contextmanager
def explaining(what):
    """Turn what the client raises into a KaggleError in plain words.

    The words never carry an address: those of files are signed.
    """
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        message = f"{what}: {say_status(status, str(error))}"
        lost = what in WRITES and status >= 500
        raise (LostAnswer if lost else KaggleError)(message, status) from None
    except requests.RequestException as error:
        if isinstance(error, requests.Timeout):
            message = f"{what}: no answer within {TIMEOUT[1]} s"
        elif isinstance(error, requests.JSONDecodeError):
            message = f"{what}: the answer is no JSON"
        else:
            message = f"{what}: the connection failed ({type(error).__name__})"
        message += ". Is the network up? The same command goes on from here."
        raise (LostAnswer if what in WRITES else KaggleError)(message) from None
    except json.JSONDecodeError:
        message = (
            f"{what}: a web page came instead of an answer. Does this network ask for "
            "a log-in, or is the service down? The same command goes on from here."
        )
        raise (LostAnswer if what in WRITES else KaggleError)(message) from None
    except (KeyError, TypeError) as error:
        raise KaggleError(
            f"{what}: the answer is not one this kaggle client knows ({error}); "
            "python -m pip install --upgrade kaggle"
        ) from error


def say_status(status, message):
    """An HTTP status in words, with what can be done."""
    if "://" in message:  # requests' own text, which quotes the address
        message = ""
    hints = {
        401: "the credentials were refused. "
        + THREE_WAYS.format(folder=find_credentials_folder()),
        403: "not allowed. For a competition: join it and accept its rules on its page "
        "first. For a kernel: is the name right, is it yours?",
        404: "not found. Is the name right?",
        429: "too many requests; wait a while",
    }
    hint = hints.get(status, "try later" if status >= 500 else "refused")
    return f"HTTP {status}{', ' + message if message else ''}: {hint}"


def check_environment():
    """Which service the environment names: "Kaggle" or "sandbox".

    Raises:
        KaggleError: a name that the client would ignore and go to Kaggle, or a proxy
            on another machine, which would be sent the credentials.
    """
    name = os.environ.get("KAGGLE_API_ENVIRONMENT", "")
    if name in ("", KaggleEnv.PROD.name):
        return "Kaggle"
    if name != "LOCALHOST":
        raise KaggleError(
            "KAGGLE_API_ENVIRONMENT: expected LOCALHOST (a server on this machine) or "
            f"nothing (Kaggle). Received: {name!r}"
        )
    proxy = requests.utils.get_environ_proxies("http://localhost").get("http", "")
    if proxy and urllib.parse.urlsplit(proxy).hostname not in (
        "127.0.0.1",
        "localhost",
    ):
        raise KaggleError(
            "HTTP_PROXY: with KAGGLE_API_ENVIRONMENT=LOCALHOST expected a server on "
            "this machine, http://127.0.0.1:PORT. Received another host."
        )
    return "sandbox"
