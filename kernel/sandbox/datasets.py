"""The service's datasets, made of uploaded files."""

from .service import Refusal, Service
from .submissions import find_upload


def create_dataset(service: Service, user: str, request: dict) -> dict:
    """A dataset of uploaded files."""
    ref = f"{request.get('ownerSlug')}/{request.get('slug')}"
    if ref.split("/")[0] != user:
        raise Refusal(403, "Permission 'datasets.create' was denied")
    if ref in service.state["datasets"]:
        return {"error": f"The requested title {request.get('title')!r} is in use"}
    folder = service.folder / "datasets" / ref
    folder.mkdir(parents=True, exist_ok=True)
    for file in request.get("files", []):
        name, content = find_upload(service, file["token"])
        (folder / name).write_bytes(content)
    kept = {k: v for k, v in request.items() if k != "files"}
    service.state["datasets"][ref] = kept
    service.save()
    return {"ref": f"/datasets/{ref}", "status": "ok"}


def check_dataset(service: Service, request: dict) -> str:
    """A dataset's name.

    Raises:
        Refusal: 403, there is none.
    """
    ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug')}"
    if ref not in service.state["datasets"]:
        raise Refusal(403, "Permission 'datasets.get' was denied")
    return ref


def get_dataset_status(service: Service, user: str, request: dict) -> dict:
    """Whether a dataset is unpacked."""
    check_dataset(service, request)
    return {"status": "READY"}


def list_dataset_files(service: Service, user: str, request: dict) -> dict:
    """A dataset's files."""
    folder = service.folder / "datasets" / check_dataset(service, request)
    return {
        "datasetFiles": [
            {"name": path.name, "totalBytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
        ]
    }
