"""Overrides as a user types them: words such as epochs=3, with strict types."""

import itertools

from pcam_kaggle.system.settings import check_value, find_setting, name_settings


def parse_overrides(parts: dict, words: list) -> dict:
    """Typed overrides from the command line's words, such as ["epochs=3", "folds=0,1"].

    Args:
        parts: dict of part names and subclasses of `Part`.
        words: the words.

    Raises:
        ValueError: a word without "=", a name that is unknown, ambiguous or given
            twice, a value that is not allowed.
    """
    known = name_settings(parts)
    overrides, kind = {}, None  # of the setting before
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            before, after = words[: words.index(word)], words[words.index(word) + 1 :]
            hint = f". Try: {word}={[*after, 'VALUE'][0]}" if word in known else ""
            if before and not hint and kind in ("ints", "names"):
                split = [before[-1], word, *itertools.takewhile(lambda w: "=" not in w, after)]
                hint = ". PowerShell splits a setting at its commas; quote it: "
                hint += f'"{",".join(split)}"'
            raise ValueError(f"settings are written name=value. Received: {word!r}{hint}")
        _, field = find_setting(known, name)
        if name in overrides:
            raise ValueError(f"{name} is given twice. Received: {' '.join(words)}")
        kind = field.metadata["kind"]
        value = parse_value(kind, text)
        overrides[name] = check_value(name, field, value)
    return overrides


def parse_value(kind: str, text: str) -> object:
    """The value that a word means; a word that cannot be parsed stays text."""
    parsers = {
        "bool": lambda word: {"true": True, "false": False}[word.lower()],
        "int": int,
        "float": float,
        "str": str,
        "ints": lambda word: tuple(int(number) for number in word.split(",") if number),
        "names": lambda word: tuple(name for name in word.split(",") if name),
    }
    try:
        return parsers[kind](text)
    except (KeyError, ValueError):
        return text
