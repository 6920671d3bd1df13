"""The rubric's 125 points: where a hand-in answers each, and what only its author can write."""

import dataclasses
import re
from collections.abc import Iterator

from .methods import gather_settings, is_augmented
from .networks import list_names
from .reading import ReportRun, find_explored
from .words import WORDS

TOTAL = 125  # points, of which the rubric's five sections have 95
FEWEST = 5  # of the author's own words that count as an answer
SECTIONS = {  # by its number in the report: title, points, and its slot with what it lacks
    1: ("Problem and data", 5, "problem", "the problem in your own words"),
    2: ("Exploration", 15, "exploration", "your reading of the figures"),
    3: ("Architectures", 25, "architectures", "your reasoning"),
    4: ("Results and analysis", 35, "results", "your analysis of what helped and why"),
    5: ("Conclusion", 15, "conclusion", "your own conclusion"),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer that the rubric asks for.

    Attributes:
        question: what it asks for.
        text: where the answer is; what is missing, or how to add it, if there is none.
        is_there: whether there is an answer.
    """

    question: str
    text: str
    is_there: bool = True


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the rubric: its title, its points and its Answers."""

    title: str
    points: int
    answers: list[Answer]

    @property
    def missing(self) -> list[str]:
        """What is missing."""
        return [answer.question for answer in self.answers if not answer.is_there]


def check_rubric(
    runs: list[ReportRun], cells: list, words: dict, repository: str | None, board: ReportRun | None
) -> list[Part]:
    """Compare a hand-in with the rubric.

    Args:
        runs: list of ReportRun, the report's own first.
        cells: list of Cell, the story of the report.
        words: dict of slots and the author's own words.
        repository: the address of the repository, or None.
        board: the run that the picture of the leaderboard is of, or None.

    Returns:
        The parts of the rubric, whose points sum up to 125.
    """
    made = {1: ask_data, 2: ask_exploration, 3: ask_architectures, 4: ask_results, 5: ask_future}
    parts = []
    for number, (title, points, slot, lacking) in SECTIONS.items():
        shown = list_labels(cells, number)
        told = "\n".join(cell.source for cell in cells if not cell.is_code and not cell.slot)
        answers = [*made[number](runs, shown, told)]
        answers.append(ask_words(lacking, slot, len(words[slot].split())))
        parts.append(Part(title, points, answers))
    rest = TOTAL - sum(part.points for part in parts)
    return [*parts, Part("Deliverables", rest, [*ask_deliverables(cells, repository, board)])]


def ask_words(question: str, slot: str, number: int) -> Answer:
    """Whether the author wrote more than a few words below a heading of words.md."""
    written = f"{number:,} word{'s' * (number != 1)}"
    if number >= FEWEST:
        return Answer(question, f"{written} below `## {slot}` in {WORDS}")
    text = f"write it below `## {slot}` in {WORDS}" + f" ({written} so far)" * bool(number)
    return Answer(question, text, False)


def list_labels(cells: list, number: int) -> str:
    """The figures and tables of a section, such as "Table 1, Figures 2 and 3"; "" for none."""
    current, found = 0, {"Figure": [], "Table": []}
    for cell in cells:
        heading = re.match(r"## (\d+)\. ", cell.source)
        current = int(heading[1]) if heading else current
        if cell.label and current == number:
            kind, _, label = cell.label.partition(" ")
            found[kind].append(label)
    names = [
        f"{kind} {labels[0]}"
        if len(labels) == 1
        else f"{kind}s {labels[0]} {'to' if len(labels) > 2 else 'and'} {labels[-1]}"
        for kind, labels in found.items()
        if labels
    ]
    return ", ".join(names)


def ask_data(runs: list, shown: str, told: str) -> Iterator[Answer]:
    """Section 1: the challenge, and the size, dimension and structure of the data."""
    yield Answer("a description of the challenge", "the text of section 1")
    counts = runs[0].record.get("counts")
    text = f"the text of section 1{f', {shown}' if shown else ''}" if counts else "none in run.json"
    yield Answer("size, dimension and structure of the data", text, bool(counts))


def ask_exploration(runs: list, shown: str, told: str) -> Iterator[Answer]:
    """Section 2: visualizations, cleaning and the plan of analysis."""
    there = find_explored(runs) is not None
    how = "`python build.py train explore`, then `handin ... explore`"
    text = shown if there else f"add an exploration ({how})"
    yield Answer("an exploration with histograms", text, there)
    more = "name a run that trains first, not a blend"
    yield find_paragraph("the cleaning of the data", told, "**Cleaning.**", more)
    more = "add an exploration, as above"
    yield find_paragraph("a plan of analysis", told, "**Plan.**", more)


def find_paragraph(question: str, told: str, heading: str, more: str) -> Answer:
    """Whether the report has a paragraph; `more` says what to add if it does not."""
    is_there = re.search(rf"(?m)^{re.escape(heading)}", told) is not None
    return Answer(question, f"*{heading.strip('#*. ')}*" if is_there else more, is_there)


def ask_architectures(runs: list, shown: str, told: str) -> Iterator[Answer]:
    """Section 3: the networks, several of them, and tuning."""
    names = {name for run in runs for name, _ in list_names(run).values() if name}
    more = "add a run of a known network, such as the members of a blend"
    yield Answer("a description of the architecture", shown if names else more, bool(names))
    more = "add a run of another recipe, or a study that compares networks"
    text = f"{len(names)} networks" if len(names) > 1 else more
    yield Answer("a comparison of several architectures", text, len(names) > 1)
    yield ask_tuning(runs, "tuned hyperparameters")


def ask_tuning(runs: list, question: str) -> Answer:
    """Whether there is a study of several trials."""
    trials = sum(len(run.study) for run in runs if run.study is not None)
    text = (
        f"{trials} trials, in section 4"
        if trials > 1
        else "add a study, such as `train demo_study`"
    )
    return Answer(question, text, trials > 1)


def ask_results(runs: list, shown: str, told: str) -> Iterator[Answer]:
    """Section 4: results in tables and figures, the tuning, the comparison, techniques."""
    yield Answer("tables and figures of the results", shown or "section 4 has none", shown != "")
    yield ask_tuning(runs, "a summary of the tuning")
    compared = sum(run.oof is not None for run in runs)
    more = "add another run, for a comparison on the same patches"
    text = f"{compared} runs" if compared > 1 else more
    yield Answer("a comparison of runs", text, compared > 1)
    used = list_techniques(runs)
    text = ", ".join(used) or "no augmentation, no test-time views, and one network"
    yield Answer("techniques that improve training or performance", text, bool(used))
    more = "add another run or a study to compare"
    yield find_paragraph("what helped", told, "### What helped and what did not", more)


def list_techniques(runs: list) -> list[str]:
    """What runs do for a better score, beside training a network."""
    settings = [
        own
        for run in runs
        for own in [gather_settings(run.settings, name) for name in run.members] or [run.settings]
    ]
    found = {
        "augmentation": any(map(is_augmented, settings)),
        "test-time augmentation": any(own.get("tta", "none") != "none" for own in settings),
        "the average of several networks": any(count_averaged(run) > 1 for run in runs),
    }
    return [name for name, is_used in found.items() if is_used]


def count_averaged(run: ReportRun) -> int:
    """How many predictions a run averages: of a blend's members, or of its networks."""
    settings = run.settings
    if run.oof is None or not settings:  # a study or an exploration, or a blend
        return len(run.record.get("members", ()))
    num_folds = len(settings.get("folds", ())) or settings.get("num_folds", 1)
    num_missing = len(run.record.get("not_trained", ()))
    return max(len(run.methods), num_folds * settings.get("num_seeds", 1) - num_missing)


def ask_future(runs: list, shown: str, told: str) -> Iterator[Answer]:
    """Section 5: the interpretation, and improvements."""
    yield Answer("an interpretation of the results", "the sentences of section 5")
    more = "none follows from the numbers, so name some in your own words"
    yield find_paragraph("improvements to try in the future", told, "**Next steps.**", more)


def ask_deliverables(
    cells: list, repository: str | None, board: ReportRun | None
) -> Iterator[Answer]:
    """The notebook, the repository and the screenshot."""
    has_kernel = any(cell.is_kernel for cell in cells)
    text = "report.ipynb" if has_kernel else "report.ipynb, but the page of no run is at hand"
    yield Answer("a Jupyter notebook with model building and training", text, has_kernel)
    text = "in the notebook; check that it is yours and public"
    missing = "repeat with `--repository URL`"
    yield Answer(
        "the address of the public repository", text if repository else missing, bool(repository)
    )
    text, is_kaggles = "leaderboard.png", board is not None and board.service != "sandbox"
    if board is None:
        text = "`python build.py submit`, then `python build.py leaderboard`"
    elif not is_kaggles:
        text = "leaderboard.png is the sandbox's; `python build.py run` submits to Kaggle"
    yield Answer("a screenshot of Kaggle's leaderboard", text, is_kaggles)


def describe_missing(parts: list) -> Iterator[str]:
    """What is missing, a line for each part, such as "Architectures, 25 points: ... missing"."""
    for part in parts:
        if part.missing:
            *others, last = part.missing
            names = f"{', '.join(others)} and {last}" if others else last
            verb = "are" if others else "is"
            yield f"{part.title}, {part.points} points: {names} {verb} missing"


def render_checklist(parts: list) -> str:
    """The checklist as Markdown."""
    total = sum(part.points for part in parts)
    lines = [
        f"# Checklist: {total} points",
        "",
        f"What the rubric asks for, where report.ipynb answers it, and what is missing. The "
        f"rubric gives its five sections {total - parts[-1].points} points; the other "
        f"{parts[-1].points} of {total} are those of the three deliverables. This is no grade: "
        "nobody has judged your words.",
        "",
        "| part | points | missing |",
        "|---|---:|---|",
        *(f"| {p.title} | {p.points} | {'; '.join(p.missing) or 'nothing'} |" for p in parts),
        f"| **total** | **{total}** | |",
    ]
    for number, part in enumerate(parts, start=1):
        lines += ["", f"## {number}. {part.title} ({part.points} points)", ""]
        for answer in part.answers:
            lines.append(f"- [{'x' if answer.is_there else ' '}] {answer.question}: {answer.text}")
    return "\n".join(lines) + "\n"
