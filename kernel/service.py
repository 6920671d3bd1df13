"""What Kaggle answers: kernels, competition, submissions, boards, datasets."""

import io
import json
import pathlib
import secrets
import shutil
import threading
import urllib.parse
import zipfile

from slugify import slugify

from pcam_kaggle.paths import COMPETITION, find_data, write_beside

from .judge import DAILY_SUBMISSIONS, Judge, number_team
from .sessions import Session, utc_now

MAX_SOURCE = 1_000_000  # bytes
MAX_SESSIONS = 2  # at a time with a GPU
GPU_HOURS = 30  # a week


class Refusal(Exception):
    """An error that the service answers with."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Service:
    """The sandbox's kernels, datasets and submissions, kept in a folder.

    Each method of the protocol takes the user's name and the request as a dict, and
    returns the answer: a dict, an address to go to (str), or bytes.

    Args:
        data, solution, folder, teams, deadline, python: as `Sandbox` takes them.
        username: str, the user that a token stands for.

    Raises:
        FileNotFoundError, ValueError: data or a solution that is none.
    """

    def __init__(self, data, solution, folder, teams, deadline, username, python):
        self.data = find_data(data).absolute()
        self.judge = Judge(solution, teams, deadline)
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.username, self.python, self.url = username, python, ""
        self.key = secrets.token_hex(16)
        self.signature = secrets.token_hex(8)  # of the addresses of files
        self.state = {"kernels": {}, "datasets": {}, "submissions": []}
        self.blobs, self.sessions, self.outputs = {}, {}, {}
        self.lock = threading.RLock()
        self.load()

    def load(self):
        """Go on with what an earlier sandbox left in the folder."""
        path = self.folder / "state.json"
        if path.exists():
            self.state = json.loads(path.read_text("utf-8"))
        for kernel in self.state["kernels"].values():
            for version in kernel["versions"]:
                if version["status"] in ("QUEUED", "RUNNING"):
                    version["status"] = "CANCEL_ACKNOWLEDGED"

    def save(self):
        """Keep the state on disk."""
        with self.lock, write_beside(self.folder / "state.json") as partial:
            for key in list(self.sessions):
                self.refresh(*key)
            partial.write_text(json.dumps(self.state), "utf-8")

    def refresh(self, ref, number):
        """A version's record, brought up to date with its session."""
        version = self.state["kernels"][ref]["versions"][number - 1]
        session = self.sessions.get((ref, number))
        if session:
            version.update(
                status=session.status, failure=session.failure, log=list(session.log)
            )
        return version

    def close(self):
        """Stop every session and keep what they came to."""
        for session in self.sessions.values():
            session.stop()
        self.save()

    def introspect_token(self, user, request):
        """security.OAuthService/IntrospectToken."""
        active = secrets.compare_digest(request.get("token", ""), self.key)
        return {"active": active, "username": self.username if active else ""}

    def get_accelerator_quota_statistics(self, user, request):
        """The week's GPU hours, as many as sessions have run here."""
        used = int(sum(session.seconds for session in self.sessions.values()))
        return {
            "gpuQuota": {
                "timeUsed": f"{used}s",
                "totalTimeAllowed": f"{GPU_HOURS * 3600}s",
                "hasEverRun": bool(self.sessions),
            }
        }

    def save_kernel(self, user, request):
        """A new version, queued and started."""
        text, title = request.get("text", ""), request.get("newTitle", "")
        if len(text.encode("utf-8")) >= MAX_SOURCE:
            raise Refusal(
                400, "The kernel source must be less than 1 megabytes in size."
            )
        owner, _, slug = request.get("slug", "").partition("/")
        if owner != user:
            return {"error": "Kernel not found"}
        ref = f"{owner}/{slug}"
        if ref not in self.state["kernels"]:
            ref = f"{owner}/{slugify(title)}"  # Kaggle files a new kernel by its title
        mounts, invalid = self.find_mounts(request)
        active = [
            s for s in self.sessions.values() if s.status in ("QUEUED", "RUNNING")
        ]
        if request.get("enableGpu") and len(active) >= MAX_SESSIONS:
            return {
                "error": f"Maximum batch GPU session count of {MAX_SESSIONS} reached."
            }
        kernel = self.state["kernels"].setdefault(ref, {"title": title, "versions": []})
        number = len(kernel["versions"]) + 1
        folder = self.folder / "kernels" / ref / f"v{number}"
        shutil.rmtree(folder, ignore_errors=True)
        timeout = request.get("sessionTimeoutSeconds")
        session = Session(folder, text, mounts, timeout, self.python)
        self.sessions[ref, number] = session
        kernel["versions"].append(
            {"request": request, "status": "QUEUED", "failure": "", "log": []}
        )
        session.thread.start()
        self.save()
        return {
            "ref": f"/code/{ref}",
            "url": f"{self.url}/code/{ref}",
            "versionNumber": number,
            "kernelId": number_team(ref),
            **invalid,
        }

    def find_mounts(self, request):
        """What stands under the input folder, and the sources that are not known."""
        mounts, invalid = {}, {}

        def add(kind, answer, find):
            for source in request.get(kind, []):
                found = find(source)
                if found:
                    mounts.update(found)
                else:
                    invalid.setdefault(answer, []).append(source)

        def find_competition(source):
            return (
                {f"competitions/{source}": self.data} if source == COMPETITION else {}
            )

        def find_dataset(source):
            folder = self.folder / "datasets" / source
            known = source in self.state["datasets"]
            return {f"datasets/{source}": folder} if known else {}

        def find_kernel(source):
            owner, slug = source.split("/")[:2]
            versions = self.state["kernels"].get(f"{owner}/{slug}", {"versions": []})
            number = len(versions["versions"])
            folder = self.folder / "kernels" / owner / slug / f"v{number}" / "working"
            return {slug: folder} if number else {}

        add("competitionDataSources", "invalidCompetitionSources", find_competition)
        add("datasetDataSources", "invalidDatasetSources", find_dataset)
        add("kernelDataSources", "invalidKernelSources", find_kernel)
        add("modelDataSources", "invalidModelSources", lambda source: {})
        return mounts, invalid

    def find_version(self, user, request):
        """The record and the number of the version that is asked for.

        Raises:
            Refusal: 403 for another's kernel or none, 404 for no such version.
        """
        ref = f"{request.get('userName')}/{request.get('kernelSlug')}"
        if ref not in self.state["kernels"] or not ref.startswith(f"{user}/"):
            raise Refusal(403, "Permission 'kernels.get' was denied")
        versions = self.state["kernels"][ref]["versions"]
        label = request.get("versionLabel", f"v{len(versions)}")
        if not (label[:1] == "v" and label[1:].isdigit()):
            raise Refusal(404, "Not found")
        number = int(label[1:])
        if not 1 <= number <= len(versions):
            raise Refusal(404, "Not found")
        return ref, number, self.refresh(ref, number)

    def get_kernel(self, user, request):
        """A version's text and inputs."""
        ref, number, version = self.find_version(user, request)
        sent = version["request"]
        copied = ("language", "kernelType", "isPrivate", "enableGpu", "enableInternet")
        copied += ("machineShape", "datasetDataSources", "kernelDataSources")
        copied += ("competitionDataSources", "modelDataSources")
        return {
            "metadata": {
                "ref": ref,
                "title": self.state["kernels"][ref]["title"],
                "author": user,
                "slug": ref.split("/")[1],
                "currentVersionNumber": len(self.state["kernels"][ref]["versions"]),
                **{name: sent[name] for name in copied if name in sent},
            },
            "blob": {"source": sent.get("text", ""), "slug": ref.split("/")[1]},
        }

    def get_kernel_session_status(self, user, request):
        """A version's state."""
        _, _, version = self.find_version(user, request)
        answer = {"status": version["status"]}
        if version["failure"]:
            answer["failureMessage"] = version["failure"]
        return answer

    def list_output(self, user, request):
        """Names and paths of a finished version's files, one page, and the next."""
        ref, number, version = self.find_version(user, request)
        working = self.folder / "kernels" / ref / f"v{number}" / "working"
        if version["status"] in ("QUEUED", "RUNNING"):
            return version, [], {}
        if (ref, number) not in self.outputs:  # which grow no more
            files = sorted(path for path in working.rglob("*") if path.is_file())
            self.outputs[ref, number] = files
        page, token = turn_page(self.outputs[ref, number], request)
        return version, [(path.relative_to(working), path) for path in page], token

    def list_kernel_session_output(self, user, request):
        """The output's addresses and the log."""
        version, page, token = self.list_output(user, request)
        kernels = self.folder / "kernels"
        files = [
            {
                "fileName": name.as_posix(),
                "url": f"{self.url}/file/{self.signature}/"
                + urllib.parse.quote(path.relative_to(kernels).as_posix()),
            }
            for name, path in page
        ]
        return {"files": files, "log": json.dumps(version["log"]), **token}

    def list_kernel_files(self, user, request):
        """The output's names and sizes."""
        _, page, token = self.list_output(user, request)
        files = [
            {"name": name.as_posix(), "size": path.stat().st_size}
            for name, path in page
        ]
        return {"files": files, **token}

    def get_competition(self, user, request):
        """The competition."""
        self.check_competition(request)
        return self.judge.describe(self.state["submissions"])

    def check_competition(self, request):
        """Refuse any other competition."""
        if request.get("competitionName") != COMPETITION:
            raise Refusal(404, "Not found")

    def list_data_files(self, user, request):
        """The competition's files, page by page."""
        self.check_competition(request)
        files = [path for path in self.data.rglob("*") if path.is_file()]
        files.sort(key=lambda path: (len(path.parts), path))
        page, more = turn_page(files, request)
        names = [path.relative_to(self.data).as_posix() for path in page]
        sizes = [path.stat().st_size for path in page]
        shown = [{"name": n, "totalBytes": size} for n, size in zip(names, sizes)]
        return {"files": shown, **more}

    def download_data_file(self, user, request):
        """One file of the competition: its address."""
        self.check_competition(request)
        name = request.get("fileName", "")
        path = (self.data / name).resolve()
        if not path.is_file() or self.data.resolve() not in path.parents:
            raise Refusal(404, "Not found")
        return f"{self.url}/data/{self.signature}/{urllib.parse.quote(name)}"

    def get_submission_limits(self, user, request):
        """How many submissions the user has left today."""
        today = utc_now()[:10]
        count = sum(
            s["submittedBy"] == user and s["date"][:10] == today
            for s in self.state["submissions"]
        )
        left = max(0, DAILY_SUBMISSIONS - count)
        return {"numToday": count, "numTotal": count, "numAllowedNow": left}

    def start_upload(self, user, request):
        """Where a file is to be put."""
        token = secrets.token_hex(8)
        name = request.get("fileName") or request.get("name", "file")
        self.blobs[token] = {"name": pathlib.PurePosixPath(name).name, "content": None}
        return {"token": token, "createUrl": f"{self.url}/upload/{token}"}

    def take_blob(self, token):
        """An uploaded file's name and content."""
        blob = self.blobs.get(token)
        if blob is None or blob["content"] is None:
            raise Refusal(400, "The file was not uploaded")
        return blob["name"], blob["content"]

    def create_submission(self, user, request):
        """Take a submission and score it."""
        self.check_competition(request)
        name, content = self.take_blob(request.get("blobFileTokens"))
        if not self.get_submission_limits(user, request)["numAllowedNow"]:
            raise Refusal(400, "You have reached the daily submission limit")
        ref = len(self.state["submissions"]) + 1
        submission = {
            "ref": ref,
            "date": utc_now(),
            "description": request.get("submissionDescription", ""),
            "fileName": name,
            "totalBytes": len(content),
            "submittedBy": user,
            "teamName": user,
            "late": self.judge.closed,
            "scores": {},
            "errorDescription": "",
        }
        try:
            submission["scores"] = self.judge.score(content)
        except ValueError as error:
            submission["errorDescription"] = str(error)
        (self.folder / "submissions").mkdir(exist_ok=True)
        (self.folder / "submissions" / f"{ref}.csv").write_bytes(content)
        self.state["submissions"].append(submission)
        self.save()
        return {"message": "Successfully submitted", "ref": ref}

    def show_submission(self, submission):
        """A submission as the service tells it; private scores after the deadline."""
        hidden = ("late", "scores")
        shown = {k: v for k, v in submission.items() if k not in hidden and v != ""}
        scores = submission["scores"]
        shown["status"] = "COMPLETE" if scores else "ERROR"
        for part, visible in (("Public", True), ("Private", self.judge.closed)):
            if visible and part in scores:
                shown[f"{part.lower()}Score"] = f"{scores[part]:.4f}"
        return shown

    def get_submission(self, user, request):
        """One submission."""
        for submission in self.state["submissions"]:
            mine = submission["submittedBy"] == user
            if mine and submission["ref"] == request.get("ref"):
                return self.show_submission(submission)
        raise Refusal(404, "Not found")

    def list_submissions(self, user, request):
        """The user's submissions, newest first."""
        self.check_competition(request)
        mine = [s for s in self.state["submissions"] if s["submittedBy"] == user]
        page, more = turn_page(mine[::-1], request)
        return {"submissions": [self.show_submission(s) for s in page], **more}

    def get_leaderboard(self, user, request):
        """The private board once it is open, else, or if asked for, the public one."""
        self.check_competition(request)
        private = self.judge.closed and not request.get("overridePublic")
        part = self.judge.parts[-1] if private else "Public"
        rows = self.judge.rank_teams(self.state["submissions"], part)
        names = ("teamId", "teamName", "score", "submissionDate")
        page, more = turn_page([dict(zip(names, row)) for row in rows], request)
        return {"submissions": page, **more}

    def download_leaderboard(self, user, request):
        """The public board as a zipped CSV."""
        self.check_competition(request)
        lines = [
            "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,"
            "TeamMemberUserNames"
        ]
        rows = self.judge.rank_teams(self.state["submissions"], "Public")
        for rank, (number, name, score, date) in enumerate(rows, 1):
            lines.append(f"{rank},{number},{name},{date},{score},1,{name}")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            name = f"{COMPETITION}-publicleaderboard.csv"
            archive.writestr(name, "\n".join(lines) + "\n")
        return content.getvalue()

    def create_dataset(self, user, request):
        """A dataset of uploaded files."""
        ref = f"{request.get('ownerSlug')}/{request.get('slug')}"
        if ref.split("/")[0] != user:
            raise Refusal(403, "Permission 'datasets.create' was denied")
        if ref in self.state["datasets"]:
            return {"error": f"The requested title {request.get('title')!r} is in use"}
        folder = self.folder / "datasets" / ref
        folder.mkdir(parents=True, exist_ok=True)
        for file in request.get("files", []):
            name, content = self.take_blob(file["token"])
            (folder / name).write_bytes(content)
        kept = {k: v for k, v in request.items() if k != "files"}
        self.state["datasets"][ref] = kept
        self.save()
        return {"ref": f"/datasets/{ref}", "status": "ok"}

    def find_dataset(self, user, request):
        """A dataset's name."""
        ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug')}"
        if ref not in self.state["datasets"]:
            raise Refusal(403, "Permission 'datasets.get' was denied")
        return ref

    def get_dataset_status(self, user, request):
        """Whether a dataset is unpacked."""
        self.find_dataset(user, request)
        return {"status": "READY"}

    def list_dataset_files(self, user, request):
        """A dataset's files."""
        folder = self.folder / "datasets" / self.find_dataset(user, request)
        return {
            "datasetFiles": [
                {"name": path.name, "totalBytes": path.stat().st_size}
                for path in sorted(folder.iterdir())
            ]
        }


