"""The service's datasets, made of uploaded files."""

from .service import Refusal, Service, check_name
from .submissions import find_upload


def create_dataset(service: Service, user: str, request: dict) -> dict:
    """A dataset of uploaded files."""
    owner, slug = request.get("ownerSlug", ""), check_name(request.get("slug", ""))
    if owner != user:
        raise Refusal(403, "Permission 'datasets.create' was denied")
    ref = f"{owner}/{slug}"
    if ref in service.state["datasets"]:
        return {"error": f"The requested title {request.get('title')!r} is in use"}
    files = [find_upload(service, file.get("token")) for file in request.get("files", [])]
    folder = service.folder / "datasets" / ref
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        (folder / name).write_bytes(content)
    hidden = ("files", "directories")
    service.state["datasets"][ref] = {k: v for k, v in request.items() if k not in hidden}
    service.save()
    return {"ref": f"/datasets/{ref}", "status": "ok"}


def check_dataset(service: Service, user: str, request: dict) -> str:
    """The name of a dataset of the user's.

    Raises:
        Refusal: 403, there is none.
    """
    ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug')}"
    if ref not in service.state["datasets"] or not ref.startswith(f"{user}/"):
        raise Refusal(403, "Permission 'datasets.get' was denied")
    return ref


def get_dataset_status(service: Service, user: str, request: dict) -> dict:
    """Whether a dataset is unpacked."""
    check_dataset(service, user, request)
    return {"status": "READY"}


def list_dataset_files(service: Service, user: str, request: dict) -> dict:
    """A dataset's files."""
    folder = service.folder / "datasets" / check_dataset(service, user, request)
    paths = sorted(folder.iterdir())
    return {"datasetFiles": [{"name": p.name, "totalBytes": p.stat().st_size} for p in paths]}
