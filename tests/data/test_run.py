"""A run: checked before an image is read, and known by all that decides predictions."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from conftest import read_rows, write_rows

import __main__
from kernel.bundle.notebook import make_notebook
from kernel.bundle.page import bundle_kernel
from pcam_kaggle.analysis.settings import SplitSettings
from pcam_kaggle.data.run import load_patches, make_record, open_run, start_budget
from pcam_kaggle.data.settings import DataSettings, FoldSettings
from pcam_kaggle.recipes import infer
from pcam_kaggle.system.clock import RESERVE, Stage
from pcam_kaggle.system.files import read_json, write_json
from pcam_kaggle.system.machine_settings import MachineSettings
from pcam_kaggle.training.study_settings import StudySettings

PARTS = {"data": DataSettings, "machine": MachineSettings, "study": StudySettings}


@pytest.fixture
def start(competition, tmp_path):
    """Open a run on the competition of this test."""

    def call(changes=None, overrides=None, **options):
        options = {"data": competition, "output": tmp_path / "out", **options}
        return open_run("demo", PARTS, changes or {}, overrides, **options)

    return call


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page that seems to be what Python runs, and its text."""
    source = bundle_kernel("explore").source
    path = tmp_path / "kernel.py"
    path.write_text(source, "utf-8")
    monkeypatch.setattr(__main__, "__file__", str(path), raising=False)
    return path


def write_slides(path, competition, names):
    """A slide map of the training patches."""
    ids = [patch_id for patch_id, _ in read_rows(competition / "train_labels.csv")]
    write_rows(path, [(i, names[n % len(names)]) for n, i in enumerate(ids)], ("id", "slide"))
    return str(path)


def test_a_run_knows_its_tables_and_says_so(start, competition, capsys):
    run = start({"num_images": 30})
    tables = run.competition
    assert (len(tables.train), len(tables.test), tables.slides) == (30, 16, None)
    assert tables.train.index.tolist() == list(range(30))
    assert run.settings.data.num_images == 30 and run.settings.machine.precision == "auto"
    assert (run.recipe, run.build_id, run.code, run.edited) == ("demo", "package", "package", False)
    lines = capsys.readouterr().out.splitlines()
    positive = tables.train["label"].sum()
    assert lines == [
        "recipe   demo, build package",
        f"data     {competition}: 30 train ({positive} positive), 16 test",
        f"output   {run.output}",
    ]


def test_overrides_replace_the_recipe_s_settings(start):
    run = start({"num_images": 30, "seed": 1}, {"num_images": 20})
    assert (run.settings.data.num_images, run.settings.data.seed) == (20, 1)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"num_images": 50}, {"verify_ids": True}])
def test_a_setting_that_decides_predictions_changes_the_fingerprint(start, changes):
    assert start(changes).fingerprint != start().fingerprint == start().fingerprint


@pytest.mark.parametrize(
    "changes", [{"max_hours": 1.5}, {"num_workers": 2}, {"trials": 3}, {"study_hours": 1.0}]
)
def test_a_setting_of_the_session_does_not(start, changes):
    assert start(changes).fingerprint == start().fingerprint


def test_labels_ids_and_their_order_change_the_fingerprint(start, competition):
    found = {start().fingerprint}
    rows = read_rows(competition / "sample_submission.csv")
    write_rows(competition / "sample_submission.csv", rows[::-1])
    found.add(start().fingerprint)
    rows = read_rows(competition / "train_labels.csv")
    (patch_id, label), *rest = rows
    write_rows(competition / "train_labels.csv", [(patch_id, 1 - int(label)), *rest])
    found.add(start().fingerprint)
    (competition / "train" / f"{patch_id}.tif").unlink()
    write_rows(competition / "train_labels.csv", rest)
    found.add(start().fingerprint)
    assert len(found) == 4


def test_a_competition_elsewhere_is_the_same(start, competition, tmp_path):
    first = start().fingerprint
    moved = competition.rename(tmp_path / "moved")
    assert start(data=moved).fingerprint == first


def test_other_slides_change_the_fingerprint(start, competition, tmp_path):
    path = tmp_path / "map.csv"
    found = {start().fingerprint}
    for names in ("abcdef", "fedcba"):
        run = start({"slide_map": write_slides(path, competition, names)})
        assert len(run.competition.slides) == 51
        found.add(run.fingerprint)
    assert len(found) == 3


