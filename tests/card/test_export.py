"""The documented exports of a kept network, as the guide has them."""

import re

import keras
import numpy as np
import pytest

from kernel.folders import ROOT


@pytest.fixture
def exported(finished, tmp_path, monkeypatch):
    """The guide's blocks of code; the names that they share; what the network predicts."""
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / ".github" / "kaggler.md").read_text("utf-8")
    part = re.search(r"<!-- export -->(.*?)<!-- /export -->", guide, re.S).group(1)
    blocks = re.findall(r"```python\n(.*?)```", part.replace("RUN", str(finished)), re.S)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3)).astype("float32")
    names = {"pixels": pixels}
    exec(blocks[0], names)
    network = keras.saving.load_model(finished / "folds" / "fold0_seed0.keras", compile=False)
    return blocks[1:], names, network.predict(pixels, verbose=0)


def test_exports_predict_as_the_network_does(exported, tmp_path):
    (saved_model, onnx), names, expected = exported
    exec(saved_model, names)
    np.testing.assert_allclose(names["probability"], expected, atol=1e-6)
    files = [path for path in (tmp_path / "saved_model").rglob("*") if path.is_file()]
    assert 100_000 < sum(path.stat().st_size for path in files) < 1_000_000
    for package in ("tf2onnx", "onnx", "onnxruntime"):  # of the extra `export`
        pytest.importorskip(package)
    exec(onnx, names)
    np.testing.assert_allclose(names["probability"], expected, atol=1e-5)
