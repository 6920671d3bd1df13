"""The competition's data: downloaded once, continued, verified, found."""

import contextlib
import errno
import re
import shutil
import zipfile

import hypothesis
import pytest
from conftest import SLUG
from hypothesis import strategies

import build
from kernel.folders import find_downloaded
from kernel.remote.client import Client
from kernel.remote.download import download_data, fetch_archive
from kernel.remote.errors import KaggleError
from kernel.remote.fetch import CHUNK
from kernel.remote.transport import Transport
from kernel.sandbox.faults import Fault
from kernel.sandbox.handler import Handler
from pcam_kaggle.system.paths import find_data

PART = 2 * CHUNK  # bytes after which a connection is cut
FINE = Fault(wait=0.001)  # none: a call that is answered as usual
PAGE = {"status": 200, "headers": {"Content-Type": "text/html"}}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "data"


@pytest.fixture
def ranges(monkeypatch):
    """The parts of files that are asked for."""
    asked = []
    send = Transport.send

    def record(self, request, **options):
        if "Range" in request.headers:
            asked.append(request.headers["Range"])
            assert request.headers["If-Range"]
        return send(self, request, **options)

    monkeypatch.setattr(Transport, "send", record)
    return asked


def list_files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def list_left(folder):
    """What is in the folder beside the data and the lock."""
    return [path for path in folder.iterdir() if path.name not in (SLUG, ".locks")]


def cut_off(sandbox, folder, monkeypatch):
    """Begin a download and leave a part of the archive."""
    with monkeypatch.context() as patch, pytest.raises(KaggleError, match="the connection failed"):
        patch.setattr("kernel.remote.transport.PATIENCE", 0)
        sandbox.script("data", Fault(cut=PART), FINE, Fault(drop=True))
        download_data(folder)
    assert [path.stat().st_size for path in list_left(folder)] == [PART]


def reorder(members):
    return dict(sorted(members.items(), reverse=True))


def change_archive(sandbox, folder, change):
    """Let the sandbox serve an archive whose members were changed."""
    original, changed = sandbox.service.make_archive(), folder / "changed.zip"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(changed, "w") as target:
        members = {name: source.read(name) for name in source.namelist()}
        for name, content in change(members).items():
            target.writestr(name, content)
    sandbox.service.archive = changed
    return original


def test_the_data_are_downloaded_once_and_found_by_train(
    sandbox, folder, competition, monkeypatch, capsys
):
    monkeypatch.setattr(build, "RUNS", folder.parent)
    assert build.main(["download"]) == 0
    text = capsys.readouterr().out
    assert "archive   0.00 GB, of which 0.00 GB are here" in text and "\r" not in text
    assert re.search(r"download  (\d+\.\d\d) of \1 MB, 100 %\nunpack ", text)
    assert f"data    {folder / SLUG}" in text
    assert list_files(folder / SLUG) == list_files(competition)
    assert list_left(folder) == []
    num_calls = len(sandbox.calls)
    assert build.main(["download"]) == 0
    assert len(sandbox.calls) == num_calls
    assert find_downloaded(folder.parent) == find_data(folder) == folder / SLUG

    ran = []
    monkeypatch.setattr("kernel.home.run_script", lambda *words: ran.append(words))
    assert build.main(["train", "demo"]) == 0
    ((_, data, *_),) = ran
    assert data == folder / SLUG


def test_a_download_that_is_cut_is_continued_where_it_ended(sandbox, folder, ranges, competition):
    said = []
    sandbox.script("data", Fault(cut=PART), FINE, Fault(cut=2 * PART), Fault(drop=True))
    download_data(folder, said.append)
    assert ranges == [f"bytes={PART}-", f"bytes={3 * PART}-"]
    assert list_files(folder / SLUG) == list_files(competition)
    assert sum("the connection failed (ChunkedEncodingError); continuing" in t for t in said) == 2


