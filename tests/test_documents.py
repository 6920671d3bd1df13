"""The documents: generated parts, links, commands and files are those of the code."""

import fnmatch
import re
import shlex

import pytest

from kernel import documents
from kernel.arguments import make_parser
from kernel.documents import GENERATED, replace_part, update_documents
from kernel.folders import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / ".github").glob("*.md"))]
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.S | re.M)
PLACEHOLDERS = {  # what stands in a document: what it is replaced by
    "RECIPE": "fast",
    "STUDY": "fast_study",
    "OWNER/DATASET": "owner/dataset",
    "...": "",
}


@pytest.mark.parametrize("document, name, render", GENERATED)
def test_the_documents_show_what_is_generated(document, name, render):
    text = (ROOT / document).read_text("utf-8")
    remedy = "run python -m kernel.documents"
    assert replace_part(text, render(), name) == text, remedy


def test_documents_are_updated_between_their_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    (tmp_path / ".github").mkdir()
    for document in {document for document, *_ in GENERATED}:
        names = [name for other, name, _ in GENERATED if other == document]
        parts = [f"before\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n" for name in names]
        (tmp_path / document).write_text("".join(parts))
    update_documents()
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.startswith("before\n<!-- measurements -->\n| recipe |")
    assert text.endswith(" |\n<!-- /measurements -->\nafter\n")
    text = (tmp_path / ".github/reference.md").read_text("utf-8")
    assert text.count("| `hibou-b` |") == 1
    assert "old" not in text.splitlines()
    (tmp_path / "README.md").write_text("no comments")
    with pytest.raises(ValueError, match="expected the comments"):
        update_documents()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in list_anchors(linked.read_text("utf-8")), target


def list_anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"(?m)^#+ (.*)$", BLOCK.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_commands() -> list[str]:
    """Each `python build.py ...` of a block of code, in one line, but for those generated."""
    found = {}
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        text = re.sub("<!-- commands -->.*<!-- /commands -->", "", text, flags=re.S)
        for block in BLOCK.findall(text):
            for line in block.splitlines():
                _, start, words = line.partition("#")[0].partition("python build.py ")
                if start:
                    found[words.strip()] = None
    return list(found)


@pytest.mark.parametrize("command", list_commands())
def test_commands_can_be_given(command):
    text = re.sub(r"\[([^\]]*)\]", r"\1", command)  # what is optional is given
    for word, example in PLACEHOLDERS.items():
        text = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", example, text)
    parser, _ = make_parser()
    args, rest = parser.parse_known_args(shlex.split(text))
    assert not [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_mentioned_exist(page):
    _, known = make_parser()
    text = BLOCK.sub("", page.read_text("utf-8"))
    for code in re.findall(r"`([^`]+)`", text):
        words = code.split()
        if words[:2] == ["python", "build.py"] and words[2:] != ["--help"]:
            assert words[2] in known


def test_files_of_a_run_are_in_the_reference(finished):
    text = (ROOT / ".github" / "reference.md").read_text("utf-8")
    _, _, text = text.partition("## Files")
    cells = re.findall(r"(?m)^\| (`[^|]*`) \|", text)
    known = [name for cell in cells for name in re.findall("`([^`]+)`", cell)]
    assert len(known) > 20
    names = [path.relative_to(finished).as_posix() for path in finished.rglob("*")]
    for name in names:
        is_shown = any(fnmatch.fnmatch(name, pattern) for pattern in known)
        assert is_shown or name in (".lock", "folds"), name
