"""The service's kernels: versions are saved, run, and their output is listed."""

import json
import re
import shutil
from pathlib import Path

from slugify import slugify

from pcam_kaggle.system.paths import COMPETITION

from .judge import make_number
from .service import ALIVE, Refusal, Service, check_name, turn_page
from .sessions import Session

MAX_SOURCE = 1_000_000  # bytes
MAX_SECONDS = 12 * 3600  # of a session
MAX_SESSIONS = 2  # at a time with a GPU
SENT = ("slug", "newTitle", "text")  # what GetKernel shows in other words


def save_kernel(service: Service, user: str, request: dict) -> dict:
    """A new version, queued and started."""
    text, title = request.get("text", ""), request.get("newTitle", "")
    if len(text.encode("utf-8")) >= MAX_SOURCE:
        raise Refusal(400, "The kernel source must be less than 1 megabytes in size.")
    timeout = request.get("sessionTimeoutSeconds", MAX_SECONDS)
    if not 0 < timeout <= MAX_SECONDS:
        raise Refusal(400, f"Expected: a time-out of 1 to {MAX_SECONDS} s. Received: {timeout}")
    ref = request.get("slug", "")
    if not ref.startswith(f"{user}/"):
        return {"error": "Kernel not found"}
    if ref not in service.state["kernels"]:  # Kaggle files a new kernel by its title
        ref = f"{user}/{check_name(slugify(title))}"
    mounts, invalid = find_mounts(service, user, request)
    active = [s for s in service.sessions.values() if s.status in ALIVE]
    if request.get("enableGpu") and len(active) >= MAX_SESSIONS:
        return {"error": f"Maximum batch GPU session count of {MAX_SESSIONS} reached."}
    kernel = service.state["kernels"].setdefault(ref, {"title": title, "versions": []})
    number = len(kernel["versions"]) + 1
    folder = locate_version(service, ref, number)
    shutil.rmtree(folder, ignore_errors=True)
    session = Session(
        folder, text, mounts, timeout, service.python, ended=lambda: service.refresh(ref, number)
    )
    service.sessions[ref, number] = session
    kernel["versions"].append({"request": request, "status": "QUEUED", "failure": "", "log": []})
    session.thread.start()
    service.save()
    return {
        "ref": f"/code/{ref}",
        "url": f"{service.url}/code/{ref}",
        "versionNumber": number,
        "kernelId": make_number(ref),
        **invalid,
    }


def locate_version(service: Service, ref: str, number: int) -> Path:
    """The folder of a version."""
    return service.folder / "kernels" / ref / f"v{number}"


def find_mounts(
    service: Service, user: str, request: dict
) -> tuple[dict[str, Path], dict[str, list]]:
    """What is mounted in the input folder; the unknown sources, which leave the request."""
    mounts, invalid = {}, {}
    for kind in ("competition", "dataset", "kernel", "model"):
        name = f"{kind}DataSources"
        for source in request.get(name, []):
            found = find_mount(service, user, kind, source)
            mounts.update(found)
            if not found:
                invalid.setdefault(f"invalid{kind.capitalize()}Sources", []).append(source)
                request[name] = [known for known in request[name] if known != source]
    return mounts, invalid


def find_mount(service: Service, user: str, kind: str, source: str) -> dict[str, Path]:
    """The place and the folder of a source; {} for an unknown one and another user's."""
    if kind == "competition" and source == COMPETITION:
        return {f"competitions/{source}": service.data}
    if kind == "dataset" and source in service.state["datasets"] and source.startswith(f"{user}/"):
        return {f"datasets/{source}": service.folder / "datasets" / source}
    ref = "/".join(source.split("/")[:2])
    if kind == "kernel" and ref in service.state["kernels"] and ref.startswith(f"{user}/"):
        number = len(service.state["kernels"][ref]["versions"])  # the latest output
        return {ref.split("/")[1]: locate_version(service, ref, number) / "working"}
    return {}


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
    number = int(label[1:]) if re.fullmatch("v[0-9]{1,9}", label) else 0
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
            **{name: value for name, value in sent.items() if name not in SENT},
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


def list_output(service: Service, user: str, request: dict) -> tuple[dict, dict[str, Path], dict]:
    """A version's state, a page of its files by name, and the next page."""
    ref, number, version = find_version(service, user, request)
    working = locate_version(service, ref, number) / "working"
    if version["status"] in ALIVE:
        return version, {}, {}
    if (ref, number) not in service.outputs:  # which do not change any more
        service.outputs[ref, number] = sorted(filter(Path.is_file, working.rglob("*")))
    page, token = turn_page(service.outputs[ref, number], request)
    return version, {path.relative_to(working).as_posix(): path for path in page}, token


def list_kernel_session_output(service: Service, user: str, request: dict) -> dict:
    """The URLs of the output's files, and the log."""
    version, page, token = list_output(service, user, request)
    kernels = service.folder / "kernels"
    files = [
        {"fileName": name, "url": service.sign("file", path.relative_to(kernels).as_posix())}
        for name, path in page.items()
    ]
    return {"files": files, "log": json.dumps(version["log"]), **token}


def list_kernel_files(service: Service, user: str, request: dict) -> dict:
    """The names and sizes of the output's files."""
    _, page, token = list_output(service, user, request)
    files = [{"name": name, "size": path.stat().st_size} for name, path in page.items()]
    return {"files": files, **token}
