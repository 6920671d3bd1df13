"""Model cards, and the folders of Kaggle models: text, files, refusals."""

import dataclasses
import json
import re
import runpy
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import run_python
from nbconvert.filters import markdown2html
from report_runs import add_slides, make_run, make_several, read_run_json, write_record

import build
from kernel.card.bases import describe_licenses, find_bases, find_license
from kernel.card.measures import bound_rates
from kernel.card.model import TEMPLATES
from kernel.card.network_files import NetworkFile
from kernel.card.text import describe_license, make_text
from kernel.card.write import find_own_bases, measure_run, write_own_card
from kernel.predict import make_request
from kernel.remote.sources import name_dataset
from kernel.report.reading import read_run
from kernel.reuse import read_source
from kernel.runs import MODELS, list_folders
from pcam_kaggle.analysis.evaluation import OperatingPoint
from pcam_kaggle.methods.predict_files import predict_files
from pcam_kaggle.methods.predict_kept import Request

BUILD = "0123456789"
MARKUP = "<img src=x onerror=alert(1)> [a](javascript:alert(2)) ${PATH} http://evil.example | #"
FILES = {"MODEL_CARD.md", "model-metadata.json", "model-instance-metadata.json", "run.json"}
FILES |= {"oof.csv", "example.py", "patch.tif", "fold0_seed0.keras", "fold1_seed1.keras"}


@pytest.fixture
def run(finished, tmp_path):
    """A finished run, free to be changed."""
    return shutil.copytree(finished, tmp_path / "runs" / finished.name)


def make_card(run, *words):
    """One command; its exit code."""
    return build.main(["card", str(run), *map(str, words)])


def change(run, **entries):
    """Change entries of run.json."""
    write_record(run, {**read_run_json(run), **entries})


def describe(folder, kept=(), runs=None, **options):
    """The card of a run that has no files of networks."""
    found, runs = read_run(folder, folder), runs or folder
    options = {"is_flat": False, **options}
    bases, (measures, explored) = find_own_bases(found, runs), measure_run(found, runs)
    return make_text(found, [*kept], bases, measures, explored, **options)


def keep(folder, **changes):
    """A network that the folder of a run would have."""
    made = NetworkFile(folder / "folds" / "fold0_seed0.keras", 10**6, False, "")
    return dataclasses.replace(made, **changes)


def test_the_model_predicts_alone_as_the_run_does(run, tmp_path, home, capsys, monkeypatch):
    """By maps, log-odds, four and eight views; the example for layers of ours does, too."""
    maps = {"fold0_seed0": [1.3, 0.2], "fold1_seed1": [0.8, -0.1]}
    settings = {**read_run_json(run)["settings"], "ensemble": "logit"}
    change(run, settings=settings, calibration={"before": {"ece": 0.1, "brier": 0.1}, "maps": maps})
    out = tmp_path / "model"
    out.mkdir()
    assert make_card(run, "--out", out) == 0
    text = capsys.readouterr().out
    assert f"model     {out} (9 files" in text and "no Kaggle credentials found" in text
    assert {path.name for path in out.iterdir()} == FILES
    monkeypatch.setattr(sys, "argv", ["example.py"])
    example = out / "package.py"
    shutil.copyfile(TEMPLATES / "example_package.py.txt", example)
    runpy.run_path(example)
    expected = capsys.readouterr().out.splitlines()[-1].split(",")
    assert expected[0] == "patch"
    check_example(out, expected[1:], capsys, monkeypatch)

    request = make_request(run, out / "patch.tif", tmp_path / "predicted.csv", "dihedral")
    predict_files(Request(**request))
    example = (out / "example.py").read_text("utf-8")
    (out / "example.py").write_text(example.replace('facts["tta"]', '"dihedral"'), "utf-8")
    capsys.readouterr()
    expected = pd.read_csv(tmp_path / "predicted.csv").iloc[0, 1:]
    check_example(out, expected, capsys, monkeypatch)

    (out / "fold1_seed1.keras").unlink()
    runpy.run_path(out / "example.py")
    assert re.fullmatch(r"patch\.tif: [\d.]+\n", capsys.readouterr().out)  # of one: no spread


