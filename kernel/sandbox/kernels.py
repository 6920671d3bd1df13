"""The service's kernels: versions are saved, run, and their output is listed."""

import json
import shutil
from pathlib import Path

from slugify import slugify

from pcam_kaggle.system.paths import COMPETITION

from .judge import number_team
from .service import ALIVE, Refusal, Service, turn_page
from .sessions import Session

MAX_SOURCE = 1_000_000  # bytes
SOURCES = ("competition", "dataset", "kernel", "model")
MAX_SESSIONS = 2  # at a time with a GPU
COPIED = (
    *("language", "kernelType", "isPrivate", "enableGpu", "enableInternet"),
    *("machineShape", "datasetDataSources", "kernelDataSources"),
    *("competitionDataSources", "modelDataSources"),
)


def save_kernel(service: Service, user: str, request: dict) -> dict:
    """A new version, queued and started."""
    text, title = request.get("text", ""), request.get("newTitle", "")
    if len(text.encode("utf-8")) >= MAX_SOURCE:
        raise Refusal(400, "The kernel source must be less than 1 megabytes in size.")
    owner, _, slug = request.get("slug", "").partition("/")
    if owner != user:
        return {"error": "Kernel not found"}
    ref = f"{owner}/{slug}"
    if ref not in service.state["kernels"]:
        ref = f"{owner}/{slugify(title)}"  # Kaggle files a new kernel by its title
    mounts, invalid = find_mounts(service, request)
    active = [s for s in service.sessions.values() if s.status in ALIVE]
    if request.get("enableGpu") and len(active) >= MAX_SESSIONS:
        return {"error": f"Maximum batch GPU session count of {MAX_SESSIONS} reached."}
    kernel = service.state["kernels"].setdefault(ref, {"title": title, "versions": []})
    number = len(kernel["versions"]) + 1
    folder = locate_version(service, ref, number)
    shutil.rmtree(folder, ignore_errors=True)
    timeout = request.get("sessionTimeoutSeconds")
    session = Session(folder, text, mounts, timeout, service.python)
    service.sessions[ref, number] = session
    dropped = {name: set(sources) for name, sources in invalid.items()}
    for kind in SOURCES:  # a version's metadata name what it runs with
        name = f"{kind}DataSources"
        if name in request:
            unknown = dropped.get(f"invalid{kind.capitalize()}Sources", set())
            request[name] = [source for source in request[name] if source not in unknown]
    kernel["versions"].append({"request": request, "status": "QUEUED", "failure": "", "log": []})
    session.thread.start()
    service.save()
    return {
        "ref": f"/code/{ref}",
        "url": f"{service.url}/code/{ref}",
        "versionNumber": number,
        "kernelId": number_team(ref),
        **invalid,
    }


def locate_version(service: Service, ref: str, number: int) -> Path:
    """The folder of a version."""
    return service.folder / "kernels" / ref / f"v{number}"


def find_mounts(service: Service, request: dict) -> tuple[dict[str, Path], dict[str, list]]:
    """What is mounted in the input folder, and the unknown sources by kind."""
    finders = {
        "competition": mount_competition,
        "dataset": mount_dataset,
        "kernel": mount_kernel,
        "model": lambda service, source: {},
    }
    mounts, invalid = {}, {}
    for kind, find in finders.items():
        for source in request.get(f"{kind}DataSources", []):
            found = find(service, source)
            mounts.update(found)
            if not found:
                answer = f"invalid{kind.capitalize()}Sources"
                invalid.setdefault(answer, []).append(source)
    return mounts, invalid


def mount_competition(service: Service, source: str) -> dict[str, Path]:
    """The mount of a competition, or {} for an unknown one."""
    return {f"competitions/{source}": service.data} if source == COMPETITION else {}


def mount_dataset(service: Service, source: str) -> dict[str, Path]:
    """The mount of a dataset, or {} for an unknown one."""
    folder = service.folder / "datasets" / source
    return {f"datasets/{source}": folder} if source in service.state["datasets"] else {}


def mount_kernel(service: Service, source: str) -> dict[str, Path]:
    """The mount of the latest output of a kernel, or {} for an unknown one."""
    owner, slug = source.split("/")[:2]
    ref = f"{owner}/{slug}"
    number = len(service.state["kernels"].get(ref, {"versions": []})["versions"])
    return {slug: locate_version(service, ref, number) / "working"} if number else {}


def find_version(service: Service, user: str, request: dict) -> tuple[str, int, dict]:
    """The kernel, the number and the state of the requested version.

    Raises:
        Refusal: 403 for another's kernel or none, 404 for no such version.
    """
    ref = f"{request.get('userName')}/{request.get('kernelSlug')}"
    if ref not in service.state["kernels"] or not ref.startswith(f"{user}/"):
        raise Refusal(403, "Permission 'kernels.get' was denied")
    versions = service.state["kernels"][ref]["versions"]
    label = request.get("versionLabel", f"v{len(versions)}")
    if not (label[:1] == "v" and label[1:].isdigit()):
        raise Refusal(404, "Not found")
    number = int(label[1:])
    if not 1 <= number <= len(versions):
        raise Refusal(404, "Not found")
    return ref, number, service.refresh(ref, number)


def get_kernel(service: Service, user: str, request: dict) -> dict:
    """A version's text and inputs."""
    ref, _, version = find_version(service, user, request)
    sent, kernel = version["request"], service.state["kernels"][ref]
    return {
        "metadata": {
            "ref": ref,
            "title": kernel["title"],
            "author": user,
            "slug": ref.split("/")[1],
            "currentVersionNumber": len(kernel["versions"]),
            **{name: sent[name] for name in COPIED if name in sent},
        },
        "blob": {"source": sent.get("text", ""), "slug": ref.split("/")[1]},
    }


def get_kernel_session_status(service: Service, user: str, request: dict) -> dict:
    """A version's state."""
    _, _, version = find_version(service, user, request)
    answer = {"status": version["status"]}
    if version["failure"]:
        answer["failureMessage"] = version["failure"]
    return answer


def list_output(
    service: Service, user: str, request: dict
) -> tuple[dict, list[tuple[str, Path]], dict]:
    """A version's state, a page of its files as names and paths, and the next page."""
    ref, number, version = find_version(service, user, request)
    working = locate_version(service, ref, number) / "working"
    if version["status"] in ALIVE:
        return version, [], {}
    if (ref, number) not in service.outputs:  # which do not change any more
        files = sorted(path for path in working.rglob("*") if path.is_file())
        service.outputs[ref, number] = files
    page, token = turn_page(service.outputs[ref, number], request)
    return version, [(p.relative_to(working).as_posix(), p) for p in page], token


def list_kernel_session_output(service: Service, user: str, request: dict) -> dict:
    """The URLs of the output's files, and the log."""
    version, page, token = list_output(service, user, request)
    kernels = service.folder / "kernels"
    files = [
        {"fileName": name, "url": service.sign("file", path.relative_to(kernels).as_posix())}
        for name, path in page
    ]
    return {"files": files, "log": json.dumps(version["log"]), **token}


def list_kernel_files(service: Service, user: str, request: dict) -> dict:
    """The names and sizes of the output's files."""
    _, page, token = list_output(service, user, request)
    files = [{"name": name, "size": path.stat().st_size} for name, path in page]
    return {"files": files, **token}
