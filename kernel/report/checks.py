"""What the report expects of the files in a run's folder, which anybody may have written."""

import dataclasses
import math
import os
import re
import reprlib
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd

COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
RATE = {"type": "number", "minimum": 0, "maximum": 1}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
INTERVAL = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def describe(required: dict, **optional: dict) -> dict:
    """The schema of an object: what it has to have, and what it may have."""
    return {"type": "object", "required": [*required], "properties": {**required, **optional}}


def each(kind: dict) -> dict:
    """The schema of an object whose values are of one kind."""
    return {"type": "object", "additionalProperties": kind}


SECOND = describe(
    {"trial": COUNT, "difference": NUMBER, "interval": INTERVAL, "num_patches": COUNT},
    num_slides=COUNT,
)
STUDY = describe(
    {"fold": COUNT, "trials": COUNT, "overrides": {"type": "object"}, "importance": each(RATE)},
    **{"highest": COUNT, "highest_auc": RATE, "winner": COUNT, "winner_auc": RATE},
    **{"space": TEXT, "missing": COUNT, "second": SECOND},
    **{"num_patches": COUNT, "within_noise": {"type": "array", "items": COUNT}},
    **{"not_compared": {"type": "array", "items": COUNT}},
)
ERRORS = describe({"ece": NUMBER})
CALIBRATION = describe({"before": ERRORS}, after=ERRORS, maps={"type": "object"}, refused=TEXT)
CONTRIBUTION = describe(
    {"run": TEXT, "oof_auc": RATE, "weight": NUMBER}, adds=NUMBER, interval=INTERVAL
)
STAIN = describe({"stain": COUNT, "patches": COUNT}, auc=RATE, sensitivity=RATE, specificity=RATE)
SETTINGS = {  # by name, also after that of a part, as in "training.epochs"
    rf"^(\w+\.)?({names})\Z": kind
    for names, kind in {
        "architecture|weights|optimizer|augmentation|schedule|tta|ensemble|labels|head": TEXT,
        "calibration": TEXT,
        "num_folds|epochs|batch_size|num_images|num_seeds|input_size|crop_size": COUNT,
        "learning_rate|stain_jitter|brightness|contrast": NUMBER,
        "members|clean": TEXTS,
        "folds": {"type": "array", "items": COUNT},
    }.items()
}
RUN = describe(
    {"recipe": TEXT},
    **{"build_id": TEXT, "device": TEXT, "precision": TEXT, "network": TEXT, "method": TEXT},
    **{"grouping": TEXT, "estimate": TEXT, "finished": TEXT, "edited": {"type": "boolean"}},
    settings={"type": "object", "patternProperties": SETTINGS},
    counts=describe({"train": {**COUNT, "minimum": 1}, "positive": COUNT, "test": COUNT}),
    packages=each(TEXT),
    stages=each(describe({"seconds": NUMBER}, images=COUNT, images_per_second=NUMBER)),
    **{"num_parameters": COUNT, "num_trainable": COUNT, "num_slides": COUNT},
    **{"fold_auc": each(RATE), "oof_auc": RATE, "seconds": NUMBER},
    **{"warnings": TEXTS, "not_trained": TEXTS, "cut_short": TEXTS, "members": TEXTS},
    cleaned=each({"type": "array"}),
    calibration={"type": "object"},
    adds={"type": "array", "items": CONTRIBUTION},
    evaluation=describe({}, adds=each(NUMBER), by_stain={"type": "array", "items": STAIN}),
    seed_auc=describe({}, each={"type": "array", "items": RATE}),
    study=STUDY,
)
BLANK = each(describe({"patches": COUNT}, positive=COUNT))
EXPLORATION = describe(
    {
        "labels": describe({"0": COUNT, "1": COUNT}),
        "positive_share": RATE,
        "brightness": each(NUMBER),
        "tissue": each(RATE),
        "blank": BLANK,
        "duplicates": describe(
            {"exact_pairs": COUNT, "near_pairs": COUNT, "label_conflicts": COUNT}
        ),
        "stains": {"type": "array", "items": describe({"patches": COUNT}, positive_share=RATE)},
    },
    slides=describe({"slides": COUNT}),
    hospitals=describe({"agreeing": COUNT, "slides": COUNT, "rand": NUMBER}),
    test=describe({"patches": COUNT, "brightness": NUMBER, "tissue": RATE}),
)
SCORE = {"type": "string", "pattern": r"^(\d+(\.\d+)?)?\Z"}
SUBMISSION = describe({}, public_score=SCORE, private_score=SCORE)
SURROGATE = re.compile("[\ud800-\udfff]")
MARKS = {"\\": "\\\\", "&": "&amp;", "<": "&lt;", ">": "&gt;", "[": "\\[", "]": "\\]"}
MARKS |= {"*": "\\*", "`": "'", "|": "&#124;", "~": "\\~", "#": "\\#", "$": "&#36;"}


