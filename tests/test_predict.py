"""The command predict: a run's networks found and checked, its program run and ended."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import build
from kernel import locks
from kernel.folders import ROOT
from kernel.locks import locked_output
from kernel.predict import PROGRAM, make_request
from kernel.records import read_result
from kernel.reuse import read_source
from pcam_kaggle.inference.kept_runs import find_networks

FOLDS = ("fold0_seed0", "fold1_seed1")
# A line break, a control character, a byte that is no UTF-8: where names may have them.
ODD, SHOWN = "image", "image"
if sys.platform == "linux":
    ODD, SHOWN = os.fsdecode(b"im\nage\x1b\xff"), r"im\nage\x1b\udcff"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of two networks that predict the brightness of a patch, or half of it."""
    from pcam_kaggle.inference.networks import save_network

    run = tmp_path_factory.mktemp("kept") / "pcam-demo-0123456789-home"
    run.mkdir()
    files = {}
    for fold, name in enumerate(FOLDS):
        inputs = keras.Input((96, 96, 3))
        mean = keras.layers.GlobalAveragePooling2D()(inputs)
        weights = keras.initializers.Constant(1 / 765 / (fold + 1))
        network = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer=weights)(mean))
        facts = {"fingerprint": "mine", "fold": fold, "seed": fold, "tta": "flip"}
        path = run / "folds" / f"{name}.keras"
        save_network(path, network, {**facts, "settings": {}, "backbone": None})
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files[f"folds/{name}.keras"] = {"size": len(content), "sha256": digest}
    write_run(run, files={**files, "submission.csv": {"size": 0}})
    return run


@pytest.fixture
def run(kept, tmp_path):
    """A copy of it, free to be damaged, and three patches."""
    import shutil

    for number in range(3):
        pixels = np.full((96, 96, 3), 51 * number, np.uint8)
        (tmp_path / "patches").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "patches" / f"patch{number}.png")
    return shutil.copytree(kept, tmp_path / "runs" / kept.name)


def write_run(run, **changes):
    """Write run.json, with other entries."""
    path = run / "run.json"
    record = json.loads(path.read_text("utf-8")) if path.exists() else {}
    record = {"schema": 3, "fingerprint": "mine", "settings": {"ensemble": "mean"}, **record}
    path.write_text(json.dumps({**record, **changes}), "utf-8")


def test_the_command_predicts_and_fails_for_what_is_no_patch(run, tmp_path, monkeypatch, capfd):
    patches = (tmp_path / "patches").rename(tmp_path / "set.1")
    (patches / "torn.png").write_bytes(b"torn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.py").write_text("raise SystemExit(7)")  # of whoever made the folder
    write_run(run, settings={"ensemble": "rank"}, calibration={"maps": None})
    assert build.main(["predict", str(run), str(patches)]) == 1
    text, errors = capfd.readouterr()
    out = run / "predictions-set.1.csv"
    assert (
        f"networks  2 from {run}\n" in text
        and "patches   4\n" in text
        and f"results   {out}" in text
    )
    assert "the run averages ranks, which single patches lack" in text
    lines = [line for line in errors.splitlines() if line]
    assert lines[0].startswith(f"{patches / 'torn.png'}: not a patch")
    assert lines[1].startswith("build.py: error: 1 of 4 files are not patches (96x96 pixels, ")
    assert len(lines) == 2  # nothing of TensorFlow's
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["patch0", "patch1", "patch2", "torn"]
    values = [float(row["probability"]) for row in rows[:3]]
    np.testing.assert_allclose(values, [0, 0.15, 0.3], atol=1e-6)
    assert rows[3]["probability"] == rows[3]["spread"] == ""
    assert build.main(["predict", str(run), str(patches)]) == 1
    assert f"{out} is there already. Expected: a new file" in capfd.readouterr().err


