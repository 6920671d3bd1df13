"""Kaggle's credentials: whose they are, without quoting them."""

import pytest

from kernel.credentials import find_owner


def test_the_owner_comes_from_the_credentials(home, monkeypatch, tmp_path):
    assert find_owner() is None
    kaggle = home / ".kaggle"
    kaggle.mkdir()
    (kaggle / "credentials.json").write_text('{"username": "oauth"}')
    assert find_owner() == "oauth"
    (kaggle / "kaggle.json").write_text('{"username": "legacy", "key": "secret"}')
    assert find_owner() == "legacy"
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "kaggle.json").write_text('{"username": "other", "key": "secret"}')
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(folder))
    assert find_owner() == "other"
    monkeypatch.setenv("KAGGLE_USERNAME", "variable")
    assert find_owner() == "variable"


def test_a_broken_credential_is_named_and_never_quoted(home):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text('{"key": "secret123')
    with pytest.raises(ValueError, match=r"kaggle\.json: expected the JSON") as error:
        find_owner()
    assert "secret123" not in str(error.value)
    assert error.value.__suppress_context__