def check_example(folder, expected, capsys, monkeypatch):
    """Run the example of a model without the package: the probability and the spread."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pcam_kaggle", None)
        runpy.run_path(folder / "example.py")
    line = r"patch\.tif: ([\d.]+), spread over the networks ([\d.]+)\n"
    shown = re.fullmatch(line, capsys.readouterr().out)
    for value, number in zip(shown.groups(), expected):
        assert float(value) == pytest.approx(float(number), abs=1e-4)


def test_kaggles_client_accepts_the_folder_up_to_its_request(run, tmp_path, sandbox):
    """Its own checks pass, the files are uploaded, and the sandbox refuses what it lacks."""
    out = run.parent / MODELS / "model"
    assert make_card(run, "--out", out) == 0
    assert list_folders(run.parent) == [run]  # not the copy
    assert name_dataset(read_source(out)) == name_dataset(read_source(run))  # what infer takes
    metadata = json.loads((out / "model-metadata.json").read_text("utf-8"))
    assert metadata["provenanceSources"] == ""  # of 16 test patches nobody knows whose they are
    assert metadata["isPrivate"] is True and metadata["ownerSlug"] == "sandbox"
    assert metadata["description"] == (out / "MODEL_CARD.md").read_text("utf-8")
    assert not {"<", ">"} & set(metadata["description"])  # the client would escape them
    sandbox.calls.clear()
    errors = [create(out, *words) for words in ((), ("instances",))]
    assert "the sandbox does not speak CreateModel" in errors[0]
    assert "the sandbox does not speak CreateModelInstance" in errors[1]
    methods = ["StartBlobUpload", "upload"]
    assert [call for call in sandbox.calls if call in methods] == methods * (len(FILES) - 2)

    (out / "model-instance-metadata.json").write_text("{}")
    assert "Key ownerSlug not found" in create(out, "instances")


def create(folder, *words):
    """What the real client says about a model, or a variation of one."""
    result = run_python(["-m", "kaggle", "models", *words, "create", "-p", folder])
    return result.stdout + result.stderr


def test_what_the_client_has_to_ask_for_is_left_to_it(run, tmp_path, open_sandbox, monkeypatch):
    """No owner and no license are guessed."""
    change(run, settings={**read_run_json(run)["settings"], "weights": "imagenet"})
    out = tmp_path / "model"
    assert make_card(run, "--out", out) == 0
    open_sandbox()
    assert "Default ownerSlug detected" in create(out)
    path = out / "model-instance-metadata.json"
    variation = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**variation, "ownerSlug": "sandbox"}), "utf-8")
    assert "Please specify a license" in create(out, "instances")


def test_texts_of_run_json_are_shown_as_they_are(run, tmp_path, home):
    record = read_run_json(run)
    texts = dict.fromkeys(
        ("recipe", "device", "network", "estimate", "grouping", "finished"), MARKUP
    )
    settings = {**record["settings"], "weights": MARKUP}
    change(run, **texts, warnings=[MARKUP], not_trained=[MARKUP], settings=settings)
    assert make_card(run, "--out", tmp_path / "model") == 0
    for folder in (run, tmp_path / "model"):
        text = (folder / "MODEL_CARD.md").read_text("utf-8")
        page = markdown2html(text)
        assert "alert(1)" in page and "<img" not in page and "javascript:alert(2)" in page
        targets = re.findall(r'href="([^"]+)"', page)
        known = ("#", "https://doi.org/", "https://arxiv.org/")  # headings, references
        assert all(target.startswith(known) for target in targets), targets
        assert "${PATH}" not in text


@pytest.mark.parametrize(
    "place, expected",
    [
        ("mine", r"is there already\. Expected: a new or empty folder"),
        ("mine/file.txt", r"is there already\. Expected: a new or empty folder"),
        ("mine/file.txt/model", "cannot write to the output folder"),
    ],
)
def test_other_folders_are_left_alone(run, tmp_path, home, capsys, place, expected):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file.txt").write_text("mine")
    assert make_card(run, "--out", tmp_path / place) == 1
    assert re.search(expected, capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file.txt"]
    assert (tmp_path / "mine" / "file.txt").read_text() == "mine"


def test_damaged_and_missing_networks_are_refused(run, tmp_path, home, capsys):
    path = run / "folds" / "fold1_seed1.keras"
    path.write_bytes(b"no network")
    assert make_card(run, "--out", tmp_path / "model") == 1
    assert "fold1_seed1.keras is damaged. Expected: sha256" in capsys.readouterr().err
    write_own_card(run, tmp_path)
    assert "no card" in capsys.readouterr().out  # the run itself stays finished
    path.unlink()
    assert make_card(run, "--out", tmp_path / "model") == 1
    assert "fold1_seed1.keras is not there" in capsys.readouterr().err
    write_own_card(run, tmp_path)  # as after `output --only`
    old = make_run(tmp_path / "old")
    write_own_card(old, tmp_path)
    assert capsys.readouterr().out == ""
    assert make_card(old) == 1
    assert "has no networks. Expected: run.json and" in capsys.readouterr().err
    assert not any(tmp_path.rglob("MODEL_CARD.md")) and not (tmp_path / "model").exists()


def test_a_card_says_what_was_measured_and_how(tmp_path):
    run = make_run(tmp_path / "run")
    record = read_run_json(run)
    kept = [keep(run), keep(run, path=run / "folds" / "fold1_seed1.keras")]
    write_record(run, {**record, "grouping": "patch", "estimate": "folds share slides"})
    text = describe(run, kept)
    assert "bootstrap by patch: too narrow for other slides; folds share slides" in text
    assert "20 (33.3%) contain tumor" in text and "The average of all 2" in text
    assert "average" not in describe(run, kept[:1]).split("## Perf")[1].split("## Cal")[0]
    assert "(`python build.py train explore --data DIR`" in text and "## Score" not in text
    assert "not as many as the competition's" in text and "keep your own notes" in text
    add_slides(run)
    (run / "submit.json").write_text(json.dumps({"submission": 1, "public_score": "0.9123"}))
    counts = {**record["counts"], "test": 57_458}
    write_record(run, {**record, "grouping": "slide", "estimate": "", "counts": counts})
    text = describe(run, kept, is_flat=True)
    assert "bootstrap by slide: 6 slides. With fewer than about 30 slides, the intervals" in text
    assert "an AUC of 0.9123 (public part)." in text and "python example.py PATCH" in text
    assert 'load_model("fold0_seed0.keras"' in text and "keep your own notes" not in text
    assert "not as many as the competition's" not in text and "are those of PatchCam" in text


def test_rates_have_95_percent_intervals():
    """The rates of patches are shares, whose intervals are known: 1.96 deviations to each side."""
    labels = np.arange(3_000) % 3 // 2
    predictions = np.select([np.arange(3_000) % 10 < n for n in (3, 6)], [0.2, 0.5], 0.8)
    predictions = np.where(labels, predictions, 1 - predictions)
    rates = {"low": (0.7, 0.4), "high": (0.4, 0.7)}  # sensitivity and specificity by threshold
    points = {n: OperatingPoint(t, *rates[n], None) for n, t in (("low", 0.5), ("high", 0.6))}
    found = bound_rates(labels, predictions, points, None)
    for name in rates:
        for rate, edges, count in zip(rates[name], found[name], (1_000, 2_000)):
            deviations = (np.array(edges) - rate) / np.sqrt(rate * (1 - rate) / count)
            np.testing.assert_allclose(deviations, [-1.96, 1.96], atol=0.2)


def test_groups_of_hue_are_those_of_an_exploration_of_these_patches(tmp_path):
    run = make_run(tmp_path / "run")
    oof = pd.read_csv(run / "oof.csv", dtype={"id": str})
    (tmp_path / "explore").mkdir()
    table = oof[["id", "label"]].assign(brightness=1, tissue=1, blank="", stain=[0, 1, 1] * 20)
    table.loc[:3, "stain"] = -1
    table.to_csv(tmp_path / "explore" / "patches.csv", index=False)
    text = describe(run, [keep(run)], tmp_path)
    assert "| 1 | 18 | 0 | - | - |" in text  # of one label
    assert re.search(r"\| 2 \| 38 \| 19 \| 0\.\d{4} \| 0\.\d{4} to [01]\.\d{4} \|", text)
    table[1:].to_csv(tmp_path / "explore" / "patches.csv", index=False)
    assert "Not known: the groups of hue" in describe(run, [keep(run)], tmp_path)


def test_licenses_follow_the_weights(tmp_path):
    run = make_several(tmp_path / f"pcam-best-{BUILD}-home")
    text = describe(run, [keep(run), keep(run, is_head=True)])
    assert "started from [kaiko-ai/midnight](https://huggingface.co/kaiko-ai/midnight)" in text
    assert "the ImageNet weights that Keras provides for DenseNet-121" in text
    assert "dinov2" not in text.split("## License")[1]  # vit was left out
    assert "Clear the license" in text and "Keras alone cannot apply them" in text
    assert "0.061 before and 0.012 after" in text
    for weights, expected in (
        ("none", "MIT"),
        ("midnight-12k", "MIT"),
        ("hf://facebook/dinov2-base", "Apache 2.0"),
        ("imagenet", ""),
        ("mine.h5", ""),
        ("hf://owkin/phikon-v2", ""),
    ):
        first = {**read_run_json(run), "build_id": BUILD, "settings": {"weights": weights}}
        write_record(run, first)
        for settings in ({"weights": weights}, {"weights": BUILD}):
            bases = find_bases(settings, ["vit"], tmp_path)
            assert find_license(bases) == expected
    assert "Clear the license of these" in "".join(describe_license(bases))
    assert describe_licenses(bases) == "Owkin non-commercial, which Kaggle has no name for"
    several = [dataclasses.replace(bases[0], license=name) for name in ("Apache-2.0", "MIT", None)]
    assert describe_licenses(several) == "several (Apache 2.0, MIT, not known)"
    assert find_license(several[:2]) == "" and describe_licenses(several[2:]) == "not known"
    write_record(run, {**first, "settings": {"weights": BUILD}})  # no chain, but a circle
    for build_id in (BUILD, "abcdefabcd"):
        (base,) = find_bases({"weights": build_id}, ["vit"], tmp_path)
        assert f"of build {build_id}, whose run is not here: origin" in base.text, base
        assert find_license([base]) == ""