def check_folder(folder: Path) -> None:
    """Refuse a folder with links out of it: the report reads nothing else of the computer.

    Raises:
        ValueError: names the link.
    """
    home = folder.resolve()
    for parent, folders, files in os.walk(home):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not leads_into(path, home):
                raise ValueError(
                    f"{path}: expected files of the run. Received: a link out of its folder, or "
                    "in circles. Try: remove it, or replace it by a copy"
                )


def leads_into(link: Path, home: Path) -> bool:
    """Whether a link leads to something in a folder, not out of it or in circles."""
    try:
        return link.resolve().is_relative_to(home)
    except (OSError, RuntimeError):  # a loop, for Python from 3.13 and before
        return False


def check_content(content: dict, schema: dict, path: Path) -> dict:
    """What a JSON file holds, if the report can read it: without nulls, its texts escaped.

    Args:
        content: the file's content.
        schema: the JSON Schema of what the report reads.
        path: the file, for the message.

    Raises:
        ValueError: names the file, the entry and what was expected.
    """
    try:
        content = drop_nulls(content)
        error = jsonschema.exceptions.best_match(
            jsonschema.Draft7Validator(schema).iter_errors(content)
        )
        if error is None:
            return escape(content, path)
    except RecursionError:
        raise wrong(path, "its entries", "few levels", "too many levels") from None
    expected, received = f"{error.validator} {reprlib.repr(error.validator_value)}", error.instance
    entry = error.json_path.removeprefix("$").removeprefix(".")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        entry, expected = f"{entry}.{missing}".removeprefix("."), "a value"
        raise wrong(path, entry, expected, "none")
    raise wrong(path, entry or "its content", expected, reprlib.repr(received))


def drop_nulls(value: object) -> object:
    """A value of a JSON file without the entries that are null, which say no more than none."""
    if isinstance(value, dict):
        return {name: drop_nulls(entry) for name, entry in value.items() if entry is not None}
    return [drop_nulls(entry) for entry in value] if isinstance(value, list) else value


def wrong(path: Path, entry: str, expected: str, received: str) -> ValueError:
    """The error for a file that the report cannot read."""
    return ValueError(
        f"{path}: expected {reprlib.repr(entry)} with {expected}. Received: {received}. "
        "Try: the file as the run wrote it (python build.py output fetches it again)"
    )


KEYS = ("fold", "seed", "epoch", "number")  # columns that say what a row is of


def read_csv(path: Path, numbers: tuple, texts: tuple = ()) -> pd.DataFrame | None:
    """A CSV file as a table, or None if there is no such file.

    Args:
        path: the file.
        numbers: the columns of numbers that it has to have; empty fields are NaN, but for KEYS.
        texts: the columns of text that it has to have.

    Raises:
        ValueError: no such table; names the file.
    """
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, str))
    except ValueError as error:  # of many classes: empty, not a table, not UTF-8
        raise wrong(path, "its rows", "one number of fields", f"{error}") from error
    missing = [name for name in (*numbers, *texts) if name not in table]
    if missing or table.empty:
        columns = ", ".join((*texts, *numbers))
        received = reprlib.repr(", ".join(map(str, table.columns)))
        raise wrong(path, "its columns", f"{columns}, and at least one row", received)
    for name in numbers:
        values = pd.to_numeric(table[name], errors="coerce")
        may_lack = table[name].isna() & (name not in KEYS)
        strange = (values.isna() & ~may_lack) | np.isinf(values)
        if strange.any():
            found = reprlib.repr(table[name][strange].iloc[0])
            raise wrong(path, f"its column {name}", "finite numbers", found)
        table[name] = values
    return table


def make_record(kind: type, row: dict) -> object:
    """A dataclass from an entry of a JSON file: None for what that lacks, nothing of what else."""
    return kind(**{field.name: row.get(field.name) for field in dataclasses.fields(kind)})


def escape(value: object, path: Path | None = None) -> object:
    """A value of a JSON file with its texts as Markdown that shows them as they are.

    Raises:
        ValueError: a number that is not finite, or half a surrogate pair; names the file.
    """
    if isinstance(value, str):
        if path and SURROGATE.search(value):  # json.loads takes it, no file can hold it
            raise wrong(path, "its texts", "whole characters", ascii(reprlib.repr(value)))
        shown = (mark for mark in " ".join(value.split()) if mark.isprintable())
        text = "".join(MARKS.get(mark, mark) for mark in shown)
        return text.replace("://", "&#58;//")  # no address becomes a link
    if isinstance(value, dict):
        return {escape(name, path): escape(entry, path) for name, entry in value.items()}
    if isinstance(value, list):
        return [escape(entry, path) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(path, "its numbers", "finite values", str(value))
    return value
