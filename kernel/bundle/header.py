"""The top of a page: title, method, results, how to fork, contents, settings."""

import json
import textwrap

from pcam_kaggle.system.settings import name_settings

from ..facts.measurements import find_gpu_hours
from .flatten import MAX_COLUMNS
from .recipes import Recipe, compose_settings, is_download, list_networks, needs_gpu

TEXT_COLUMNS = 88
CHUNK = 80  # characters of a long text in a line
INDENT = " " * 4
GPU_NAME = "GPU T4 x2"
SLIDES = (
    "**Slides:** For folds that never share a slide, add a dataset with a slide map, such as "
    "patch_id_wsi_full.csv (id,wsi), as input; without one, scores out of fold are about 0.03 too "
    "high."
)
LITTLE_GPU = 0.1  # hours: such a recipe runs on a CPU as well
FUTURE = "from __future__ import annotations"


def make_title(recipe: str, overrides: dict | None = None, notebook: bool = False) -> str:
    """The kernel's title; some folds of a recipe are a kernel of their own, and so is a notebook.

    Args:
        recipe: name of a recipe.
        overrides: dict of typed settings.
        notebook: whether it is a notebook; Kaggle never turns a script into one.
    """
    folds = (overrides or {}).get("folds", ())
    words = ["PCam", *recipe.split("_"), *["folds"] * bool(folds), *map(str, folds)]
    return " ".join([*words, *["notebook"] * notebook])


def make_slug(recipe: str, overrides: dict | None = None, notebook: bool = False) -> str:
    """What Kaggle makes of the title; the name of the kernel's file and of its folder."""
    return make_title(recipe, overrides, notebook).lower().replace(" ", "-")


def render_top(
    recipe: Recipe, overrides: dict, results: str, contents: list[str], build_id: str, code_id: str
) -> str:
    """The cells above the imports.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings.
        results: what was measured, in a sentence or two.
        contents: the lines of the table of contents.
        build_id: str, or "" for the text over which the id is computed.
        code_id: str, what `compute_code_id` and `hash_code` return, with "-" between.
    """
    paragraphs = [
        f"# {make_title(recipe.name, overrides)}",
        *(fit(text) for text in [recipe.text, *recipe.method.split("\n\n")]),
        fill(f"**Results.** {results}"),
        fill(f"**To fork:** {describe_fork(recipe, overrides)}"),
        fill(SLIDES) if "num_folds" in name_settings(recipe.parts) else "",
        "**Contents** (line, section)",
        "\n".join(INDENT + line for line in contents),
    ]
    return "\n".join(
        [
            "# %% [markdown]",
            comment("\n\n".join(text for text in paragraphs if text)),
            "",
            "# %% Settings",
            FUTURE,
            "",
            f'BUILD_ID = "{build_id}"  # sha256 of the code, ten digits; see run.json',
            f'CODE_ID = "{code_id}"  # of the code: decides what can be resumed',
            "",
            render_settings(recipe),
            "",
            f"# Changes to SETTINGS, such as {suggest_override(recipe)}",
            f"OVERRIDES = {render_overrides(overrides)}",
            "",
        ]
    )


def describe_fork(recipe: Recipe, overrides: dict) -> str:
    """How to fork the page."""
    is_long = find_gpu_hours(recipe.name) > LITTLE_GPU
    steps = f" choose {GPU_NAME}," if needs_gpu(recipe, overrides) and is_long else ""
    if any(is_download(weights) for _, weights in list_networks(recipe, overrides)):
        steps += " switch the internet on or attach the weights,"
    return (
        "Click Copy & Edit, change OVERRIDES below, add the competition as input,"
        f"{steps} and click Save Version. SETTINGS explains every setting; all are checked "
        "before anything runs. Below are the modules of the package pcam_kaggle, unchanged. "
        "At home, PCAM_INPUT and PCAM_WORKING name the folders for data and output."
    )


def suggest_override(recipe: Recipe) -> str:
    """An example of OVERRIDES."""
    known = name_settings(recipe.parts)
    examples = {"folds": (0,), "epochs": 3, "num_images": 1000}
    return render_overrides({n: v for n, v in examples.items() if n in known})


def render_settings(recipe: Recipe) -> str:
    """SETTINGS as a dict literal: the changed ones first, the others by part."""
    values = compose_settings(recipe).flat()
    known = name_settings(recipe.parts)
    groups = [("Set by this recipe", list(recipe.changes))]
    for part in recipe.parts:
        names = [n for n in values if known[n][0] == part and n not in recipe.changes]
        groups.append((f"Defaults: {part}", names))
    lines = ["SETTINGS = {"]
    for heading, names in groups:
        lines += [f"{INDENT}# {heading}"] if names else []
        for name in names:
            lines += render_setting(name, values[name], known[name][1].metadata)
    return "\n".join([*lines, "}"])


def render_setting(name: str, value: object, rule: dict) -> list[str]:
    """A setting with its meaning behind it, or above it where a line is too short."""
    choices = f" ({', '.join(rule['choices'])})" if rule["choices"] else ""
    meaning = rule["text"] + choices
    lines = render_item(name, value)
    line = f"{lines[0]}  # {meaning}"
    if len(lines) == 1 and len(line) <= MAX_COLUMNS:
        return [line]
    return [*comment(fill(meaning, 6), INDENT).split("\n"), *lines]


def render_overrides(overrides: dict) -> str:
    """OVERRIDES as a dict literal, in one line if it fits."""
    items = [f'"{name}": {render_value(value)}' for name, value in overrides.items()]
    line = "{" + ", ".join(items) + "}"
    if len(f"OVERRIDES = {line}") <= MAX_COLUMNS:
        return line
    lines = [line for item in overrides.items() for line in render_item(*item)]
    return "\n".join(["{", *lines, "}"])


def render_item(name: str, value: object) -> list[str]:
    """A setting in one line of a dict literal, or a long value in several."""
    line = f'{INDENT}"{name}": {render_value(value)},'
    if len(line) <= MAX_COLUMNS:
        return [line]
    if isinstance(value, tuple):
        pieces = textwrap.wrap(render_value(value)[1:-1].rstrip(",") + ",", TEXT_COLUMNS)
    else:
        text = str(value)
        pieces = split_text(text)
    inside = [f"{INDENT}{INDENT}{piece}" for piece in pieces]
    return [f'{INDENT}"{name}": (', *inside, f"{INDENT}),"]


def split_text(text: str) -> list[str]:
    """A long text as literals that fit on a line each, however its characters are escaped."""
    pieces, start = [], 0
    for end in range(1, len(text) + 1):
        if end == len(text) or len(render_value(text[start : end + 1])) > CHUNK:
            pieces.append(render_value(text[start:end]))
            start = end
    return pieces


def render_value(value: object) -> str:
    """A setting as a Python literal, text in double quotes as in the package."""
    if isinstance(value, tuple):
        items = ", ".join(map(render_value, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, str):
        return json.dumps(value) if value.isascii() else ascii(value)
    return repr(value)


def fit(paragraph: str) -> str:
    """A paragraph of the docstring as it is, or refilled if a line is too long."""
    too_long = any(len(line) > MAX_COLUMNS - 2 for line in paragraph.split("\n"))
    return fill(paragraph) if too_long else paragraph


def fill(text: str, margin: int = 2) -> str:
    """Text in lines that leave a margin for a comment's mark."""
    return textwrap.fill(text, MAX_COLUMNS - margin, break_on_hyphens=False)


def comment(text: str, indent: str = "") -> str:
    """Text as lines of comment."""
    return "\n".join(f"{indent}# {line}".rstrip() for line in text.split("\n"))
