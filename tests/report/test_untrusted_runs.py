"""Reports on runs whose files anybody may have written."""

import ast
import copy
import functools
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbconvert.filters import markdown2html
from report_runs import (
    make_exploration,
    make_run,
    make_several,
    make_study,
    read_run_json,
    write_record,
)

from kernel.report.assessment import assess_run, read_members
from kernel.report.checks import RUN, check_content
from kernel.report.notebook import build_notebook, execute_notebook
from kernel.report.outline import tell
from kernel.report.reading import HISTORY, read_run
from kernel.report.story import SLOTS, Cell
from kernel.report.writer import check_runs, write_report

MARKUP = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "[a](javascript:alert(3)) ![b](http://evil.example/c.png) <javascript:alert(4)> http://evil.example"
    " \U0001f600"
)
CODE = "'''\"\"\"`\\'\");raise SystemExit(1)#{}{x}\n```\n%exec\nraise SystemExit(2)\n# \x00\u2028"
WRONG = ({}, [{}], -1, 10**30, True, "x", None, float("nan"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, one of several methods, a study and an exploration: tests restore what they change."""
    home = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).integers(90, 215, (60, 96, 96, 3)).astype("uint8")
    record = read_run_json(make_run(home / "run"))
    stages = {"train": {"seconds": 60.0, "images": 100, "images_per_second": 1.5}}
    more = {"stages": stages, "grouping": "patch", "estimate": "folds share slides"}
    write_record(home / "run", {**record, **more, "warnings": ["a"], "cleaned": {"blank": ["b"]}})
    scores = {"submission": 1, "public_score": "0.9", "private_score": "", "team": "us"}
    (home / "run" / "submit.json").write_text(json.dumps(scores))
    pushed = {"service": "sandbox", "recipe": "fast", "build_id": "0" * 10, "settings": {}}
    (home / "run" / "push.json").write_text(json.dumps(pushed))
    new = {"highest": 1, "highest_auc": 0.92, "space": "{'architecture': ('vgg16', 'my_vgg16')}"}
    second = {"trial": 0, "difference": 0.02, "num_patches": 9, "interval": [0.01, 0.03]}
    make_study(home / "study", **new, second=second, within_noise=[0], not_compared=[])
    make_several(home / "several")
    make_exploration(home / "eda", images)
    return home


def tell_all(*places, known=None):
    """The cells of a report, without pictures; `known` keeps assessments by folder."""
    runs = [read_run(place, places[0]) for place in places]
    check_runs(runs)
    known, assessment = {} if known is None else known, None
    if runs[0].oof is not None:
        assessment = known.get(places[0]) or assess_run(runs[0], read_members(runs[0]), None)
        known[places[0]] = assessment
    return tell(runs, assessment, dict.fromkeys(SLOTS, ""), None, author=MARKUP).cells


def check_cells(cells):
    """Refuse cells in which a text of a run has become markup or code."""
    for cell in cells:
        check_cell(cell.source, cell.is_code)


@functools.cache  # most cells are the same whatever one text is
def check_cell(source, is_code):
    """Refuse a cell as `check_cells`."""
    if is_code:
        names = {getattr(node, "id", "") for node in ast.walk(ast.parse(source))}
        assert "SystemExit" not in names, source
        return
    page = markdown2html(source)
    assert not re.search(r"<(script|img|iframe|svg)|<[^>]* on\w+=", page), page
    assert all(a.startswith("https://") for a in re.findall(r'(?:href|src)="([^#"]+)"', page))


def list_places(value, path=()):
    """The place of every value in a JSON document: (keys to it, whether it is a key)."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for name, entry in entries:
        yield (*path, name)
        if isinstance(entry, dict | list):
            yield from list_places(entry, (*path, name))


def replace_value(content, place, value):
    """A document with another value at a place."""
    changed = copy.deepcopy(content)
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = value
    return changed


FILES = [
    *(("run", name) for name in ("run.json", "submit.json", "push.json")),
    *(("several", "run.json"), ("study", "run.json"), ("eda", "exploration.json")),
]


CASES = [
    *(pytest.param(*file, False) for file in FILES),
    *(pytest.param(*file, True, marks=pytest.mark.slow) for file in FILES),
]


def count_told(path, places, values, every, order):
    """Tell a report with other values in a file, and restore it.

    Args:
        path: the file.
        places: places of values in it, as `list_places` gives them.
        values: the other values.
        every: whether each of them is tried at each place, instead of one in turn.
        order: the folders of the report.

    Returns:
        How many reports were told and how many refused, all of them with an explanation.
    """
    content, told, refused, known = json.loads(path.read_text()), 0, 0, {}
    try:
        for number, place in enumerate(places):
            for value in values if every else [values[number % len(values)]]:
                path.write_text(json.dumps(replace_value(content, place, value)))
                try:
                    check_cells(tell_all(*order, known=known))
                    told += 1
                except ValueError as error:
                    explained = re.search(r"[Ee]xpected.* (Received|Try): ", str(error), re.S)
                    assert explained, (place, value, error)
                    refused += 1
    finally:
        path.write_text(json.dumps(content))
    return told, refused


def list_texts(content):
    """The place of every text in a JSON document that a run may hold."""
    for place in list_places(content):
        value = functools.reduce(lambda part, key: part[key], place, content)
        if isinstance(value, str) and place[0] not in ("files", "maps"):
            yield place


@pytest.mark.parametrize("folder, name, every", CASES)
def test_texts_of_a_run_become_no_markup_and_no_code(folders, folder, name, every):
    path = folders / folder / name
    places = list_texts(json.loads(path.read_text()))
    others = {"run": ["run", "study"], "eda": ["run", "eda"]}.get(folder, [folder])
    order = [folders / other for other in others]
    told, refused = count_told(path, places, (MARKUP, CODE), every, order)
    assert told
    assert refused or name != "submit.json"  # whose scores are numbers


@pytest.mark.parametrize("folder, name, every", CASES)
def test_values_of_other_types_are_refused_or_left_out(folders, folder, name, every):
    path = folders / folder / name
    places = list_places(json.loads(path.read_text()))
    places = [place for place in places if place[0] != "files" and len(place) <= 3]
    order = [folders / other for other in (["run", folder] if folder == "eda" else [folder])]
    told, refused = count_told(path, places, WRONG, every, order)
    assert told or name == "push.json"
    assert refused


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("history.csv", "fold,seed\n0,0\n", "its columns"),
        ("history.csv", "", "number of fields"),
        ("history.csv", f"{','.join(HISTORY)}\n,0,1{',0.5' * 4}\n", "its column fold"),
        ("oof.csv", "id,label,fold,prediction\na,1,0,0.5\n,0,0,0.5\n", "every id"),
        ("oof.csv", "id,label,fold,prediction\na,1,0,0.5\nb,1,0,0.5\n", "0 and 1"),
        ("oof.csv", "id,label,fold,prediction\na,1,0,7\nb,0,0,0.5\n", "probabilities"),
        ("oof.csv", "id,label,fold,prediction\na,1,0,nan\nb,0,0,0.5\n", "finite numbers"),
        ("patches.csv", "id,stain\na,0\n", "its columns"),
        ("run.json", "[]", "JSON object"),
        ("run.json", "{", "JSON object"),
        (
            "run.json",
            '{"recipe": "fast", "counts": {"train": 1, "positive": 2, "test": 3}}',
            "no more",
        ),
        ("run.json", '{"recipe": "fast", "network": "\\ud800"}', "whole characters"),
        ("run.json", '{"recipe": "fast", "\\udc80": 1}', "whole characters"),
        ("submit.json", '{"public_score": "<b>"}', "public_score"),
    ],
)
def test_files_that_no_run_wrote_are_refused(tmp_path, name, text, message):
    run = make_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(ValueError, match=rf"(?s){name}.*xpected.*Received") as error:
        tell_all(run)
    assert message in str(error.value)