def test_after_ctrl_c_the_same_command_continues(sandbox, folder, ranges, competition):
    def interrupt(text):
        if text.startswith("download"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_data(folder, interrupt)
    (partial,) = list_left(folder)
    size = partial.stat().st_size
    assert 0 < size < sandbox.service.archive.stat().st_size
    assert find_downloaded(folder.parent) is None
    download_data(folder)
    assert ranges == [f"bytes={size}-"]
    assert list_files(folder / SLUG) == list_files(competition)


def test_another_archive_is_not_appended(sandbox, folder, tmp_path, competition, monkeypatch):
    cut_off(sandbox, folder, monkeypatch)
    change_archive(sandbox, tmp_path, reorder)
    download_data(folder)
    assert list_files(folder / SLUG) == list_files(competition)
    assert list_left(folder) == []


def test_an_archive_that_changes_while_it_is_continued_starts_again(
    sandbox, folder, tmp_path, competition
):
    sandbox.script("data", Fault(cut=PART))

    def change(text):
        if text.endswith("continuing") and sandbox.service.archive.parent != tmp_path:
            change_archive(sandbox, tmp_path, reorder)

    download_data(folder, change)
    assert list_files(folder / SLUG) == list_files(competition)


def test_an_address_that_expires_is_asked_for_again(sandbox, folder, competition):
    expired = Fault(403, "<Error>expired</Error>", {"Content-Type": "application/xml"})
    sandbox.script("data", Fault(cut=PART), FINE, expired)
    download_data(folder)
    assert sandbox.calls.count("DownloadDataFiles") == 3
    assert list_files(folder / SLUG) == list_files(competition)


def test_a_download_that_fails_again_and_again_is_given_up_and_kept(
    sandbox, folder, ranges, competition, monkeypatch
):
    cut_off(sandbox, folder, monkeypatch)
    assert not any(sandbox.faults.values())
    download_data(folder)
    assert ranges == [f"bytes={PART}-"] * 2
    assert list_files(folder / SLUG) == list_files(competition)


PLAIN = {"Content-Type": "text/plain"}
ANSWERS = {
    "another part": Fault(206, "Log in", {**PLAIN, "Content-Range": "bytes 0-5/6"}),
    "text": Fault(200, "Log in", PLAIN),
    "text with a tag": Fault(200, "Log in", {**PLAIN, "ETag": '"portal"'}),
    "too far": Fault(416, "", PLAIN),
}


@pytest.mark.parametrize("first", [[FINE], []], ids=["to the rest", "to all"])
@pytest.mark.parametrize("fault", ANSWERS.values(), ids=ANSWERS)
def test_a_strange_answer_costs_nothing_of_the_archive(
    sandbox, folder, ranges, competition, monkeypatch, first, fault
):
    cut_off(sandbox, folder, monkeypatch)
    sandbox.script("data", *first, fault)
    if not first and fault.status != 200:
        with pytest.raises(KaggleError):
            download_data(folder)
    download_data(folder)
    assert {*ranges} == {f"bytes={PART}-"}
    assert list_files(folder / SLUG) == list_files(competition)


FAULTS = [FINE, Fault(cut=PART), Fault(cut=1), Fault(drop=True), Fault(403), Fault(503)]
FAULTS += [Fault(**PAGE), *ANSWERS.values()]


@hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(strategies.lists(strategies.sampled_from(FAULTS), max_size=8))
def test_whatever_is_answered_the_archive_is_whole_or_refused(sandbox, folder, faults):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sandbox.faults.clear()
    sandbox.script("data", *faults)
    client, content = Client(), sandbox.service.make_archive().read_bytes()
    with contextlib.suppress(KaggleError):
        assert fetch_archive(client, folder, hypothesis.note).read_bytes() == content
    sandbox.faults.clear()
    assert fetch_archive(client, folder, hypothesis.note).read_bytes() == content
    assert len(list_left(folder)) == 1


def test_a_service_that_does_not_continue_starts_again_and_says_so(
    sandbox, folder, competition, monkeypatch
):
    cut_off(sandbox, folder, monkeypatch)
    seek_part = Handler.seek_part

    def ignore_range(self, *words):
        del self.headers["Range"]
        return seek_part(self, *words)

    monkeypatch.setattr(Handler, "seek_part", ignore_range)
    said = []
    download_data(folder, said.append)
    assert any("it starts again, without 0.00 GB" in text for text in said)
    assert list_files(folder / SLUG) == list_files(competition)


@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_a_web_page_is_no_archive(sandbox, folder, competition, num_before):
    """At once, or when a download is continued."""
    before = [Fault(cut=PART), FINE][:num_before]
    sandbox.script("data", *before, Fault(**PAGE, times=-1))
    with pytest.raises(KaggleError, match="received a web page"):
        download_data(folder)
    assert [path.stat().st_size for path in list_left(folder)] == [PART] * (num_before > 0)
    sandbox.faults.clear()
    download_data(folder)
    assert list_files(folder / SLUG) == list_files(competition)


def test_an_archive_without_a_size_is_refused(sandbox, folder):
    sandbox.script("data", Fault(200, "", {"Content-Type": "application/zip"}))
    with pytest.raises(KaggleError, match="does not say the archive's size"):
        download_data(folder)
    assert list_left(folder) == []


@pytest.mark.parametrize(
    "method, fault",
    [
        ("GetCompetition", Fault(patch={"userHasEntered": False})),
        ("GetCompetition", Fault(403, {"code": 403, "message": "denied"})),
        ("DownloadDataFiles", Fault(403, {"code": 403, "message": "denied"})),
    ],
)
def test_the_rules_come_first(sandbox, folder, method, fault):
    sandbox.script(method, fault)
    with pytest.raises(KaggleError, match=r"accept (them at https://\S+/|its )rules"):
        download_data(folder)
    assert "data" not in sandbox.calls
    assert not folder.exists() or list_left(folder) == []


def test_a_small_disk_is_named_before_the_download(sandbox, folder, monkeypatch):
    small = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small)
    with pytest.raises(OSError, match=r"GB of free disk space.*on another disk with --out"):
        download_data(folder)
    assert list_left(folder) == []


