"""Outputs of finished runs: the best of each build, whatever else is attached."""

from pcam_kaggle.system.files import write_json
from pcam_kaggle.system.outputs import find_outputs


def write_run(folder, **record):
    """A folder with a run.json."""
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"build_id": "a", **record})
    return folder


def test_a_complete_output_is_taken_else_the_latest(tmp_path):
    write_run(tmp_path / "1", complete=False, finished="2026-03")
    best = write_run(tmp_path / "2", complete=True, finished="2026-01")
    write_run(tmp_path / "3", complete=False, finished="2026-02")
    write_run(tmp_path / "4", build_id="b", complete=False, finished="2026-02")
    later = write_run(tmp_path / "5", build_id="b", complete=False, finished="2026-03")
    write_run(tmp_path / "6", build_id="b")
    found = {build_id: folder for build_id, (folder, _) in find_outputs(tmp_path).items()}
    assert found == {"a": best, "b": later}


def test_a_run_json_of_something_else_is_left_out(tmp_path):
    run = write_run(tmp_path / "z")
    for name, content in (("a", b"[1]"), ("b", b"no JSON"), ("c", b"\xff")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(content)
    assert find_outputs(tmp_path) == {"a": (run, {"build_id": "a"})}


def test_folders_that_are_named_replace_the_inputs(tmp_path, monkeypatch):
    write_run(tmp_path / "inputs" / "run", complete=True)
    named = [write_run(tmp_path / "one"), write_run(tmp_path / "two", build_id="b")]
    monkeypatch.setenv("PCAM_NETWORKS", "\n".join(map(str, named)))
    found = find_outputs(tmp_path / "inputs")
    assert [folder for folder, _ in found.values()] == named