@pytest.mark.parametrize(
    "part, names, changes, grouping, text",
    [
        (FoldSettings, "", {}, "patch", "by patch: folds share slides, expect about 0.03 less on"),
        (FoldSettings, "abc", {}, "slide", "grouped by slide (3 slides)"),
        (FoldSettings, "abc", {"slide_map": "none"}, "patch", "by patch: folds share slides"),
        (SplitSettings, "abc", {}, "slide", "grouped by slide (3 slides)"),
        (
            SplitSettings,
            "abc",
            {"split": "hue"},
            "hue",
            "grouped by the mean hue of whole slides (",
        ),
        (SplitSettings, "", {"split": "hue"}, "hue", "grouped by hue: slides are unknown, and "),
    ],
)
def test_a_run_says_what_its_folds_do_not_share(
    competition, tmp_path, capsys, part, names, changes, grouping, text
):
    if names:
        write_slides(competition.parent / "slides.csv", competition, names)
    parts = {**PARTS, "folds": part}
    run = open_run("demo", parts, changes, data=competition, output=tmp_path / "out")
    assert run.grouping == grouping
    assert f"\nfolds    {text}" in capsys.readouterr().out


def test_other_code_changes_the_fingerprint(start):
    found = [start(build_id="package", code_id=code).fingerprint for code in ("a", "b", "a")]
    assert found[0] == found[2] != found[1]


def test_a_page_is_known_by_its_build_and_by_its_code(start, page, capsys):
    bundle = bundle_kernel("explore")
    code_id = re.search(r'^CODE_ID = "(.*?)"', bundle.source, re.MULTILINE)[1]
    code = code_id.partition("-")[0]
    run = start(build_id=bundle.build_id, code_id=code_id)
    assert (run.build_id, run.code, run.edited) == (bundle.build_id, code, False)
    page.write_text(bundle.source + "x = 1\n", "utf-8")
    edited = start(build_id=bundle.build_id, code_id=code_id)
    assert edited.edited and edited.code != code
    assert edited.fingerprint != run.fingerprint
    assert f"build {bundle.build_id}, edited since\n" in capsys.readouterr().out


def test_a_notebook_is_known_by_the_cells_that_ipython_has_executed(start, monkeypatch):
    monkeypatch.delattr(__main__, "__file__", raising=False)
    bundle = bundle_kernel("explore")
    notebook = json.loads(make_notebook(bundle.source))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    code_id = re.search(r'^CODE_ID = "(.*?)"', bundle.source, re.MULTILINE)[1]

    def run(*executed):
        monkeypatch.setattr(__main__, "In", ["", *executed], raising=False)
        found = start(build_id=bundle.build_id, code_id=code_id)
        return found.code, found.edited

    built = (code_id.partition("-")[0], False)
    assert run(*cells) == built
    edited = [*cells[:3], cells[3] + "\nx = 1", *cells[4:]]
    assert run(*edited) == run(*cells, edited[3]) != built  # executed again after an edit
    assert run(*edited)[1] is True
    assert run(*edited, *cells[3:]) == built  # the edit was undone, and the rest executed again
    assert run(*cells, "import __main__") != built
    settings = cells[0].replace("OVERRIDES = {}", 'OVERRIDES = {"num_images": 30}')
    assert run(settings, *cells[1:]) == (built[0], True)


def test_code_that_cannot_be_read_is_not_resumed(start, monkeypatch, competition):
    """Neither a script nor the cells of a notebook are there."""
    monkeypatch.delattr(__main__, "__file__", raising=False)
    monkeypatch.setattr(__main__, "In", ["", "exec(page)"], raising=False)
    ids = {"build_id": "abc", "code_id": "0123456789-abcdefabcd"}
    run, other = start(**ids), start(**ids)
    assert (run.code, run.edited) == ("", True) and run.fingerprint != other.fingerprint
    attached = competition.parents[1] / "pcam-demo" / "folds"
    for folder, options in ((run.output / "folds", {}), (attached, {"data": attached.parents[1]})):
        folder.mkdir(parents=True)
        (folder / "checkpoint_fold0_seed0.npz").write_text("state")
        expected = "checkpoint_fold0_seed0.npz cannot be resumed: the code that runs cannot be read"
        with pytest.raises(ValueError, match=expected):
            start(**ids, **options)
        (folder / "checkpoint_fold0_seed0.npz").unlink()


