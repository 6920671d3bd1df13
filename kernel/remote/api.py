"""The official client as Kaggle publishes it, quiet, on our transport.

The only module that imports kaggle. KAGGLE_API_ENVIRONMENT=LOCALHOST with HTTP_PROXY
on 127.0.0.1 points it at a server that stands in for Kaggle, such as our sandbox.
"""

import contextlib
import io
import os
import tempfile
import urllib.parse
from collections.abc import Iterator

import requests
from kagglesdk.kaggle_env import KaggleEnv

from ..credentials import find_credentials_folder
from .errors import KaggleError
from .transport import Transport, mount


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let kaggle be imported without a request, its help text, or its debug log.

    Its import authenticates: it would print 18 lines where there are no credentials,
    call the service where there is a token, without a time-out, and under VERBOSE log
    every header. A home that cannot be written has no settings, and needs none.
    """

    def refuse(*args, **options):
        raise requests.ConnectionError("no request while kaggle is imported")

    for name in ("VERBOSE", "VERBOSE_OUTPUT"):
        os.environ.pop(name, None)
    given = os.environ.get("KAGGLE_CONFIG_DIR")
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        try:
            # The client makes its folder, too, and fails if another command does so meanwhile.
            find_credentials_folder().mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if given:
                raise KaggleError(
                    f"the kaggle client cannot make its settings folder: {error}. Expected: a "
                    "KAGGLE_CONFIG_DIR that can be written."
                ) from None
            os.environ["KAGGLE_CONFIG_DIR"] = scratch
        original, requests.Session.send = requests.Session.send, refuse
        try:
            yield
        finally:
            requests.Session.send = original
            if not given:
                os.environ.pop("KAGGLE_CONFIG_DIR", None)


with importing():
    from kaggle.api.kaggle_api_extended import KaggleApi


class Api(KaggleApi):
    """The official client on our transport, with the credentials that it found."""

    def __init__(self, transport: Transport):
        super().__init__()
        for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
            if not os.environ[name]:  # a secret that a workflow's repository lacks
                del os.environ[name]
        self.transport = transport
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
            http._signed_in = True  # or a stale access_token would be used instead
        http._init_session()
        if http._signed_in and http._session.auth is None:
            login = values[self.CONFIG_NAME_USER], values[self.CONFIG_NAME_KEY]
            http._session.auth = login
        mount(http._session, self.transport)
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


def check_environment() -> tuple[str, str]:
    """Which service the environment names, "Kaggle" or "sandbox", and the URL of its pages.

    Raises:
        KaggleError: a name that the client would ignore and connect to Kaggle, or a
            proxy on another machine, which would receive the credentials.
    """
    name = os.environ.get("KAGGLE_API_ENVIRONMENT", "")
    if name in ("", KaggleEnv.PROD.name):
        return "Kaggle", "https://www.kaggle.com"
    if name != "LOCALHOST":
        raise KaggleError(
            "KAGGLE_API_ENVIRONMENT: expected LOCALHOST (a server on this machine) or "
            f"nothing (Kaggle). Received: {name!r}"
        )
    proxy = requests.utils.get_environ_proxies("http://localhost").get("http", "")
    if proxy and urllib.parse.urlsplit(proxy).hostname not in ("127.0.0.1", "localhost"):
        raise KaggleError(
            "HTTP_PROXY: with KAGGLE_API_ENVIRONMENT=LOCALHOST expected a server on "
            "this machine, http://127.0.0.1:PORT. Received: another host"
        )
    return "sandbox", proxy or "http://localhost"