def test_the_command_tiles_a_larger_image(run, tmp_path, capfd):
    """All of it glass here, so that no network is read."""
    image, shown = tmp_path / f"{ODD}.png", f"{tmp_path}{os.sep}{SHOWN}.png"
    Image.new("RGB", (200, 96), "white").save(image)
    content = image.read_bytes()
    image.write_bytes(content[:20])
    assert build.main(["predict", str(run), str(image)]) == 1
    error = capfd.readouterr().err
    assert f"build.py: error: {shown} cannot be read. Expected: a whole TIFF" in error
    assert ". Received: Truncated File Read. Try: " in error and error.count("\n") == 1
    assert not list(run.glob("predictions*"))
    image.write_bytes(content)
    assert build.main(["predict", str(run), str(image)]) == 1
    text, errors = capfd.readouterr()
    out = run / f"predictions-{ODD}.png.csv"
    assert "tiles     21, 21 of them glass: not predicted\n" in text
    assert f"predictions-{SHOWN}.png-map.png\nuse       research only" in text
    assert len(out.read_text("utf-8").splitlines()) == 22
    assert f"{shown} has no scale: PCam's is assumed, 0.97 micrometers per pixel" in errors
    assert f"build.py: error: {shown} is all glass. Expected: tissue" in errors


@pytest.mark.parametrize(
    "name, mpp, message",
    [
        ("patches", "0.5", "--mpp: expected one TIFF, PNG or JPEG. Received: "),
        ("patches/patch0.png", "25", "--mpp: expected 0.1 to 2.0 micrometers per pixel. Received"),
    ],
)
def test_a_scale_that_cannot_be_is_refused(run, tmp_path, capsys, name, mpp, message):
    assert build.main(["predict", str(run), str(tmp_path / name), "--mpp", mpp]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_what_cannot_be_asked_is_refused_before_the_networks_are_read(
    run, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setattr(build, "RUNS", run.parent)
    patches = tmp_path / "patches"
    assert build.main([command, run.name, str(tmp_path / "gone")]) == 1
    assert build.main([command, run.name, str(patches), "--out", str(patches)]) == 1
    (run / "run.json").unlink()
    for name in (run.name, str(run)):
        assert build.main([command, name, str(patches)]) == 1
    (run / "push.json").write_text("{}", "utf-8")
    assert build.main([command, str(run), str(patches)]) == 1
    text, errors = capsys.readouterr()
    gone, there, *unfinished, pushed = errors.splitlines()
    assert gone.startswith(f"build.py: error: {tmp_path / 'gone'} is not there. Expected: a folder")
    assert f"{patches} is there already. Expected: a new " in there and "Try: --out " in there
    for line in unfinished:
        assert f"{run} has no finished network." in line and "command that trains it" in line
    assert f"Try: python build.py output {run.name}" in pushed
    assert text == ""


def test_the_command_explains_or_says_why_not(run, tmp_path, capfd):
    patch = tmp_path / "patches" / "patch2.png"
    out = run / "explained-patch2.png"
    assert build.main(["explain", str(run), str(patch)]) == 0
    text, errors = capfd.readouterr()
    expected = f"networks  2 from {run}\npatches   1\npicture   {out / 'explained.png'}, research"
    assert text.startswith(expected) and errors == ""
    names = {"explained.csv", "explained.png", "patch2-map.tif"}
    assert {path.name for path in out.iterdir()} == names
    patch.write_bytes(b"torn")
    assert build.main(["explain", str(run), str(patch), "--out", str(tmp_path / "other")]) == 1
    assert f"build.py: error: {patch} is not a patch. Expected: 96x96" in capfd.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_program_ends_when_the_command_has_ended(run, tmp_path):
    """A command that is killed closes the pipe that it has opened."""
    request = make_request(run, tmp_path / "patches", tmp_path / "out.csv", None)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", PROGRAM], stdin=pipe, cwd=ROOT) as process:
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
        assert process.wait(timeout=120) != 0
    assert not (tmp_path / "out.csv").exists()


def test_a_run_without_networks_says_what_to_do(run, tmp_path, capsys):
    for name in FOLDS:
        (run / "folds" / f"{name}.keras").unlink()
    write_run(run, files=["submission.csv"])
    assert build.main(["predict", str(run), str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "has no networks. Expected: run.json and folds/*fold*_seed*.keras" in error
    assert f"Try: python build.py output {run.name}" in error


def test_networks_are_those_of_the_manifest(run):
    cut_short = run / "folds" / "fold2_seed2.keras"  # not in the submission, so not listed
    cut_short.write_bytes(b"no network")
    others = ('fold3_seed3"); print(".keras', "deeper/fold3_seed3.keras", "foldx_seedy.keras")
    listed = {**read_result(run)["manifest"], **{f"folds/{name}": {} for name in others}}
    assert list(find_networks(run, listed)) == [
        str((run / "folds" / f"{name}.keras").absolute()) for name in FOLDS
    ]
    path = run / "folds" / "fold1_seed1.keras"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match="fold1_seed1.keras is damaged. Expected: sha256"):
        find_networks(run, read_result(run)["manifest"])
    path.unlink()
    with pytest.raises(ValueError, match="fold1_seed1.keras is not there. Expected: every net"):
        find_networks(run, read_result(run)["manifest"])


def test_the_request_takes_the_average_and_the_maps_of_the_run(run, tmp_path):
    maps = dict(zip(reversed(FOLDS), ([1.2, 0.1], [0.9, 0.2])))
    write_run(run, settings={"ensemble": "logit"}, calibration={"maps": maps})
    request = make_request(run, tmp_path, tmp_path / "out.csv", "none")
    assert (request["average"], request["maps"]) == ("logit", [[0.9, 0.2], [1.2, 0.1]])
    assert (request["tta"], request["fingerprint"]) == ("none", "mine")
    write_run(run, settings=None, calibration=None)
    request = make_request(run, tmp_path, tmp_path / "out.csv", None)
    assert (request["average"], request["maps"]) == ("mean", None)


@pytest.mark.parametrize(
    "calibration, received",
    [
        ({"map": [1.2, 0.1]}, "those of their average"),
        ({"maps": {FOLDS[0]: [1.2, 0.1]}}, f".*{FOLDS[0]}"),
        ({"maps": dict.fromkeys(FOLDS, "x")}, ".*'x'"),
        ({"maps": dict.fromkeys(FOLDS, [1.2, float("nan")])}, ".*nan"),
        ({"maps": [1]}, r"\[\[1\]\]"),
    ],
)
def test_a_run_without_the_map_of_a_network_is_refused(run, tmp_path, calibration, received):
    write_run(run, calibration=calibration)
    with pytest.raises(ValueError, match=rf"offset of each network .* Received: {received}.*Try"):
        make_request(run, tmp_path, tmp_path / "out.csv", None)


FORGED = [
    ("build_id", ["0123456789"]),
    ("recipe", ["demo"]),
    ("settings", ["ensemble"]),
    ("calibration", [1]),
    ("files", True),
    ("files", [1]),
    ("files", {"submission.csv": 1}),
]


@pytest.mark.parametrize("key, value", FORGED)
def test_a_value_of_another_type_in_run_json_is_refused(
    run, tmp_path, monkeypatch, capsys, key, value
):
    monkeypatch.setattr(build, "RUNS", run.parent)
    write_run(run, **{"build_id": "0123456789", "recipe": "demo", key: value})
    assert build.main(["predict", str(run), str(tmp_path / "patches")]) == 1
    assert build.main(["card", str(run)]) == 1
    for word in (f"weights={run}", f"networks={run}"):
        recipe = "demo" if word.startswith("weights") else "infer"
        with pytest.raises(SystemExit):
            build.main(["build", recipe, word])
    errors = re.findall("error: (.*)", capsys.readouterr().err)
    assert len(errors) == 4 and all(f"{run / 'run.json'}: expected " in text for text in errors)


def test_a_result_has_one_lock_by_whichever_path_it_is_named(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for name in ("there/a.csv", "link/a.csv", "there/../link/a.csv"):
        with locked_output(tmp_path, tmp_path / name):
            assert len(list((tmp_path / ".locks").iterdir())) == 1


def test_one_command_at_a_time_writes_a_result(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "RUNS", run.parent)
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0)
    out = tmp_path / "out.csv"
    with locked_output(run.parent, out):
        words = ["predict", str(run), str(tmp_path / "patches"), "--out", str(out)]
        assert build.main(words) == 1
    assert f"another command has worked on {out} for" in capsys.readouterr().err


def test_a_run_json_without_what_a_page_reads_is_refused(run):
    write_run(run, build_id="0123456789", settings=None)
    with pytest.raises(ValueError, match="expected the keys .*without settings"):
        read_source(run)
