"""The networks of finished runs predict test patches and explain others, without training."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import read_rows
from PIL import Image
from small_transformer import write_model

from kernel.predict import make_request
from pcam_kaggle.inference.calibration import calibrate
from pcam_kaggle.inference.ensemble import ensemble_predictions
from pcam_kaggle.inference.load_network import load_network
from pcam_kaggle.inference.networks import save_network
from pcam_kaggle.methods import explain_files as explaining
from pcam_kaggle.methods import infer as program
from pcam_kaggle.methods.explain_files import Request, explain_files
from pcam_kaggle.methods.explain_pixels import explain_pixels
from pcam_kaggle.recipes import run_recipe

PLACES = "PCAM_NETWORKS"
MAPS = {"fold0_seed0": [1.5, -0.3], "fold1_seed1": [0.5, 0.2]}


@pytest.fixture
def runs(tmp_path, shared_competition, monkeypatch):
    """Two runs whose networks predict the brightness of a corner of a patch, times a factor."""
    home, oof = tmp_path / "runs", pd.read_csv(shared_competition / "train_labels.csv")[:4]
    monkeypatch.setenv(PLACES, str(home))
    make_run(home / "first", "aaaaaaaaaa", (1.0, 0.5), oof, calibration={"maps": MAPS})
    make_run(home / "second", "bbbbbbbbbb", (0.3,), oof, settings={"ensemble": "logit"})
    return home


def make_run(folder, build_id, factors, oof, **changes):
    """Write what a run leaves: run.json, oof.csv and networks."""
    folder.mkdir(parents=True)
    oof.to_csv(folder / "oof.csv", index=False)
    digest = hashlib.sha256((folder / "oof.csv").read_bytes()).hexdigest()
    files = {"submission.csv": {}, "oof.csv": {"sha256": digest}}
    for fold, factor in enumerate(factors):
        inputs = keras.Input((96, 96, 3))
        corner = keras.layers.Cropping2D(((0, 48), (0, 64)))(inputs)  # other views show others
        mean = keras.layers.GlobalAveragePooling2D()(corner)
        outputs = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(mean)
        network = keras.Model(inputs, keras.layers.Rescaling(factor / 765)(outputs))
        facts = {"fingerprint": build_id, "fold": fold, "seed": fold, "tta": "flip"}
        path = folder / "folds" / f"fold{fold}_seed{fold}.keras"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_network(path, network, {**facts, "settings": {}, "backbone": None})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files[f"folds/{path.name}"] = {"size": path.stat().st_size, "sha256": digest}
    record = {"recipe": "demo", "build_id": build_id, "fingerprint": build_id, "complete": True}
    record |= {"settings": {}, "files": files, **changes}
    (folder / "run.json").write_text(json.dumps(record), "utf-8")


def infer(data, output, networks="aaaaaaaaaa,bbbbbbbbbb", **settings):
    """Run the recipe infer; its run.json and the predictions in the order of the sample."""
    result = run_recipe("infer", {"networks": networks, **settings}, data=data, output=output)
    return result, pd.read_csv(output / "submission.csv")["label"].to_numpy()


def test_runs_are_averaged_as_they_did_then_by_their_log_odds(runs, shared_competition, tmp_path):
    result, both = infer(shared_competition, tmp_path / "both")
    _, one_view = infer(shared_competition, tmp_path / "first", "aaaaaaaaaa", tta="none")
    paths = [shared_competition / "test" / f"{name}.tif" for name in read_ids(shared_competition)]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]) / 255
    flips = [pixels[:, ::down, ::across] for down in (1, -1) for across in (1, -1)]
    corners = [view[:, :48, :32].mean(axis=(1, 2, 3)) for view in flips]
    np.testing.assert_allclose(one_view, average_mapped(corners[0]), atol=1e-5)
    shade = np.mean(corners, axis=0)
    expected = ensemble_predictions([average_mapped(shade), 0.3 * shade], "logit")
    np.testing.assert_allclose(both, expected, atol=1e-5)
    assert [run["build_id"] for run in result["runs"]] == ["aaaaaaaaaa", "bbbbbbbbbb"]
    assert len([name for name in result["files"] if name.endswith(".npz")]) == 3


def average_mapped(shade):
    """What the first run makes of the brightness that its networks see."""
    mapped = [calibrate(shade * f, *MAPS[name]) for f, name in zip((1, 0.5), sorted(MAPS))]
    return np.mean(mapped, axis=0)


def test_a_stopped_session_continues_with_the_networks_that_are_left(
    runs, shared_competition, tmp_path, monkeypatch, capsys
):
    """A full disk after the first network; then too little time; then the rest."""
    whole, out, save = tmp_path / "whole", tmp_path / "out", program.save_member
    _, expected = infer(shared_competition, whole)
    saved = []

    def fill(path, *rest):
        if saved:
            raise OSError(28, "No space left on device")
        saved.append(path)
        save(path, *rest)

    monkeypatch.setattr(program, "save_member", fill)
    with pytest.raises(OSError, match="No space left"):
        infer(shared_competition, out)
    first = json.loads((out / "run.json").read_text())
    assert not first["complete"] and len(first["not_trained"]) == 2
    assert "not predicted so far: aaaaaaaaaa fold1 seed1" in first["warnings"][0]
    assert len(read_rows(out / "submission.csv")) == len(expected)
    monkeypatch.setattr(program, "save_member", save)

    result, _ = infer(shared_competition, out, max_hours=0.05)
    assert result["complete"] and result["not_trained"] == []
    assert "aaaaaaaaaa fold0 seed0 was finished before" in capsys.readouterr().out
    assert (out / "submission.csv").read_bytes() == (whole / "submission.csv").read_bytes()


def test_no_time_is_said(runs, shared_competition, tmp_path, monkeypatch):
    monkeypatch.setattr(program.Budget, "left", lambda budget: 0)
    with pytest.raises(ValueError, match="max_hours: no network could be finished"):
        infer(shared_competition, tmp_path / "out")


def test_what_cannot_be_used_is_refused(runs, shared_competition, tmp_path):
    def refuse(message, networks="aaaaaaaaaa", **settings):
        with pytest.raises(ValueError, match=message):
            infer(shared_competition, tmp_path / "out", networks, **settings)

    refuse("expected the build ids of finished runs. Received: none", "")
    refuse("expected build ids with commas between, each once", "aaaaaaaaaa,aaaaaaaaaa")
    refuse("run.json of build cccccccccc among the inputs. Received: aaaaaaaaaa, bbb", "cccccccccc")
    first = runs / "first"
    record = json.loads((first / "run.json").read_text())

    def write(**changes):
        (first / "run.json").write_text(json.dumps({**record, **changes}))

    write(settings={"ensemble": "rank"})
    refuse("averages ranks, which are no probabilities", labels="hard")
    write(counts={"train": 500})
    refuse("at least 100 of its patches in its oof.csv, or all. Received: 4 of 500. Try: a run")
    write(fingerprint="another")
    refuse("is of another run. Expected: fingerprint another")
    write(files={"submission.csv": {}})
    refuse("has no networks. Expected: run.json and folds/")
    seen = pd.DataFrame({"id": read_ids(shared_competition)[:3], "label": 0})
    seen.to_csv(first / "oof.csv", index=False)
    digest = hashlib.sha256((first / "oof.csv").read_bytes()).hexdigest()
    write(files={**record["files"], "oof.csv": {"sha256": digest}})
    refuse("may have been trained on the test patches. Expected: .* Received: 3 of 3 that are not")
    write(files={**record["files"], "oof.csv": {"sha256": "0"}})
    refuse("oof.csv is missing or damaged")
    (first / "oof.csv").unlink()
    refuse("oof.csv is missing or damaged. Expected: .* Received: none")
    path = first / "folds" / "fold0_seed0.keras"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    refuse("fold0_seed0.keras is damaged. Expected: sha256")
    path.unlink()
    refuse("fold0_seed0.keras is not there")
    assert not (tmp_path / "out" / "submission.csv").exists()


def read_ids(competition):
    return [row[0] for row in read_rows(competition / "sample_submission.csv")]


def test_networks_beside_run_json_are_those_of_a_dataset_or_a_model(
    runs, shared_competition, tmp_path
):
    expected = infer(shared_competition, tmp_path / "one", "bbbbbbbbbb")[1]
    folder = runs / "second"
    for path in (folder / "folds").iterdir():
        shutil.move(path, folder)
    mount = runs / "models" / "owner" / "model" / "keras" / "networks" / "1"
    mount.parent.mkdir(parents=True)
    folder.rename(mount)
    flat = infer(shared_competition, tmp_path / "two", "bbbbbbbbbb")[1]
    np.testing.assert_array_equal(expected, flat)


def test_heads_on_a_frozen_transformer_predict_and_explain(competition, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    inputs = competition.parents[1]
    monkeypatch.setenv("PCAM_INPUT", str(inputs))  # where the name of a model is looked up
    write_model(inputs / "small")
    settings = {"num_folds": 2, "weights": "small", "input_size": 56, "calibration": "none"}
    run = tmp_path / "run"
    run_recipe("midnight", settings, data=inputs, output=run)
    monkeypatch.setenv(PLACES, str(run))
    result, again = infer(inputs, tmp_path / "infer", "package")
    own = pd.read_csv(run / "submission.csv")["label"]
    np.testing.assert_allclose(again, own, atol=1e-4)
    assert result["complete"] and not (tmp_path / "infer" / "features").exists()
    other = {"networks": "package"}
    result = run_recipe("explain_tokens", other, data=inputs, output=tmp_path / "explain")
    check_explained(tmp_path / "explain", result)
    with pytest.raises(ValueError, match="no network that this recipe explains"):
        run_recipe("explain", other, data=inputs, output=tmp_path / "pixels")
    (inputs / "small").rename(inputs / "gone")
    with pytest.raises(FileNotFoundError, match="small"):
        infer(inputs, tmp_path / "late", "package")


def check_explained(out, result):
    """The pictures, a row for each patch that was explained, and its map."""
    assert {*result["files"], "run.json"} >= {"gradcam.png", "errors.png", "maps.npz"}
    table = pd.read_csv(out / "explained.csv")
    with np.load(out / "maps.npz") as file:
        assert list(file["id"]) == list(table["id"]) and file["map"].shape[1:] == (96, 96)
        assert file["map"].min() >= 0 and file["map"].max() <= 1
    assert {"surest tumor", "missed tumor", "false alarm"} & set(table["kind"])
    wrong = table["kind"].isin(["missed tumor", "false alarm"])
    assert (((table["prediction"] >= 0.5) != table["label"]) == wrong).all()


def test_a_finished_run_is_explained_as_it_was_when_trained(
    finished, shared_competition, tmp_path, monkeypatch
):
    monkeypatch.setenv(PLACES, str(finished))
    out, networks = tmp_path / "out", {"networks": "package"}
    check_explained(out, run_recipe("explain", networks, data=shared_competition, output=out))
    with np.load(out / "maps.npz") as file:
        maps = dict(zip(file["id"], file["map"]))
    ids = pd.read_csv(shared_competition / "train_labels.csv")["id"]
    with np.load(finished / "folds" / "fold0_seed0.npz") as file:
        names = ids.iloc[file["positions"][file["shown"]]]
        pairs = [(maps[n], m) for n, m in zip(names, file["maps"]) if n in maps]
    assert pairs and all(np.abs(own - then).max() < 0.01 for own, then in pairs)
    damaged = shutil.copytree(finished, tmp_path / "damaged")
    (damaged / "oof.csv").unlink()
    monkeypatch.setenv(PLACES, str(damaged))
    with pytest.raises(ValueError, match=r"oof\.csv is missing or damaged"):
        run_recipe("explain", networks, data=shared_competition, output=tmp_path / "none")


def test_patches_in_files_are_explained_whole_or_not_at_all(
    finished, shared_competition, tmp_path, monkeypatch
):
    """Two files of one name, by ids; the maps show what supports the average, here the reverse."""
    paths = sorted((shared_competition / "test").iterdir())[:3]
    table, out = tmp_path / "patches.csv", tmp_path / "out"
    for number, path in enumerate(paths):
        (tmp_path / str(number)).mkdir()
        shutil.copyfile(path, tmp_path / str(number) / "x.tif")

    def request(ids):
        rows = "".join(f"{number}/x.tif,{name}\n" for number, name in enumerate(ids))
        table.write_text(f"path,id\n{rows}", "utf-8")
        known = {**make_request(finished, table, out, None), "name": "a run"}
        known["maps"] = [(-1.0, 0.0)] * 2  # p to 1 - p
        keys = ("networks", "fingerprint", "average", "maps", "name", "out")
        return Request(**{key: known[key] for key in keys}, sources=[str(table)])

    with pytest.raises(ValueError, match=r"fit for the name of a file. Received: 'a/b'. Try"):
        explain_files(request(["a/b", "c", "d"]))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk"):
        patch.setattr(explaining, "write_table", fill)
        explain_files(request("abc"))
    assert not out.exists()
    assert explain_files(request("abc")) == (3, 0)
    names = {"a-map.tif", "b-map.tif", "c-map.tif", "explained.csv", "explained.png"}
    assert {path.name for path in out.iterdir()} == names
    with pytest.raises(ValueError, match="is there already. Expected: a new or empty folder"):
        explain_files(request("abc"))
    assert not list(tmp_path.glob("partial-*"))

    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    answers = []
    for path in sorted((finished / "folds").glob("*.keras")):
        answers.append(explain_pixels(*load_network(path), pixels))
    rows = pd.read_csv(out / "explained.csv")
    expected = [1 - own for own, _ in answers]
    assert list(rows["id"]) == list("abc")
    np.testing.assert_allclose(rows["probability"], np.mean(expected, axis=0), atol=1e-5)
    np.testing.assert_allclose(rows["spread"], np.std(expected, axis=0), atol=1e-5)
    maps = np.mean([draw(rows["probability"]).astype("float32") for _, draw in answers], axis=0)
    for name, own in zip(rows["map"], maps):
        with Image.open(out / name) as found:
            np.testing.assert_allclose(np.asarray(found), own / own.max(), atol=1e-2)


def fill(*args):
    raise OSError(28, "disk full")
