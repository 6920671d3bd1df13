"""The competition as the service knows it, and whether the account has joined it."""

from pcam_kaggle.system.paths import COMPETITION

from .client import Client
from .errors import KaggleError

PAGE = f"https://www.kaggle.com/c/{COMPETITION}"


class NotJoined(KaggleError):
    """The account has not accepted the competition's rules."""

    def __init__(self, username: str):
        super().__init__(
            f"{username} has not joined {COMPETITION}. Expected: an account that has accepted "
            f"its rules. Received: one that has not. Try: accept them at {PAGE}/rules, then the "
            "same command",
            403,
        )


def check_joined(client: Client):
    """The competition (ApiCompetition), if the account has joined it.

    Raises:
        NotJoined: it has not; names the rules page.
        KaggleError: any other failure.
    """
    try:
        competition = client.call("competitions", "get_competition", competition_name=COMPETITION)
    except KaggleError as error:
        if error.status == 403:
            raise NotJoined(client.username) from None
        raise
    if not competition.user_has_entered:
        raise NotJoined(client.username)
    return competition
