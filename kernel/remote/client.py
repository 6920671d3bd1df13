"""Kaggle's official client with what it lacks: time-outs, retries, clear errors."""

import contextlib
import functools
import importlib
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import urllib3

from pcam_kaggle.system.files import write_beside

from .api import Api, check_environment
from .errors import KaggleError, explain_credentials, explaining
from .fetch import PLAIN, FileBody, fetch, unwrap
from .log import LogEntry, read_entry
from .transport import WEB_PAGE, Transport, WrongAnswer, is_web_page, mount, observe_stream

SERVICES = {
    "kernels": "kernels_api",
    "competitions": "competition_api",
    "datasets": "dataset_api",
    "blobs": "blob_api",
}
# Raised by a line that is not a log entry.
NO_ENTRY = (ValueError, KeyError, TypeError, RecursionError)


class Client:
    """An authenticated connection to Kaggle, or to what stands in for it.

    Args:
        timeout, patience: as `Transport` takes them.

    Attributes:
        service: str, "Kaggle" or "sandbox".
        site: str, the URL under which its pages are.
        username: str, the owner of the credentials.
        pace: float, 1 on Kaggle; pauses between requests are multiplied by it.

    Raises:
        KaggleError: no credentials, refused ones, or a service that is not reached.
    """

    def __init__(self, timeout: tuple[float, float] | None = None, patience: float | None = None):
        self.service, self.site = check_environment()
        self.pace = 1 if self.service == "Kaggle" else 0.02
        self.transport = Transport(timeout, patience)
        self.api = Api(self.transport)
        try:
            with contextlib.redirect_stdout(io.StringIO()), explaining("the log-in"):
                self.api.authenticate()
        except SystemExit:
            found = "an access token that was refused, no other"
            raise KaggleError(
                f"{found if self.api.token_refused else 'no'} Kaggle credentials "
                f"found. {explain_credentials()}"
            ) from None
        self.username = self.api.config_values[self.api.CONFIG_NAME_USER]
        self.kaggle = self.api.build_kaggle_client()
        self.files = mount(requests.Session(), self.transport)  # signed URLs need no credentials

    def call(self, service: str, method: str, **fields):
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

    def call_pages(self, service: str, method: str, field: str, **fields) -> Iterator:
        """The items of a paged answer's `field`, page after page, 200 a page.

        Raises:
            KaggleError: a page that was there before, or what `call` raises.
        """
        token, seen = "", set()
        while True:
            page = self.call(service, method, page_size=200, page_token=token, **fields)
            yield from getattr(page, field) or []
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                raise KaggleError(f"{method}: received the same page twice; try later")
            seen.add(token)

    def save_kernel(self, folder: Path, timeout: int):
        """Push a folder as `kaggle kernels push -p folder -t timeout` does.

        Returns:
            ApiSaveKernelResponse; its `error` and `invalid_*_sources` may be set.

        Raises:
            LostAnswer: the answer was lost.
            KaggleError: any other failure.
        """
        try:
            with explaining("SaveKernel"), contextlib.redirect_stdout(io.StringIO()):
                return self.api.kernels_push(str(folder), timeout=str(timeout))
        except ValueError as error:  # the official client's own checks, before its request
            raise KaggleError(
                "SaveKernel: the kaggle client refused the push, and nothing was sent. Received: "
                f"{error}. Try: correct that and push again"
            ) from None

    def read_live_log(self, kernel_id: str, version: int) -> list[LogEntry]:
        """What a running kernel has logged, in pieces; [] where there is nothing.

        The service streams them from the first one, each time, and does not end: we
        read up to a pause, or for the length of ten pauses.
        """
        pause = 0.2 + 2 * self.pace
        http = self.kaggle.http_client()
        content = b""
        with contextlib.suppress(requests.RequestException, urllib3.exceptions.HTTPError):
            response = http._session.get(
                http._get_request_url("kernels", f"logs/stream/{kernel_id}"),
                params={"versionLabel": f"v{version}"},
                headers={"Accept": "text/event-stream, */*"},
                stream=True,
                timeout=(self.transport.timeout[0], pause),
            )
            kind = response.headers.get("Content-Type", "")
            until = time.monotonic() + 10 * pause
            with contextlib.closing(response):
                try:
                    while "text/event-stream" in kind and time.monotonic() < until:
                        content += (chunk := response.raw.read1(65_536))
                        if not chunk:
                            break
                finally:
                    observe_stream(response, content)
        whole_lines = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")
        entries = []
        for line in whole_lines.splitlines():
            with contextlib.suppress(*NO_ENTRY):
                event = json.loads(line.removeprefix("data: "))
                if event["data"] is not None:
                    entries.append(read_entry(event))
        return entries

    def upload(
        self,
        path: Path,
        service: str,
        method: str,
        count: Callable[[int], None] = lambda size: None,
        **fields,
    ) -> str:
        """Upload a file to the URL that a call returns.

        Args:
            path: Path of the file.
            count: as `FileBody` takes it.
            service, method, fields: the call that returns the URL, as `call` takes it.

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
            answer = self.files.put(place.create_url, data=FileBody(path, count))
            answer.raise_for_status()
            if is_web_page(answer):
                raise WrongAnswer(WEB_PAGE)
        return place.token

    def download(
        self,
        source: str | Callable[[], requests.Response],
        path: Path,
        unzip: bool = False,
        name: str | None = None,
    ) -> None:
        """Download a file, whole or not at all. What was cut is continued.

        Args:
            source: a URL, or a function that asks for the file and returns the response.
            path: Path of the file; an earlier one is replaced.
            unzip: bool, whether a zip is replaced by the file in it.
            name: str, what errors call the file; None for the name of `path`.

        Raises:
            KaggleError: a web page in the place of the file, a damaged zip, or what
                `call` raises.
            OSError: the disk is full.
        """
        name, ask = name or path.name, source
        if isinstance(source, str):
            ask = functools.partial(self.files.get, source, headers=PLAIN, stream=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with explaining(f"the download of {name}"), write_beside(path) as partial:
            fetch(self.files, ask, lambda size, tag: partial)
            if unzip:
                unwrap(partial, name)

    def download_data_file(self, competition: str, file_name: str, path: Path) -> None:
        """Download one file of a competition, unzipped where Kaggle zips it."""
        fields = {"competition_name": competition, "file_name": file_name}
        ask = functools.partial(self.call, "competitions", "download_data_file", **fields)
        self.download(ask, path, unzip=True, name=file_name)
