"""What Kaggle answers to a push, inside an HTTP 200: accepted, refused, or no free GPU."""

from pcam_kaggle.system.paths import COMPETITION

from .client import Client
from .errors import KaggleError, LostAnswer


class GpuBusy(KaggleError):
    """All GPUs that the account may use at once are taken."""


def check_answer(answer: object, metadata: dict, client: Client) -> None:
    """Refuse an answer that says, inside an HTTP 200, that the push went wrong.

    Raises:
        GpuBusy: the account's GPUs are taken.
        LostAnswer: it has no version number.
        KaggleError: all else.
    """
    error = answer.error or ""
    if "Maximum batch" in error:
        raise GpuBusy(f"{client.service} says: {error}")
    if "not found" in error:
        raise KaggleError(
            f"{client.service} says: {error} Expected: a kernel of {client.username}, "
            f"whose credentials these are. Received: {metadata['id']}. Try: the "
            "credentials of its owner"
        )
    if error:
        raise KaggleError(f"{client.service} refused the push: {error}")
    check_inputs(answer, metadata, client.service)
    version = answer.version_number
    if type(version) is not int or version < 1:
        raise LostAnswer("the answer to the push has no version number.")
    where = (answer.ref or answer.url or "").rstrip("/")
    slug = metadata["id"].split("/")[1]
    if where and not where.split("?")[0].endswith(slug):
        raise KaggleError(
            f"{client.service} filed the kernel under another name. Expected: "
            f"{metadata['id']}. Received: {where}. Try: rename or delete the other kernel "
            "of that title on kaggle.com"
        )


def check_inputs(answer: object, metadata: dict, service: str) -> None:
    """Refuse an answer that leaves out inputs of the kernel.

    Raises:
        KaggleError: names the inputs.
    """
    invalid = [
        f"{kind}: {', '.join(sources)}"
        for kind, sources in {
            "competition": answer.invalid_competition_sources,
            "dataset": answer.invalid_dataset_sources,
            "kernel": answer.invalid_kernel_sources,
            "model": answer.invalid_model_sources,
        }.items()
        if sources
    ]
    if invalid:
        raise KaggleError(
            f"{service} does not know all inputs of {metadata['id']}. Expected: the "
            f"competition {COMPETITION}, joined on its page, and datasets of your own or "
            f"public ones. Received: {'; '.join(invalid)}. Version {answer.version_number} "
            "runs without them and will fail. Try: correct that and push again"
        )
