"""Patches in files, predicted by kept networks as the run predicted them."""

import csv
import dataclasses
import hashlib
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from small_task import IMAGES, LABELS, PATCHES, make_method, make_split
from small_transformer import write_model

from pcam_kaggle.data import patch_files
from pcam_kaggle.data.patch_files import list_patches
from pcam_kaggle.data.run import Patches
from pcam_kaggle.inference.calibration import calibrate
from pcam_kaggle.inference.ensemble import ensemble_predictions
from pcam_kaggle.inference.networks import save_network
from pcam_kaggle.methods import rows
from pcam_kaggle.methods.features import average_features
from pcam_kaggle.methods.linear_probe import LinearProbe
from pcam_kaggle.methods.predict_files import COLUMNS, predict_files
from pcam_kaggle.methods.predict_kept import Request
from pcam_kaggle.models.transformer import build_transformer, find_transformer_revision
from pcam_kaggle.models.transformer_settings import HeadSettings, TransformerSettings
from pcam_kaggle.training.settings import TrainingSettings

NUM_PATCHES = 21


@dataclasses.dataclass(frozen=True)
class Kept:
    """A run's networks, and what it predicted for the test patches: (networks, n)."""

    networks: dict
    test: np.ndarray


def keep(folder, networks, **facts):
    """Save networks as a run does; their paths and sha256."""
    digests = {}
    for fold, network in enumerate(networks):
        path = folder / f"{facts.get('member', '')}fold{fold}_seed{fold}.keras"
        save_network(path, network, {"fingerprint": "mine", "fold": fold, "seed": fold, **facts})
        digests[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """Two networks of Finetune, with flipped views."""
    method = make_method(tta="flip", epochs=1)
    networks = [method.fit(PATCHES, make_split(seed))[0] for seed in range(2)]
    test = np.stack([method.predict(network, IMAGES[:NUM_PATCHES])[0] for network in networks])
    facts = {"method": "Finetune", "tta": "flip", "settings": {}, "backbone": None}
    return Kept(keep(tmp_path_factory.mktemp("run") / "folds", networks, **facts), test)


@pytest.fixture
def folder(tmp_path):
    """The test patches as files of every format without loss."""
    folder = tmp_path / "patches"
    folder.mkdir()
    for number, pixels in enumerate(IMAGES[:NUM_PATCHES]):
        ending = ("tif", "png", "tiff")[number % 3]
        Image.fromarray(pixels).save(folder / f"patch{number:02}.{ending}")
    return folder


def make_request(kept, source, **changes):
    """A request for a CSV beside its source."""
    out = source.parent / "predictions.csv"
    rest = {"fingerprint": "mine", "tta": None, "average": "mean", "maps": None}
    rest.update(changes)
    return Request(networks=kept.networks, source=str(source), out=str(out), **rest)


def read(request):
    """Ids, probabilities and spreads of the CSV; None where a field is empty."""
    with open(request.out, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "probability", "spread"]
    ids, *columns = zip(*rows)
    return list(ids), *([float(text) if text else None for text in column] for column in columns)


def test_kept_networks_give_the_test_predictions_of_the_run_again(finetuned, folder):
    request = make_request(finetuned, folder)
    assert predict_files(request) == (NUM_PATCHES, 0)
    ids, probabilities, spread = read(request)
    assert ids == [f"patch{number:02}" for number in range(NUM_PATCHES)]
    np.testing.assert_allclose(probabilities, finetuned.test.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(spread, finetuned.test.std(axis=0), atol=1e-6)
    assert max(spread) > 1e-3
    assert sorted(path.name for path in folder.parent.iterdir()) == ["patches", "predictions.csv"]


def test_each_network_is_mapped_before_the_runs_average(finetuned, folder):
    maps = [(1.5, -0.3), (0.5, 0.2)]
    request = make_request(finetuned, folder, average="logit", maps=maps)
    predict_files(request)
    _, probabilities, spread = read(request)
    mapped = np.stack([calibrate(own, *pair) for own, pair in zip(finetuned.test, maps)])
    mean = ensemble_predictions(mapped, "logit")
    np.testing.assert_allclose(probabilities, mean, atol=1e-6)
    np.testing.assert_allclose(spread, mapped.std(axis=0), atol=1e-6)


def test_one_network_has_no_spread_and_other_views_may_be_asked_for(finetuned, folder):
    path, digest = next(iter(finetuned.networks.items()))
    one = Kept({path: digest}, finetuned.test[:1])
    request = make_request(one, folder / "patch00.tif", tta="none")
    predict_files(request)
    ids, (probability,), spread = read(request)
    assert ids == ["patch00"] and spread == [None]
    expected = keras.saving.load_model(path).predict(IMAGES[:1].astype("float32"), verbose=0)
    np.testing.assert_allclose(probability, expected[0, 0], atol=1e-6)


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Two heads on a small transformer, with flipped views: their facts, networks and tests."""
    pytest.importorskip("safetensors.numpy")
    weights = str(write_model(tmp_path_factory.mktemp("probed") / "small"))
    settings = TransformerSettings(weights=weights, input_size=56, crop_size=80)
    head, training = HeadSettings(head="logistic"), TrainingSettings()
    probe = LinearProbe(
        settings, head, training, build_transformer, find_transformer_revision, "flip"
    )
    features = average_features(probe.build(), "flip").predict(IMAGES, verbose=0)
    patches = Patches(features, LABELS, features[:NUM_PATCHES], IMAGES)
    heads = [probe.fit(patches, make_split(seed))[0] for seed in range(2)]
    test = np.stack([probe.predict(head, patches.test_images)[0] for head in heads])
    return {**probe.describe(), "settings": {"precision": "float32"}}, heads, test


def test_methods_are_averaged_as_the_run_averages_them(finetuned, probed, folder, tmp_path):
    facts, heads, test = probed
    own = keep(tmp_path / "folds", heads[:1], member="probe", **facts)
    both = Kept({**own, **finetuned.networks}, None)
    predict_files(make_request(both, folder))
    _, probabilities, spread = read(make_request(both, folder))
    expected = ensemble_predictions([test[0], finetuned.test.mean(axis=0)], "logit")
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    every = np.stack([test[0], *finetuned.test])
    np.testing.assert_allclose(spread, every.std(axis=0), atol=1e-6)


def test_heads_on_features_give_the_test_predictions_of_the_run_again(probed, folder, tmp_path):
    facts, heads, test = probed
    kept = Kept(keep(tmp_path / "folds", heads, **facts), test)
    lines = []
    predict_files(make_request(kept, folder), lines.append)
    _, probabilities, _ = read(make_request(kept, folder))
    assert np.ptp(probabilities) > 1e-3 and not lines
    np.testing.assert_allclose(probabilities, test.mean(axis=0), atol=1e-6)

    (folder.parent / "predictions.csv").unlink()
    facts = {**facts, "backbone": {**facts["backbone"], "revision": "0123456789"}}
    other = Kept(keep(tmp_path / "other", heads, **facts), test)
    with pytest.raises(ValueError, match="has other weights.*Expected: revision 0123456789"):
        predict_files(make_request(other, folder))


def test_files_that_are_no_patches_have_rows_without_a_probability(finetuned, folder):
    predict_files(make_request(finetuned, folder))
    expected = read(make_request(finetuned, folder))
    (folder.parent / "predictions.csv").unlink()
    (folder / "patch07.png").write_bytes(b"no image")
    lines = []
    request = make_request(finetuned, folder)
    assert predict_files(request, lines.append) == (NUM_PATCHES, 1)
    assert len(lines) == 1 and lines[0].startswith(str(folder / "patch07.png"))
    for column, other in zip(read(request)[1:], expected[1:]):
        assert column[7] is None
        assert column[:7] + column[8:] == other[:7] + other[8:]


def test_what_has_no_patch_leaves_nothing_behind(finetuned, folder):
    gray, lines = folder.parent / "gray.tif", []
    Image.fromarray(IMAGES[0, :, :, 0]).save(gray)
    with pytest.raises(ValueError, match="gray.tif has no patch. Expected: .* Received: 1 that"):
        predict_files(make_request(finetuned, gray), lines.append)
    assert lines == [f"{gray}: not a patch of 96x96, RGB of 8 bits: 96x96 L, bits per channel 8"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["gray.tif", "patches"]


def test_a_stopped_command_continues_with_whole_rows(finetuned, folder, monkeypatch):
    """Also after the networks and the rows were moved."""
    monkeypatch.setattr(patch_files, "FILES_PER_CHUNK", 4)
    (folder / "patch01.png").write_bytes(b"no image")
    (folder / "patch10.png").write_bytes(b"no image")
    request = make_request(finetuned, folder)
    assert predict_files(request, print) == (NUM_PATCHES, 2)
    out = folder.parent / "predictions.csv"
    expected, part = out.read_bytes(), out.with_name("predictions.csv.part")
    out.unlink()

    def stop(line):
        if "patch10" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(request, stop)
    assert not out.exists()
    with open(part, "ab") as file:
        file.write(b"patch10,0.4")  # as a kill leaves it
    moved, lines = folder.parent / "moved", []
    shutil.copytree(Path(next(iter(finetuned.networks))).parent, moved)
    part = part.rename(moved / part.name)
    networks = {str(moved / Path(path).name): d for path, d in finetuned.networks.items()}
    out = moved / out.name
    request = dataclasses.replace(request, networks=networks, out=str(out))
    assert predict_files(request, lines.append) == (NUM_PATCHES, 2)
    assert lines[0].startswith("10 of 21 patches were finished before")
    assert out.read_bytes() == expected and not part.exists()


def test_more_rows_than_patches_are_refused(finetuned, folder):
    request = make_request(finetuned, folder)
    part = folder.parent / "predictions.csv.part"
    rows.resume_rows(part, request.describe(list_patches(folder).hash()), COLUMNS, NUM_PATCHES)
    with open(part, "a") as file:
        file.write("id,0.5,\n" * (NUM_PATCHES + 1))  # as two commands leave them
    with pytest.raises(ValueError, match="has 22 rows, .*Expected: at most 21. Try: delete it"):
        predict_files(request)
    assert part.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"tta": "dihedral"},
        {"average": "logit"},
        {"maps": [[2.0, 0.0], [2.0, 0.0]]},
        "files",
        "content",
        "version",
        "networks",
    ],
)
def test_rows_of_another_call_are_not_continued(changes, finetuned, folder, monkeypatch):
    def stop(line):
        raise KeyboardInterrupt

    bad = folder / "patch00.tif"
    bad.write_bytes(b"no image")
    with pytest.raises(KeyboardInterrupt):
        predict_files(make_request(finetuned, folder), stop)
    part = folder.parent / "predictions.csv.part"
    content = part.read_bytes()
    if changes == "files":
        bad.unlink()
    if changes == "content":
        bad.write_bytes(b"another patch")
    if changes == "version":
        monkeypatch.setattr(rows, "ROWS_VERSION", 0)
    if changes == "networks":
        finetuned = Kept(dict.fromkeys(finetuned.networks, "other"), finetuned.test)
    request = make_request(finetuned, folder, **(changes if isinstance(changes, dict) else {}))
    with pytest.raises(ValueError, match="part has rows of another run.*Try: --out FILE"):
        predict_files(request)
    assert part.read_bytes() == content


def test_an_earlier_result_is_not_overwritten(finetuned, folder):
    out = folder.parent / "predictions.csv"
    out.write_text("mine", "utf-8")
    with pytest.raises(ValueError, match="predictions.csv is there already.*Try: --out FILE"):
        predict_files(make_request(finetuned, folder))
    assert out.read_text("utf-8") == "mine"


def test_a_network_of_another_run_is_refused(finetuned, folder):
    with pytest.raises(ValueError, match="fold0_seed0.keras is of another run. Expected: finger"):
        predict_files(make_request(finetuned, folder, fingerprint="other"))
