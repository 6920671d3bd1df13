"""The service's kernels: versions are saved, run, and their output is listed."""

import json
import re
import shutil
from pathlib import Path

from slugify import slugify

from pcam_kaggle.system.paths import COMPETITION

from .judge import make_number
from .service import Refusal, Service, check_name, describe_files, turn_page
from .sessions import ALIVE, Session

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
    own = [s for (ref, _), s in service.sessions.items() if ref.startswith(f"{user}/")]
    num_alive = sum(session.status in ALIVE for session in own)
    if request.get("enableGpu") and num_alive >= MAX_SESSIONS:
        return {"error": f"Maximum batch GPU session count of {MAX_SESSIONS} reached."}
    kernel = service.state["kernels"].setdefault(ref, {"title": title, "versions": []})
    kind = request.get("kernelType", "script")
    if any(v["request"].get("kernelType", "script") != kind for v in kernel["versions"]):
        return {"error": f"The type of {ref} cannot be changed to {kind}"}
    number = len(kernel["versions"]) + 1
    folder = locate_version(service, ref, number)
    shutil.rmtree(folder, ignore_errors=True)
    session = Session(
        folder,
        text,
        mounts,
        timeout,
        service.python,
        ended=lambda: service.refresh(ref, number),
        is_notebook=kind == "notebook",
    )
    service.sessions[ref, number] = session
    kernel["versions"].append({"request": request, "status": "QUEUED", "failure": "", "log": []})
    session.thread.start()
    service.save()
    answer = {"ref": f"/code/{ref}", "url": f"{service.url}/code/{ref}"}
    return {**answer, "versionNumber": number, "kernelId": make_number(ref), **invalid}


def locate_version(service: Service, ref: str, number: int) -> Path:
    return service.folder / "kernels" / ref / f"v{number}"


def find_mounts(service: Service, user: str, request: dict) -> tuple[dict[str, Path], dict]:
    """What is mounted in the input folder; the unknown sources, which leave the request."""
    mounts, invalid = {}, {}
    for kind in ("competition", "dataset", "kernel", "model"):
        sources = request.get(f"{kind}DataSources", [])
        found = {source: find_mount(service, user, kind, source) for source in sources}
        if None in found.values():
            invalid[f"invalid{kind.capitalize()}Sources"] = [s for s in sources if not found[s]]
            request[f"{kind}DataSources"] = [s for s in sources if found[s]]
        mounts.update(filter(None, found.values()))
    return mounts, invalid


def find_mount(service: Service, user: str, kind: str, source: str) -> tuple[str, Path] | None:
    """The place and the folder of a source; None for an unknown one and another user's."""
    ref = "/".join(source.split("/")[:2])
    if kind == "competition" and source == COMPETITION:
        return f"competitions/{source}", service.data
    if kind == "dataset" and service.owns(user, "datasets", source):
        return f"datasets/{source}", service.folder / "datasets" / source
    if kind == "kernel" and service.owns(user, "kernels", ref):
        number = len(service.state["kernels"][ref]["versions"])  # the latest output
        return ref.split("/")[1], locate_version(service, ref, number) / "working"
    return None


def find_version(service: Service, user: str, request: dict) -> tuple[str, int, dict]:
    """The kernel, the number and the state of the requested version, or a Refusal."""
    ref = f"{request.get('userName')}/{request.get('kernelSlug')}"
    if not service.owns(user, "kernels", ref):
        raise Refusal(403, "Permission 'kernels.get' was denied")
    versions = service.state["kernels"][ref]["versions"]
    label = request.get("versionLabel", f"v{len(versions)}")
    number = int(label[1:]) if re.fullmatch("v[0-9]{1,9}", label) else 0
    if not 1 <= number <= len(versions):
        raise Refusal(404, "Not found")
    return ref, number, service.refresh(ref, number)


def get_kernel(service: Service, user: str, request: dict) -> dict:
    ref, _, version = find_version(service, user, request)
    kernel, sent, slug = service.state["kernels"][ref], version["request"], ref.split("/")[1]
    metadata = {name: value for name, value in sent.items() if name not in SENT}
    metadata |= {"ref": ref, "title": kernel["title"], "author": user, "slug": slug}
    metadata["currentVersionNumber"] = len(kernel["versions"])
    return {"metadata": metadata, "blob": {"source": sent.get("text", ""), "slug": slug}}


def get_kernel_session_status(service: Service, user: str, request: dict) -> dict:
    _, _, version = find_version(service, user, request)
    failure = {"failureMessage": version["failure"]} if version["failure"] else {}
    return {"status": version["status"], **failure}


def list_output(service: Service, user: str, request: dict) -> tuple[list[Path], Path, list, dict]:
    """A page of a version's files, their folder, the log, and the next page's token."""
    ref, number, version = find_version(service, user, request)
    working = locate_version(service, ref, number) / "working"
    if version["status"] in ALIVE:
        return [], working, version["log"], {}
    if (ref, number) not in service.outputs:  # which do not change any more
        service.outputs[ref, number] = sorted(filter(Path.is_file, working.rglob("*")))
    page, token = turn_page(service.outputs[ref, number], request)
    return page, working, version["log"], token


def list_kernel_session_output(service: Service, user: str, request: dict) -> dict:
    """The URLs of the output's files, and the log."""
    page, working, log, token = list_output(service, user, request)
    names = [path.relative_to(working).as_posix() for path in page]
    root = working.relative_to(service.folder / "kernels").as_posix()
    files = [{"fileName": name, "url": service.sign("file", f"{root}/{name}")} for name in names]
    return {"files": files, "log": json.dumps(log), **token}


def list_kernel_files(service: Service, user: str, request: dict) -> dict:
    page, working, _, token = list_output(service, user, request)
    return {"files": describe_files(page, working, "size"), **token}
