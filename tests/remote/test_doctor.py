"""The checks before a run: each on its own, none of them changes anything."""

import json
import shutil

import pytest

import build
from kernel.remote import doctor
from kernel.remote.client import Client
from kernel.remote.competition import NotJoined
from kernel.remote.doctor import run_checks
from kernel.remote.push import push_kernel
from kernel.remote.weights import publish_weights
from kernel.runs import list_runs
from kernel.sandbox.faults import Fault
from pcam_kaggle.models.transformer_settings import FOUNDATION

NAMES = ("credentials", "service", "competition", "account", "GPU hours", "submissions")
NAMES += ("weights", "versions", "disk")
READS = {"IntrospectToken", "GetCompetition", "GetAcceleratorQuotaStatistics"}
READS |= {"GetSubmissionLimits", "GetDatasetStatus"}
STRANGER = {"patch": {"userHasEntered": False}}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def weights(tmp_path):
    """A file that looks like the weights of the recipe fast."""
    path = tmp_path / "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n weights")
    return path


@pytest.fixture
def check(runs):
    """A function that runs the checks: each by its name."""

    def run(name="fast", **overrides):
        return {check.name: check for check in run_checks(name, overrides, runs)[1]}

    return run


def read_tree(folder):
    """The files and folders below a folder, with the bytes of files."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_doctor_says_all_in_ten_lines_and_fails_nothing(sandbox, runs, capsys):
    assert build.main(["doctor"]) == 0
    text, error = capsys.readouterr()
    lines = text.splitlines()
    assert len(lines) <= 10 and error == ""
    assert [line[6:].split("  ")[0].strip() for line in lines] == list(NAMES)
    assert "sandbox, by the access token of KAGGLE_API_TOKEN" in lines[0]
    assert "joined, takes submissions" in lines[2]
    assert "no GPU session yet; the service does not say" in lines[3]
    assert "kaggle.com/settings" in lines[3]
    assert "30.0 of 30 h left this week; fast takes about 0.5 h" in lines[4]
    assert "5 left today, 0 made" in lines[5]
    assert "over the internet" in lines[6]
    assert sandbox.service.key not in text


def test_doctor_sends_and_changes_nothing(sandbox, runs, tmp_path, weights):
    client = Client()
    publish_weights(client, "densenet121", weights, runs)
    push_kernel(client, "demo", runs=runs)
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    sandbox.service.save()
    before = [read_tree(tmp_path / name) for name in ("runs", "sandbox", "home")]
    state = json.dumps(sandbox.service.state)
    del sandbox.calls[:]
    assert build.main(["doctor"]) == build.main(["doctor", "--json"]) == 0
    assert set(sandbox.calls) == READS
    assert sandbox.calls.count("GetCompetition") == 2  # once for each of the two commands
    assert sandbox.calls.count("GetAcceleratorQuotaStatistics") == 2
    assert json.dumps(sandbox.service.state) == state
    assert [read_tree(tmp_path / name) for name in ("runs", "sandbox", "home")] == before


def test_doctor_makes_no_folder_of_runs(sandbox, runs):
    assert build.main(["doctor"]) == 0
    assert not runs.exists()


def test_json_is_one_object_with_stable_keys(sandbox, runs, capsys):
    sandbox.script("GetCompetition", Fault(**STRANGER))
    assert build.main(["doctor", "demo", "epochs=3", "--json"]) == 1
    text, error = capsys.readouterr()
    content = json.loads(text)
    assert list(content) == ["ok", "recipe", "service", "username", "checks"]
    assert content["ok"] is False and content["recipe"] == "demo"
    assert content["service"] == content["username"] == "sandbox"
    assert [check["name"] for check in content["checks"]] == list(NAMES)
    for found in content["checks"]:
        assert list(found) == ["name", "state", "found", "remedy"]
        assert found["state"] in ("ok", "warn", "fail", "skip")
        assert (found["remedy"] == "") == (found["state"] == "ok")
    assert error == "build.py: error: doctor: failed: competition\n"


def test_without_credentials_the_rest_is_said_all_the_same(home, runs, capsys):
    assert build.main(["doctor", "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["service"] is content["username"] is None
    states = {check["name"]: check["state"] for check in content["checks"]}
    assert states.pop("credentials") == "fail"
    assert states.pop("versions") == states.pop("disk") == "ok"
    assert set(states.values()) == {"skip"}
    assert {c["remedy"] for c in content["checks"] if c["state"] == "skip"} == {
        "fix the credentials first"
    }
    (found,) = [c for c in content["checks"] if c["name"] == "credentials"]
    assert found["found"] == "no Kaggle credentials found"
    assert "kaggle auth login" in found["remedy"]


@pytest.mark.parametrize("token", ["", "stale"])
def test_credentials_are_told_by_where_they_are(sandbox, home, check, monkeypatch, token):
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    folder = home / ".kaggle"
    folder.mkdir()
    content = {"username": "anna", "key": sandbox.service.key}
    (folder / "kaggle.json").write_text(json.dumps(content))
    (folder / "kaggle.json").chmod(0o600)
    if token:
        (folder / "access_token").write_text(token)
    found = check()["credentials"]
    assert found.found.startswith(f"anna, by {folder / 'kaggle.json'}")
    assert found.state == ("warn" if token else "ok")
    assert ("an access token was refused" in found.found) == bool(token)
    assert sandbox.service.key not in found.found


def test_a_refused_key_is_named_and_nothing_more_is_asked(sandbox, check, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    found = check()
    assert found["service"].state == "fail"
    assert "the credentials were refused" in found["service"].found
    assert found["submissions"].state == "skip"
    assert sandbox.calls == []  # what was refused is not counted


def test_a_service_that_is_down_is_given_up_within_seconds(sandbox, check, monkeypatch):
    monkeypatch.setattr("kernel.remote.transport.PATIENCE", 10_000)
    monkeypatch.setattr(doctor, "PATIENCE", 0.1)
    sandbox.script("GetCompetition", Fault(503, times=-1))
    found = check()
    assert found["service"].state == "fail" and "HTTP 503" in found["service"].found
    assert found["weights"].state == "skip" and found["disk"].state == "ok"


@pytest.mark.parametrize(
    "method, fault, name, state, text",
    [
        ("GetCompetition", Fault(**STRANGER), "competition", "fail", "has not joined"),
        (
            "GetCompetition",
            Fault(patch={"submissionsDisabled": True}),
            "competition",
            "fail",
            "closed",
        ),
        (
            "GetSubmissionLimits",
            Fault(patch={"numAllowedNow": 0, "numToday": 5}),
            "submissions",
            "warn",
            "0 left today, 5 made",
        ),
        (
            "GetSubmissionLimits",
            Fault(403, {"code": 403, "message": "denied"}),
            "submissions",
            "fail",
            "HTTP 403",
        ),
        (
            "GetAcceleratorQuotaStatistics",
            Fault(patch={"gpuQuota": {"totalTimeAllowed": "108000s", "hasEverRun": True}}),
            "account",
            "ok",
            "takes a verified phone",
        ),
        (
            "GetAcceleratorQuotaStatistics",
            Fault(patch={"gpuQuota": {"totalTimeAllowed": "3000s"}}),
            "GPU hours",
            "warn",
            "0.8 of 1 h left this week; best takes",
        ),
        (
            "GetAcceleratorQuotaStatistics",
            Fault(patch={"gpuQuota": {"totalTimeAllowed": "600s"}}),
            "GPU hours",
            "fail",
            "GPU hours: expected at least 0.6 h",
        ),
        (
            "GetAcceleratorQuotaStatistics",
            Fault(patch={"gpuQuota": None}),
            "GPU hours",
            "warn",
            "does not say",
        ),
    ],
)
def test_what_is_found_has_a_remedy_and_stops_no_other_check(
    sandbox, check, method, fault, name, state, text
):
    sandbox.script(method, fault)
    found = check("best")
    assert list(found) == list(NAMES)
    assert found[name].state == state and text in found[name].found
    assert bool(found[name].remedy) == (state != "ok")
    others = [found[other].state for other in NAMES if other not in (name, "account", "GPU hours")]
    assert set(others) == {"ok"}


def test_a_recipe_without_a_gpu_does_not_need_the_quota(sandbox, check):
    sandbox.script("GetAcceleratorQuotaStatistics", Fault(404, {"code": 404, "message": "gone"}))
    found = check("explore")
    assert found["account"].state == "fail" and found["GPU hours"].state == "ok"


def test_registered_weights_have_to_be_on_the_service(sandbox, runs, check, weights):
    publish_weights(Client(), "densenet121", weights, runs)
    found = check()["weights"]
    assert found.state == "ok" and found.found.startswith("densenet121 in sandbox/pcam-densenet")
    assert check("best")["weights"].found == (
        f"{found.found}; midnight-12k, dinov2-base, efficientnetv2s downloaded in the kernel, over "
        "the internet"
    )
    assert check("best", members=("densenet",))["weights"].found == found.found
    sandbox.service.state["datasets"].clear()
    found = check()["weights"]
    assert found.state == "fail" and "is not there" in found.found
    assert found.remedy == "run python build.py weights densenet121"
    assert check("scratch")["weights"].found == "scratch needs none"
    found = check("midnight", weights="hibou-x")["weights"]
    assert found.found.endswith(f"? Known: {', '.join(FOUNDATION)}.")
    assert found.remedy == "python build.py list, which describes them"


def test_old_packages_and_a_full_disk_are_found(sandbox, check, monkeypatch):
    version = doctor.importlib.metadata.version
    old = {"kaggle": "1.6.17"}
    monkeypatch.setattr(
        doctor.importlib.metadata, "version", lambda name: old.get(name) or version(name)
    )
    full = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    found = check()
    assert (found["versions"].state, found["disk"].state) == ("fail", "fail")
    assert found["versions"].found == "kaggle 1.6.17, not >=2.2.5"
    assert found["disk"].remedy == "free up disk space"


def test_nothing_is_written_or_sent_where_the_competition_was_not_joined(sandbox, runs):
    for fault in (Fault(**STRANGER), Fault(403, {"code": 403, "message": "denied"})):
        sandbox.script("GetCompetition", fault)
        with pytest.raises(NotJoined, match=r"Try: accept them at https://\S+/rules"):
            push_kernel(Client(), "demo", runs=runs)
    assert not list_runs(runs)
    assert set(sandbox.calls) == {"IntrospectToken", "GetKernel", "GetCompetition"}