def test_nothing_outside_the_folder_is_read(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "secret.json").write_text("{}")
    (run / "inside.json").symlink_to(run / "run.json")
    tell_all(run)
    (run / "evaluation.json").unlink()
    (run / "evaluation.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ValueError, match="link out of its folder"):
        tell_all(run)


@pytest.mark.parametrize("name", ["pandas", "ipykernel_launcher"])
def test_no_module_in_the_folder_is_imported(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    notebook = build_notebook([Cell("import pandas\nprint('read')", is_code=True)])
    execute_notebook(notebook, tmp_path)
    assert notebook.cells[0].outputs[0].text == "read\n"


def test_a_network_s_file_of_other_arrays_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    path = run / "folds" / "fold0_seed0.npz"
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    for change in (
        {"positions": np.array([10**15])},
        {"positions": np.array([-1])},
        {"oof": np.full(30, 7.0)},
        {"oof": np.zeros(2)},
        {"stages": '{"train": {"x": 1}}'},
        {"oof": np.array([object()])},
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(ValueError, match="fold0_seed0"):
            tell_all(run)


def test_a_page_of_a_hostile_run_holds_no_script_and_no_foreign_address(tmp_path):
    """The notebook is executed: its tables show the texts as they are."""
    run = make_run(tmp_path / "run [x](javascript:1)<i>'\"")
    record = read_run_json(run)
    record |= dict.fromkeys(("device", "precision", "network", "recipe"), MARKUP)
    record |= {"warnings": [MARKUP, CODE], "not_trained": [MARKUP], "cleaned": {MARKUP: []}}
    record["settings"] = {**record["settings"], "optimizer": MARKUP, CODE: MARKUP, MARKUP: CODE}
    write_record(run, record)
    study = make_study(tmp_path / "study \U0001f600", highest=1, highest_auc=0.9)
    trials = pd.read_csv(study / "study.csv").assign(**{MARKUP: MARKUP})
    trials.to_csv(study / "study.csv", index=False)
    page = write_report([run, study], say=lambda line: None, author=MARKUP)
    text = re.sub(r"base64,[\w+/=\s]+", "", page.read_text("utf-8"))
    assert not re.search(r"<(script|iframe|img src=x|i>)", text)
    assert not re.search(r"""(?:src|href)=["']?\s*javascript""", text)
    addresses = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", text)
    assert all(address.startswith("https://") for address in addresses)
    assert "&lt;script&gt;alert(1)" in text
    nbformat.validate(nbformat.read(page.with_suffix(".ipynb"), nbformat.NO_CONVERT))


def nest(run):
    (run / "run.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def link_in_circles(run):
    (run / "loop").symlink_to("loop")


def empty_table(run):
    (run / "oof.csv").write_text("")


def tear_table(run):
    (run / "submission.csv").write_text('id,label\n"a,1\n')


def write_latin(run):
    (run / "words.md").write_bytes("## results\nGewebe f\u00fcr".encode("latin-1"))


def name_fold(run):
    path = run / "folds" / "fold0_seed0.npz"
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **{**kept, "fold": np.array("first")})


def leave_study(run):
    (run / "run.json").unlink()
    (run / "study.log").touch()


@pytest.mark.parametrize(
    "damage, message",
    [
        (nest, r"run\.json: expected a JSON object"),
        (link_in_circles, "loop: expected files of the run"),
        (empty_table, r"oof\.csv: expected a table"),
        (tear_table, r"submission\.csv: expected a table"),
        (write_latin, r"words\.md: expected text in UTF-8.*save it as UTF-8"),
        (name_fold, r"fold0_seed0\.npz: expected 'its arrays'"),
        (leave_study, "not finished. Try: repeat `python build.py train`"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    run = make_run(tmp_path / "run")
    damage(run)
    with pytest.raises(ValueError, match=message):
        write_report([run])


@pytest.mark.parametrize(
    "content, entry",
    [
        ({}, "'recipe' with a value. Received: none"),
        ({"recipe": "a", "counts": {"train": 3}}, "'counts.positive' with a value. Received: none"),
        ([], "'its content' with type 'object'"),
    ],
)
def test_entries_are_named_without_the_words_of_a_schema(tmp_path, content, entry):
    with pytest.raises(ValueError, match=re.escape(entry)) as caught:
        check_content(content, RUN, tmp_path / "run.json")
    assert "$" not in str(caught.value)


def test_a_file_of_too_many_levels_is_named(tmp_path):
    deep = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"run\.json: .*too many levels"):
        check_content({"recipe": "a", "x": deep}, RUN, tmp_path / "run.json")
