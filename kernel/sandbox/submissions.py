"""The service's competition, submissions, boards and datasets."""

import csv
import io
import pathlib
import secrets
import shutil
import zipfile

from pcam_kaggle.system.paths import COMPETITION

from .service import ARCHIVE, FILE, Refusal, Service, check_name, turn_page
from .sessions import list_files, utc_now

DAILY_SUBMISSIONS = 5
BOARD = ("Rank", "TeamId", "TeamName", "LastSubmissionDate", "Score", "SubmissionCount")
BOARD += ("TeamMemberUserNames",)


def get_competition(service: Service, user: str, request: dict) -> dict:
    """The competition."""
    deadline = service.judge.deadline
    return {
        "id": 11848,
        "ref": f"https://www.kaggle.com/competitions/{COMPETITION}",
        "title": "Histopathologic Cancer Detection",
        **({"deadline": f"{deadline.isoformat()}Z"} if deadline else {}),
        "teamCount": len(service.judge.rank_teams(service.state["submissions"], "Public")),
        "userHasEntered": True,
        "maxDailySubmissions": DAILY_SUBMISSIONS,
        "isKernelsSubmissionsOnly": False,
        "submissionsDisabled": False,
        "evaluationMetric": "AUC - ROC",
    }


def list_data_files(service: Service, user: str, request: dict) -> dict:
    """The competition's files, page by page."""
    files = sorted(list_files(service.data), key=lambda path: (len(path.parts), path))
    page, more = turn_page(files, request)
    names = [(path, path.relative_to(service.data).as_posix()) for path in page]
    return {"files": [{"name": n, "totalBytes": p.stat().st_size} for p, n in names], **more}


def download_data_file(service: Service, user: str, request: dict) -> str:
    """The URL of one file of the competition."""
    name = request.get("fileName", "")
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or not service.data.joinpath(path).is_file() or ".." in path.parts:
        raise Refusal(404, "Not found")
    return service.sign("data", name)


def download_data_files(service: Service, user: str, request: dict) -> str:
    """The URL of all files of the competition as one archive."""
    return service.sign("data", ARCHIVE)


def get_submission_limits(service: Service, user: str, request: dict) -> dict:
    """How many submissions the user has left today."""
    today = utc_now()[:10]
    count = sum(
        kept["submittedBy"] == user and kept["date"][:10] == today
        for kept in service.state["submissions"]
    )
    left = max(0, DAILY_SUBMISSIONS - count)
    return {"numToday": count, "numTotal": count, "numAllowedNow": left}


def start_upload(service: Service, user: str, request: dict) -> dict:
    """Where a file is to be uploaded to."""
    token = secrets.token_hex(8)
    name = pathlib.PurePosixPath(request.get("fileName") or request.get("name", "file")).name
    service.uploads[token] = service.folder / "uploads" / token / check_name(name, FILE)
    service.uploads[token].parent.mkdir(parents=True)
    return {"token": token, "createUrl": f"{service.url}/upload/{token}"}


def find_upload(service: Service, token: str | None) -> pathlib.Path:
    """An uploaded file.

    Raises:
        Refusal: 400, it was not uploaded.
    """
    path = service.uploads.get(token)
    if path is None or not path.is_file():
        raise Refusal(400, "The file was not uploaded")
    return path


def create_submission(service: Service, user: str, request: dict) -> dict:
    """Take a submission and score it."""
    path = find_upload(service, request.get("blobFileTokens"))
    if not get_submission_limits(service, user, request)["numAllowedNow"]:
        raise Refusal(400, "You have reached the daily submission limit")
    ref = len(service.state["submissions"]) + 1
    try:
        scores, problem = service.judge.score(path.read_bytes()), ""
    except ValueError as error:
        scores, problem = {}, str(error)
    submission = {
        "ref": ref,
        "date": utc_now(),
        "description": request.get("submissionDescription", ""),
        "fileName": path.name,
        "totalBytes": path.stat().st_size,
        "submittedBy": user,
        "teamName": user,
        "late": service.judge.closed,
        "scores": scores,
        "errorDescription": problem,
    }
    folder = service.folder / "submissions"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(path, folder / f"{ref}.csv")
    service.state["submissions"].append(submission)
    service.save()
    return {"message": "Successfully submitted", "ref": ref}


def show_submission(service: Service, submission: dict) -> dict:
    """A submission as the service answers it; private scores after the deadline."""
    hidden = ("late", "scores")
    shown = {k: v for k, v in submission.items() if k not in hidden and v != ""}
    scores = submission["scores"]
    shown["status"] = "COMPLETE" if scores else "ERROR"
    for part, visible in (("Public", True), ("Private", service.judge.closed)):
        if visible and part in scores:
            shown[f"{part.lower()}Score"] = f"{scores[part]:.4f}"
    return shown


def get_submission(service: Service, user: str, request: dict) -> dict:
    """One submission."""
    for submission in service.state["submissions"]:
        if (submission["submittedBy"], submission["ref"]) == (user, request.get("ref")):
            return show_submission(service, submission)
    raise Refusal(404, "Not found")


def list_submissions(service: Service, user: str, request: dict) -> dict:
    """The user's submissions, newest first."""
    own = [s for s in service.state["submissions"] if s["submittedBy"] == user]
    page, more = turn_page(own[::-1], request)
    return {"submissions": [show_submission(service, s) for s in page], **more}


def get_leaderboard(service: Service, user: str, request: dict) -> dict:
    """The private board once it is open, else, or if asked for, the public one."""
    private = service.judge.closed and not request.get("overridePublic")
    part = service.judge.parts[-1] if private else "Public"
    rows = service.judge.rank_teams(service.state["submissions"], part)
    names = ("teamId", "teamName", "score", "submissionDate")
    page, more = turn_page([dict(zip(names, row)) for row in rows], request)
    return {"submissions": page, **more}


def download_leaderboard(service: Service, user: str, request: dict) -> bytes:
    """The public board as a zipped CSV."""
    table, content = io.StringIO(), io.BytesIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(BOARD)
    rows = service.judge.rank_teams(service.state["submissions"], "Public")
    for rank, (number, name, score, date) in enumerate(rows, 1):
        writer.writerow((rank, number, name, date, score, 1, name))
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{COMPETITION}-publicleaderboard.csv", table.getvalue())
    return content.getvalue()


def create_dataset(service: Service, user: str, request: dict) -> dict:
    """A dataset of uploaded files."""
    owner, slug = request.get("ownerSlug", ""), check_name(request.get("slug", ""))
    if owner != user:
        raise Refusal(403, "Permission 'datasets.create' was denied")
    ref = f"{owner}/{slug}"
    if ref in service.state["datasets"]:
        return {"error": f"The requested title {request.get('title')!r} is in use"}
    paths = {find_upload(service, file.get("token")) for file in request.get("files", [])}
    folder = service.folder / "datasets" / ref
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.replace(folder / path.name)
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