METHODS = {
    "IntrospectToken": Service.introspect_token,
    "GetAcceleratorQuotaStatistics": Service.get_accelerator_quota_statistics,
    "SaveKernel": Service.save_kernel,
    "GetKernel": Service.get_kernel,
    "GetKernelSessionStatus": Service.get_kernel_session_status,
    "ListKernelSessionOutput": Service.list_kernel_session_output,
    "ListKernelFiles": Service.list_kernel_files,
    "GetCompetition": Service.get_competition,
    "ListDataFiles": Service.list_data_files,
    "DownloadDataFile": Service.download_data_file,
    "GetSubmissionLimits": Service.get_submission_limits,
    "StartSubmissionUpload": Service.start_upload,
    "CreateSubmission": Service.create_submission,
    "GetSubmission": Service.get_submission,
    "ListSubmissions": Service.list_submissions,
    "GetLeaderboard": Service.get_leaderboard,
    "DownloadLeaderboard": Service.download_leaderboard,
    "StartBlobUpload": Service.start_upload,
    "CreateDataset": Service.create_dataset,
    "GetDatasetStatus": Service.get_dataset_status,
    "ListDatasetFiles": Service.list_dataset_files,
}


def turn_page(items, request):
    """The items of the page asked for, and the token of the next one as a dict."""
    size = min(request.get("pageSize", 20), 200)
    start = int(request.get("pageToken") or 0)
    token = {"nextPageToken": str(start + size)} if items[start + size :] else {}
    return items[start : start + size], token