def test_a_disk_that_becomes_full_is_named_and_nothing_is_lost(sandbox, folder, monkeypatch):
    def fill(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", fill)
    with pytest.raises(OSError, match="Try: free up disk space and repeat the command"):
        download_data(folder)
    (archive,) = list_left(folder)
    assert archive.read_bytes() == sandbox.service.archive.read_bytes()


def leave_out(members):
    dropped = next(name for name in members if name.startswith("test/"))
    return {name: content for name, content in members.items() if name != dropped}


def add_outside(members):
    return {**members, "../outside.tif": b"x"}


def add_absolute(members):
    return {**members, "C:\\outside.tif": b"x"}


def spoil_table(members):
    return {**members, "train_labels.csv": b"a,b\n1,2\n"}


@pytest.mark.parametrize(
    "change, reason",
    [
        (leave_out, r"Expected: \d+ images in test/"),
        (add_outside, "outside the folder"),
        (add_absolute, "outside the folder"),
        (spoil_table, "Expected: the images in train/"),
    ],
)
def test_an_archive_that_is_not_the_competition_is_refused_and_kept(
    sandbox, folder, tmp_path, competition, change, reason
):
    original = change_archive(sandbox, tmp_path, change)
    for _ in range(2):
        with pytest.raises(KaggleError, match=reason):
            download_data(folder)
    (archive,) = list_left(folder)
    assert archive.read_bytes() == sandbox.service.archive.read_bytes()
    assert not list(tmp_path.rglob("outside*"))
    sandbox.service.archive = original
    download_data(folder)
    assert list_files(folder / SLUG) == list_files(competition)


def test_a_damaged_archive_is_removed_and_downloaded_again(sandbox, folder, competition):
    archive = sandbox.service.make_archive()
    content = archive.read_bytes()
    archive.write_bytes(content[:60_000] + b"damaged" + content[60_007:])
    with pytest.raises(KaggleError, match="was damaged and is removed. Received: Bad CRC-32"):
        download_data(folder)
    assert list_left(folder) == [] and not (folder / SLUG).exists()
    archive.write_bytes(content)
    download_data(folder)
    assert list_files(folder / SLUG) == list_files(competition)


def test_a_folder_that_is_not_complete_is_not_touched(sandbox, folder):
    download_data(folder)
    (removed, *_) = (folder / SLUG / "train").iterdir()
    removed.unlink()
    before = list_files(folder)
    with pytest.raises(ValueError, match="Received: 50 of them. Try: move the folder away"):
        download_data(folder)
    assert list_files(folder) == before


def test_files_of_the_system_beside_the_images_do_not_count(sandbox, folder):
    download_data(folder)
    (folder / SLUG / "train" / ".DS_Store").touch()
    assert download_data(folder) == folder / SLUG


def test_the_client_is_made_only_where_something_is_missing(sandbox, folder, home, monkeypatch):
    download_data(folder)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(KaggleError, match="no Kaggle credentials"):
        Client()
    assert download_data(folder) == folder / SLUG
