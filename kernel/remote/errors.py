"""What Kaggle refuses or fails to do, as errors in plain words."""

import contextlib
import json
from collections.abc import Iterator

import requests

from ..credentials import find_credentials_folder
from . import transport

UNCLEAR = (302, 408, 409, 425)  # HTTP status that do not say that nothing was done
CREDENTIALS_HELP = """\
Any one of these provides them:
  1. kaggle auth login, which opens the browser once;
  2. kaggle.json, from kaggle.com/settings, in {folder};
  3. KAGGLE_USERNAME and KAGGLE_KEY (or KAGGLE_API_TOKEN) in the environment."""


class KaggleError(OSError):
    """What Kaggle refused or failed to do; `status` is its HTTP status or None."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class LostAnswer(KaggleError):
    """A write whose answer did not arrive or cannot be read: it may have been carried out.

    Not raised where no connection was made: then nothing was sent.
    """


@contextlib.contextmanager
def explaining(what: str) -> Iterator[None]:
    """Turn what the official client raises into a KaggleError in plain words.

    The words never include a URL: those of files are signed.
    """
    kind = LostAnswer if what in transport.WRITES else KaggleError
    try:
        yield
    except requests.HTTPError as error:
        status = find_status(error.response)
        message = f"{what}: {explain_status(status, str(error))}"
        unclear = status >= 500 or status in UNCLEAR
        raise (kind if unclear else KaggleError)(message, status) from None
    except requests.RequestException as error:
        message = f"{what}: {describe_failure(error)}"
        raise (KaggleError if transport.is_unsent(error) else kind)(message) from None
    except json.JSONDecodeError:
        raise kind(f"{what}: {transport.WEB_PAGE}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise kind(
            f"{what}: this version of the kaggle client does not know the answer "
            f"({error}). Try: the same command again, then python -m pip install --upgrade kaggle"
        ) from error


def find_status(response: requests.Response) -> int:
    """The HTTP status of an error, which may stand in the body of an HTTP 200."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return int(response.json()["code"])
    return response.status_code


def describe_failure(error: requests.RequestException) -> str:
    """What went wrong with a request, without its URL."""
    if isinstance(error, transport.WrongAnswer):
        return str(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.ReadTimeout):
        text = "no answer in time"
    elif isinstance(error, requests.JSONDecodeError):
        text = "the answer is not JSON"
    else:
        text = f"the connection failed ({type(error).__name__})"
    return f"{text}. Is the network up? The same command resumes from here."


def explain_status(status: int, message: str) -> str:
    """An HTTP status in words, with what can be done."""
    if "://" in message:  # requests' own text, which quotes the URL
        message = ""
    hints = {
        401: "the credentials were refused. " + explain_credentials(),
        403: "not allowed. For a competition: join it and accept its rules on its page "
        "first. For a kernel: is the name right, is it yours?",
        404: "not found. Is the name right?",
        429: "too many requests; wait a while",
    }
    hint = hints.get(status, "try later" if status >= 500 else "refused")
    return f"HTTP {status}{', ' + message if message else ''}: {hint}"


def explain_credentials() -> str:
    """The three ways to provide credentials."""
    return CREDENTIALS_HELP.format(folder=find_credentials_folder())