@pytest.mark.parametrize(
    "changes, options, message",
    [
        ({"seeds": 3}, {}, "unknown setting 'seeds'. Did you mean 'seed'?"),
        ({"num_images": 52}, {}, "only 51 training images"),
        ({"slide_map": "nowhere.csv"}, {}, "nowhere.csv"),
        ({}, {"data": "nowhere"}, "competition data not found"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(start, tmp_path, changes, options, message):
    with pytest.raises((ValueError, OSError)) as error:
        start(changes, **options)
    assert message in str(error.value)
    assert not list((tmp_path / "out").glob("*"))


def test_the_output_of_another_run_is_refused(start):
    run = start()
    write_json(run.output / "run.json", {"fingerprint": run.fingerprint})
    (run.output / "partial-0123abcd-run.json").touch()
    start({"max_hours": 2.0})
    assert not list(run.output.glob("partial-*"))
    (run.output / "partial-0123abcd-run.json").touch()
    with pytest.raises(ValueError, match=r"run\.json is from another run"):
        start({"seed": 1})


def test_the_networks_that_infer_uses_are_none_to_resume(competition, finished, tmp_path, capsys):
    inputs, own = competition.parents[1], "0123456789_fold0_seed0.npz"
    shutil.copytree(finished, inputs / "run")
    (inputs / "earlier").mkdir()
    (inputs / "earlier" / own).write_bytes(b"damaged")
    settings = {"networks": "package"}
    open_run("infer", infer.parts(), settings, data=inputs, output=tmp_path / "out")
    lines = [line for line in capsys.readouterr().out.splitlines() if "not taken" in line]
    assert len(lines) == 1 and own in lines[0]


def test_patches_are_decoded_and_timed(start):
    run = start({"num_images": 30})
    patches = load_patches(run)
    assert patches.images.shape == (30, 96, 96, 3) and patches.images.dtype == np.uint8
    assert patches.test_images.shape == (16, 96, 96, 3)
    assert patches.pixels is patches.images
    assert (patches.labels == run.competition.train["label"]).all()
    stages = run.clock.stages
    assert [(name, stage.images) for name, stage in stages.items()] == [
        ("decode_train", 30),
        ("decode_test", 16),
    ]


def test_ids_are_verified_where_the_settings_say_so(start, competition):
    path = min((competition / "test").iterdir())
    path.write_bytes(max((competition / "train").iterdir()).read_bytes())
    load_patches(start())
    with pytest.raises(ValueError, match="sha1 of the pixels"):
        load_patches(start({"verify_ids": True}))


def test_the_hours_of_a_run_start_when_it_is_opened(start):
    run = start({"max_hours": 2.0})
    budget = start_budget(run)
    assert budget.max_hours == 2.0
    assert budget.left() <= 7200 - RESERVE
    run.clock.started -= 1000
    assert start_budget(run).left() < budget.left() - 900


def test_the_record_of_a_run_is_complete_json(start, tmp_path):
    run = start({"num_images": 30, "max_hours": 2.0}, {"trials": 7})
    run.clock.end("decode_train", 30)
    (run.output / "study.csv").write_text("number\n", newline="\n")
    record = make_record(run, {"train": Stage(2.0, 60, 30.0, None)}, ["study.csv"])
    write_json(tmp_path / "run.json", record)
    found = read_json(tmp_path / "run.json")
    assert found == json.loads(json.dumps(dataclasses.asdict(record)))
    assert found["schema"] == 3 and found["recipe"] == "demo"
    assert found["settings"] == run.settings.flat()
    assert found["settings"]["trials"] == 7
    positive = run.competition.train["label"].sum()
    assert found["counts"] == {"train": 30, "positive": positive, "test": 16}
    assert list(found["stages"]) == ["decode_train", "train"]
    assert found["fingerprint"] == run.fingerprint and list(found["files"]) == ["study.csv"]
    assert found["finished"].endswith("+00:00") and found["seconds"] > 0
