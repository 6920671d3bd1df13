"""What is handed in: one folder that stands alone, with the notebook, its data and the kernel."""

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from pcam_kaggle.system.files import PARTIAL, hash_file, read_json, short_hash, write_json
from pcam_kaggle.system.paths import open_output

from ..files import write_text
from ..folders import RUNS
from ..locks import locked
from .appendix import KERNEL, find_page, tell_appendix
from .checklist import check_rubric, describe_missing, render_checklist
from .names import name_runs
from .reading import ReportRun, read_run
from .story import Cell
from .submission import name_board
from .words import take_words
from .writer import check_runs, describe_words, find_repository, make_story, publish

PICTURE = "leaderboard.png"
WRITTEN = "data/handin.json"  # what a hand-in was asked, and every file's SHA-256 as written
DRAFT = f"{PARTIAL}handin-"  # starts the name of the folder that is moved in the end
LEFT = (f"{DRAFT}*", f"{PARTIAL}{'[0-9a-f]' * 8}-*", f"data/{PARTIAL}{'[0-9a-f]' * 8}-*")
AUTHORS = ("README.md", "CHECKLIST.md")  # stay as they are where the author changed them
NAMES = re.compile(r"""["'/](\w+\.(?:csv|json|png))["']""")  # of files, in code
ADVICE = re.compile(
    r"; the same command \(push --resume\) continues|\. Try: [^;\n]*"
)  # of warnings
MADE = ("report.html", KERNEL, PICTURE)

README = """\
# Histopathologic Cancer Detection

Kaggle's competition [Histopathologic Cancer Detection](https://www.kaggle.com/c/\
histopathologic-cancer-detection): does the center of a patch of lymph node tissue contain tumor?
{scores}

| file | what it is |
|---|---|
| [report.ipynb](report.ipynb) | the notebook, executed: data, exploration, networks, results, \
conclusion{code} |
| [report.html](report.html) | the same without its code, as one page to read or print |
{more}| [CHECKLIST.md](CHECKLIST.md) | the rubric, and where the notebook answers it |
| [data/](data) | the files of the runs that the notebook reads |

To execute the notebook again, in this folder or a copy of it:

```
python -m pip install jupyterlab pandas scikit-learn
jupyter lab report.ipynb
```

It reads only `data/`.{retrain}
"""
RETRAIN = " It trains only where `RETRAIN` is set to true, which its appendix explains."


def hand_in(
    folders: list,
    out: Path,
    repository: str | None = None,
    say: Callable = print,
    author: str | None = None,
) -> Path:
    """Write what is handed in into one folder, which can be moved and published.

    It holds report.ipynb, executed, with the training code of the first run or, where its kernel
    is not at hand, of the first other that trained; report.html; the kernel; data/ with the files
    that the notebook reads; README.md; CHECKLIST.md; leaderboard.png if there is one. The
    author's own words are kept, as is a README.md or CHECKLIST.md that the author changed. One
    command at a time writes a folder; what one that was killed has left is completed by the next.

    Args:
        folders: Paths of runs, as for `write_report`; studies and explorations may stand
            anywhere among them.
        out: the folder, which may hold an earlier hand-in.
        repository: the address of the repository; None for that of the earlier hand-in, or the
            origin of `out`, if it is a git repository itself.
        say: function that prints a line.
        author: who hands it in; None for the author of the earlier hand-in.

    Returns:
        Path of the folder.

    Raises:
        OSError: a folder that cannot be written.
        ValueError: as `write_report`, or files in the folder that were changed or are not ours.
    """
    runs = [read_run(folder, folder) for folder in folders]
    runs = [dataclasses.replace(run, place=f"data/{run.name}") for run in runs]
    runs.sort(key=lambda run: (run.oof is None, run.study is None))
    check_runs(runs)
    runs = name_runs(runs)
    out = open_output(out)
    with locked(RUNS, f"handin-{short_hash(str(out.resolve()))}", say):
        remove_left(out)
        written, earlier = read_written(out)
        check_unchanged(out, written)
        words = take_words(out, runs[0].folder)
        repository = repository or earlier["repository"] or find_repository(out)
        author = author or earlier["author"]
        asked = {"repository": repository, "author": author, "runs": [f.name for f in folders]}
        with tempfile.TemporaryDirectory(dir=out, prefix=DRAFT) as scratch:
            draft = Path(scratch) / "draft"
            runs = [dataclasses.replace(run, made=Path(scratch) / run.place) for run in runs]
            for run in runs:
                run.made.mkdir(parents=True)
            cells = drop_prompts(make_story(runs, words, repository, author))
            parts = write_draft(draft, runs, cells, words, repository)
            kept = move(draft, out, written, asked)
    num_bytes = sum((out / name).stat().st_size for name in read_written(out)[0])
    say(describe_words(words, out))
    for name in kept:
        say(f"kept     {out / name}, which you changed")
    for line in describe_missing(parts):
        say(f"missing  {line}")
    say(f"wrote    {out} ({num_bytes / 1e6:.1f} MB)")
    return out


