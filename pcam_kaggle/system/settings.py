"""Settings: typed, checked fields grouped into parts.

A part is a frozen dataclass that lists the settings that one piece of the code reads. A recipe
composes the parts it uses. A setting has its field's name if only one part has such a field,
else the name `part.field`.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable

# Settings that do not affect predictions; only older runs have those of the last line.
SESSION_SETTINGS = (
    *("max_hours", "num_workers", "require_gpu", "trials", "study_hours", "costs"),
    *("figures", "steps_per_execution"),
)

KINDS = {  # kind: what an error message expects
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "ints": "a tuple of whole numbers such as (0, 1)",
    "names": "a tuple of words",
}


def setting(
    default: object,
    text: str,
    choices: tuple = (),
    low: float = -math.inf,
    high: float = math.inf,
    kind: str | None = None,
) -> dataclasses.Field:
    """Declare a field of a part.

    Args:
        default: its value unless a recipe or an override replaces it.
        text: its meaning in one line.
        choices: the values that a "str" may have, or that "names" may contain.
        low, high: the closed range of a number.
        kind: one of KINDS; None takes the default's type.
    """
    kind = kind or type(default).__name__
    rule = {"kind": kind, "text": text, "choices": tuple(choices), "low": low, "high": high}
    return dataclasses.field(default=default, metadata=rule)


@dataclasses.dataclass(frozen=True)
class Part:
    """Base class of all parts; it checks every value on creation.

    Raises:
        ValueError: a value is not allowed.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = check_value(field.name, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self):
        """Refuse settings that contradict each other; parts override this."""


class Settings(types.SimpleNamespace):
    """The checked settings of a run, with one attribute, a Part, per part of the recipe."""

    def flat(self) -> dict:
        """Return all settings by their names in SETTINGS."""
        known = name_settings({name: type(part) for name, part in vars(self).items()})
        return {n: getattr(vars(self)[part], f.name) for n, (part, f) in known.items()}


def name_settings(parts: dict) -> dict:
    """Map the names of a recipe's settings to their fields.

    Args:
        parts: dict of part names and subclasses of `Part`.

    Returns:
        dict of setting names and pairs of part name and dataclass field.
    """
    pairs = [(part, f) for part, kind in parts.items() for f in dataclasses.fields(kind)]
    names = [f.name for _, f in pairs]
    return {
        f.name if names.count(f.name) == 1 else f"{part}.{f.name}": (part, f) for part, f in pairs
    }


def compose(parts: dict, changes: dict, overrides: dict | None = None) -> Settings:
    """Compose the settings of a run.

    Args:
        parts: dict of part names and subclasses of `Part`.
        changes: dict of a recipe's own settings, by name.
        overrides: dict of settings that replace those, or None.

    Raises:
        ValueError: the recipe lacks a setting, or a value is not allowed.
    """
    known = name_settings(parts)
    values = {part: {} for part in parts}
    for name, value in {**changes, **(overrides or {})}.items():
        part, field = find_setting(known, name)
        values[part][field.name] = check_value(name, field, value)
    return Settings(**{part: kind(**values[part]) for part, kind in parts.items()})


def find_setting(known: dict, name: str) -> tuple:
    """Return the part and the field of a setting.

    Raises:
        ValueError: there is no such setting (suggests the closest name), or several parts have
            it (lists their full names).
    """
    if name in known:
        return known[name]
    dotted = [full for full in known if full.endswith(f".{name}")]
    if dotted:
        raise ValueError(
            f"{name}: several parts have this setting. Expected: one of "
            f"{', '.join(dotted)}. Received: {name!r}"
        )
    raise ValueError(unknown("setting", name, known))


def unknown(kind: str, name: str, known: Iterable) -> str:
    """Return the message for an unknown name, with the closest known one."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(known)}."


def check_value(name: str, field: dataclasses.Field, value: object) -> object:
    """Return the value in its field's type.

    Raises:
        ValueError: the value is not allowed.
    """
    rule, kind = field.metadata, field.metadata["kind"]
    choices, low, high = rule["choices"], rule["low"], rule["high"]
    if kind == "float" and type(value) is int:
        value = float(value)
    if kind in ("ints", "names") and isinstance(value, list):  # JSON has no tuples
        value = tuple(value)
    expected = KINDS[kind]
    valid = type(value).__name__ == kind
    if kind == "ints":
        valid = type(value) is tuple and all(type(item) is int for item in value)
    elif kind == "names":
        valid = type(value) is tuple and set(value) <= set(choices)
        expected = f"words among {','.join(choices)}"
    elif kind in ("int", "float"):
        valid = valid and low <= value <= high
        at_least = f" of at least {low}" if low > -math.inf else ""
        expected += f" from {low} to {high}" if high < math.inf else at_least
    elif choices:
        valid = valid and value in choices
        nearest = difflib.get_close_matches(str(value), choices, n=1)
        expected = "one of " + ", ".join(choices)
        expected += f" (did you mean {nearest[0]!r}?)" if nearest else ""
    if not valid:
        raise ValueError(f"{name}: expected {expected}. Received: {name}={value!r}")
    return value
