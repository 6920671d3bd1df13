"""The service's competition, submissions, boards and datasets."""

import datetime
import io
import pathlib
import secrets
import shutil

import pandas as pd

from pcam_kaggle.system.paths import COMPETITION

from .service import ARCHIVE, FILE, Refusal, Service, check_name, describe_files, turn_page
from .sessions import list_files

DAILY_SUBMISSIONS = 5
BOARD = ["Rank", "TeamId", "TeamName", "LastSubmissionDate", "Score", "SubmissionCount"]
BOARD += ["TeamMemberUserNames"]


def get_competition(service: Service, user: str, request: dict) -> dict:
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
    paths = sorted(list_files(service.data), key=lambda path: (len(path.parts), path))
    page, more = turn_page(paths, request)
    return {"files": describe_files(page, service.data, "totalBytes"), **more}


def download_data_file(service: Service, user: str, request: dict) -> str:
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
    count = sum(s["date"].startswith(today) for s in list_own(service, user))
    left = max(0, DAILY_SUBMISSIONS - count)
    return {"numToday": count, "numTotal": count, "numAllowedNow": left}


def start_upload(service: Service, user: str, request: dict) -> dict:
    """Where a file is to be uploaded to."""
    token = secrets.token_hex(8)
    name = pathlib.PurePosixPath(request.get("fileName") or request.get("name", "file")).name
    service.uploads[token] = service.folder / "uploads" / token / check_name(name, FILE)
    service.uploads[token].parent.mkdir(parents=True)
    return {"token": token, "createUrl": f"{service.url}/upload/{token}"}


start_submission_upload = start_blob_upload = start_upload


def find_upload(service: Service, token: str | None) -> pathlib.Path:
    """An uploaded file, or a Refusal."""
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
    shutil.copyfile(path, service.folder / "submissions" / f"{ref}.csv")
    service.state["submissions"].append(submission)
    service.save()
    return {"message": "Successfully submitted", "ref": ref}


def utc_now() -> str:
    """The time as the service writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def list_own(service: Service, user: str) -> list[dict]:
    """A user's submissions, oldest first."""
    return [s for s in service.state["submissions"] if s["submittedBy"] == user]


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
    own = {submission["ref"]: submission for submission in list_own(service, user)}
    if request.get("ref") not in own:
        raise Refusal(404, "Not found")
    return show_submission(service, own[request["ref"]])


def list_submissions(service: Service, user: str, request: dict) -> dict:
    """The user's submissions, newest first."""
    page, more = turn_page(list_own(service, user)[::-1], request)
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
    rows = service.judge.rank_teams(service.state["submissions"], "Public")
    table = pd.DataFrame(rows, columns=["TeamId", "TeamName", "Score", "LastSubmissionDate"])
    table = table.assign(
        Rank=table.index + 1, SubmissionCount=1, TeamMemberUserNames=table.TeamName
    )
    archive = {"method": "zip", "archive_name": f"{COMPETITION}-publicleaderboard.csv"}
    content = io.BytesIO()
    table[BOARD].to_csv(content, index=False, lineterminator="\n", compression=archive)
    return content.getvalue()


def create_dataset(service: Service, user: str, request: dict) -> dict:
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
    """The name of a dataset of the user's, or a Refusal."""
    ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug')}"
    if not service.owns(user, "datasets", ref):
        raise Refusal(403, "Permission 'datasets.get' was denied")
    return ref


def get_dataset_status(service: Service, user: str, request: dict) -> dict:
    """Whether a dataset is unpacked."""
    check_dataset(service, user, request)
    return {"status": "READY"}


def list_dataset_files(service: Service, user: str, request: dict) -> dict:
    folder = service.folder / "datasets" / check_dataset(service, user, request)
    return {"datasetFiles": describe_files(sorted(folder.iterdir()), folder, "totalBytes")}