def remove_left(out: Path) -> None:
    """Remove the temporary files and folders of a command that was killed."""
    for path in (path for pattern in LEFT for path in out.glob(pattern)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def read_written(out: Path) -> tuple[dict, dict]:
    """What an earlier hand-in wrote, and what it was asked.

    Returns:
        The SHA-256 of its files by name: a list, of two where a command was killed that replaced
        the file; {} for a new folder. And its repository and author, str or None, and the names of
        its runs.

    Raises:
        ValueError: a damaged list, or one of files outside of the folder.
    """
    if not (out / WRITTEN).is_file():
        return {}, {"repository": None, "author": None, "runs": []}
    content = read_json(out / WRITTEN)
    written, asked = content.get("files"), {k: content.get(k) for k in ("repository", "author")}
    asked["runs"] = content.get("runs", [])
    is_list = isinstance(written, dict) and all(isinstance(h, list) for h in written.values())
    is_list &= isinstance(asked["runs"], list) and all(isinstance(n, str) for n in asked["runs"])
    if not is_list or not all(isinstance(asked[k], str | None) for k in ("repository", "author")):
        raise ValueError(
            f"{out / WRITTEN}: expected the list of an earlier hand-in. Received: something else. "
            "Try: name another folder with --out"
        )
    outside = [n for n in written if not (out / n).resolve().is_relative_to(out.resolve())]
    if outside:
        raise ValueError(
            f"{out / WRITTEN}: expected files in this folder. Received: {', '.join(outside)}. "
            "Try: name another folder with --out"
        )
    return written, asked


def check_unchanged(out: Path, written: dict) -> None:
    """Refuse to overwrite what the author changed.

    Raises:
        ValueError: names the files.
    """
    names = [name for name in {*written, *MADE} if name not in (*AUTHORS, "report.ipynb")]
    if "report.ipynb" not in written:  # the notebook of an earlier hand-in is looked at by cells
        names.append("report.ipynb")
    changed = [name for name in sorted(names) if is_changed(out / name, written.get(name, ()))]
    if changed:
        raise ValueError(
            f"{out}: expected a new folder, or the files of an earlier hand-in as they were "
            f"written. Received: other contents of {', '.join(changed)}. Try: rename what you "
            "want to keep, delete the rest, or name another folder with --out"
        )


def is_changed(path: Path, hashes: Collection) -> bool:
    """Whether a file is there with other contents than were written."""
    return path.exists() and (not path.is_file() or hash_file(path) not in hashes)


def write_draft(draft: Path, runs: list, cells: list, words: dict, repository: str | None) -> list:
    """Write all files of a hand-in into an empty folder; the Parts of its checklist."""
    code = "\n".join(cell.source for cell in cells if cell.is_code)
    for run in runs:
        copy_data(run, draft / run.place, code)
    trained = None  # the run whose kernel the notebook has; of the others, it is a file
    for run in runs:
        page = find_page(run)
        if page and trained is None and (run.oof is not None or run.study is not None):
            trained = run
            cells = [*cells, *tell_appendix(page, run.label, run.record["build_id"])]
        elif page:
            write_text(draft / run.place / KERNEL, page)
    board = next((run for run in runs if run.has(PICTURE)), None)
    if board:
        shutil.copyfile(board.folder / PICTURE, draft / PICTURE)
    publish(cells, draft)  # the notebook writes the kernel
    parts = check_rubric(runs, cells, words, repository, board)
    write_text(draft / "CHECKLIST.md", render_checklist(parts))
    write_text(draft / "README.md", render_readme(runs[0], trained, board is not None))
    return parts


def drop_prompts(cells: list[Cell]) -> list[Cell]:
    """The cells without what asks their author for something, which CHECKLIST.md does."""
    kept = []
    for cell in cells:
        if cell.slot and not cell.words:  # a comment is not shown, and can be written over
            kept.append(dataclasses.replace(cell, source=f"<!-- {cell.slot} -->"))
        elif cell.slot or cell.is_code:
            kept.append(cell)
        elif not cell.is_prompt:  # the warnings of a run end with advice
            kept.append(dataclasses.replace(cell, source=ADVICE.sub("", cell.source)))
    return kept


def copy_data(run: ReportRun, folder: Path, code: str) -> None:
    """Copy the files of a run that the code of a notebook names."""
    folder.mkdir(parents=True)
    for name in sorted(set(NAMES.findall(code))):
        if run.has(name):
            shutil.copyfile(run.find(name), folder / name)


def render_readme(run: ReportRun, trained: ReportRun | None, has_picture: bool) -> str:
    """The README.md of a hand-in; `trained` is the run whose kernel is in it."""
    scores = []
    if "oof_auc" in run.record:
        scores.append(f"ROC AUC {float(run.record['oof_auc']):.4f} out of fold")
    for board in ("public", "private"):
        if score := run.scores.get(f"{board}_score"):
            scores.append(f"{score} on {name_board(run, board).strip(',')}")
    code = retrain = more = ""
    if trained:
        code, retrain = ", training code", RETRAIN
        more += (
            f"| [{KERNEL}]({KERNEL}) | the kernel of {trained.label} as it ran: network, training, "
            "prediction |\n"
        )
    if has_picture:
        more += f"| [{PICTURE}]({PICTURE}) | the leaderboard |\n"
    told = f"\n**{', '.join(scores)}.**" if scores else ""
    return README.format(scores=told, code=code, retrain=retrain, more=more)


def move(draft: Path, out: Path, written: dict, asked: dict) -> list[str]:
    """Move the files of a hand-in into its folder, and remove what an earlier one left.

    Until all are moved, the list has both hashes of a file: whenever this ends, what is in the
    folder is known.

    Returns:
        The names of the files that the author changed, which stay.
    """
    new = sorted(p.relative_to(draft).as_posix() for p in draft.rglob("*") if p.is_file())
    kept = [name for name in AUTHORS if is_changed(out / name, written.get(name, ()))]
    hashes = {name: [hash_file(draft / name)] for name in new}
    hashes |= {name: written.get(name, []) for name in kept}
    both = {name: [*written.get(name, []), *hashes.get(name, [])] for name in {**written, **hashes}}
    (out / WRITTEN).parent.mkdir(exist_ok=True)
    write_json(out / WRITTEN, {**asked, "files": both})
    for name in set(written) - set(new):
        (out / name).unlink(missing_ok=True)
        for parent in (out / name).parents:
            if parent == out or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
    for name in new:
        if name not in kept:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft / name, out / name)
    write_json(out / WRITTEN, {**asked, "files": hashes})
    return kept
