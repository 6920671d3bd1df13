"""The finished runs whose networks a recipe uses, found by name."""

import dataclasses
import re
from pathlib import Path

from pcam_kaggle.inference.kept_runs import (
    KeptRun,
    find_maps,
    find_networks,
    read_facts,
    read_oof,
    refuse_ranks,
)
from pcam_kaggle.models.transformer_settings import TransformerSettings
from pcam_kaggle.system.settings import name_settings

from .bundle.recipes import compose_settings, list_networks, read_recipe
from .records import PushRecord, read_record, read_result, read_status
from .runs import find_folder

SETTING = "networks"
OF_TOKENS = {"explain": "explain_tokens"}  # a recipe, and the one for transformers


@dataclasses.dataclass(frozen=True)
class Source:
    """A finished run whose networks are used.

    Attributes:
        folder: Path of the run.
        build_id: str.
        push: PushRecord, or None for a run made at home.
        kept: KeptRun, checked; None where its networks are not here.
        frozen: the frozen models that its heads need, as the setting `weights` names them.
        has_tokens: whether all its networks are transformers, or heads on frozen ones.
    """

    folder: Path
    build_id: str
    push: PushRecord | None
    kept: KeptRun | None
    frozen: tuple
    has_tokens: bool

    @property
    def files(self) -> list[Path]:
        """run.json, the networks and oof.csv; [] where they are not here."""
        names = ["run.json", *self.kept.networks, "oof.csv"] if self.kept else []
        return [self.folder / name for name in names]


def name_sources(recipe: str, words: list[str], runs: Path) -> tuple[str, list[str], list[Source]]:
    """Find the runs that networks=RUN,RUN names.

    Args:
        recipe: the recipe's name.
        words: settings as typed, such as "networks=pcam-fast".
        runs: Path of the folder of runs.

    Returns:
        The recipe for the kind of these runs; the words with build ids in place of names, and
        with the frozen model that is needed; the runs.

    Raises:
        ValueError: no run, an unknown one, one twice, one without networks or with damaged ones,
            runs of several frozen models, or hard labels of ranks.
    """
    start = f"{SETTING}="
    (word, *more) = [word for word in words if word.startswith(start)] or [start]
    if more:
        raise ValueError(f"{SETTING} is given twice. Received: {' '.join(words)}")
    given = word.removeprefix(start)
    is_one = given and (Path(given).is_dir() or (runs / given).is_dir())  # commas are of its path
    names = [name for name in ([given] if is_one else given.split(",")) if name]
    if not names:
        raise ValueError(
            f"{recipe} uses the networks of finished runs. Expected: networks=RUN"
            f"{'' if recipe.startswith('explain') else '[,RUN]'}. Received: none. "
            "Try: python build.py runs, which lists them"
        )
    sources = [read_source(find_kept(name, runs)) for name in names]
    ids = [source.build_id for source in sources]
    if len(set(ids)) < len(ids) or (recipe.startswith("explain") and len(ids) > 1):
        expected = "one run" if recipe.startswith("explain") else "different runs"
        raise ValueError(f"{SETTING}: expected {expected}. Received: {given}")
    for source in sources:
        if source.kept and "labels=hard" in words:
            refuse_ranks(source.kept, "hard")
    rest = [word for word in words if not word.startswith(start)]
    if all(source.has_tokens for source in sources):
        recipe = OF_TOKENS.get(recipe, recipe)
    frozen = sorted({weights for source in sources for weights in source.frozen})
    takes_weights = "weights" in name_settings(read_recipe(recipe).parts)
    if frozen and takes_weights and not any(word.startswith("weights=") for word in words):
        if len(frozen) > 1:
            raise ValueError(
                f"{SETTING}: expected runs whose heads need the same frozen model. Received: "
                f"{', '.join(frozen)}. Try: one kernel for each, then python build.py blend"
            )
        rest.append(f"weights={frozen[0]}")
    return recipe, [*rest, f"{start}{','.join(ids)}"], sources


def find_kept(name: str, runs: Path) -> Path:
    """The folder of a run, as `find_folder`; of the address of a model it says how to get one."""
    try:
        return find_folder(name, runs)
    except ValueError as error:
        model = re.fullmatch(r"([\w-]+/[\w-]+)(/[\w-]+/[\w-]+/\d+)?", name)
        if not model or Path(name).parts[0] == runs.name or Path(name).parent.exists():
            raise
        raise ValueError(
            f"{error} If it is a model on Kaggle, download it: kaggle models instances versions "
            f"download {model[1]}{model[2] or '/keras/networks/1'} -p DIR --untar. Then "
            "networks=DIR"
        ) from None


def read_source(folder: Path) -> Source:
    """Read what is known of a run whose networks are to be used.

    Raises:
        ValueError: it has no networks, or they or its oof.csv are not those of its run.json.
    """
    push, record = read_record(folder, PushRecord), read_result(folder)
    build_id = record.get("build_id") or (push and push.build_id)
    has_result = (folder / "run.json").is_file()
    if not has_result and (push is None or not push.kernel):
        raise ValueError(f"{folder} is no finished run. Expected: run.json and folds/")
    if not has_result and read_status(folder).state != "COMPLETE":
        raise ValueError(
            f"{folder.name} is not known to have ended, and its output is not here. Expected: a "
            f"finished run. Try: python build.py status {folder.name} --wait, then output"
        )
    if not build_id:
        raise ValueError(
            f"{folder} has no build_id, by which a page finds a run. Expected: one in run.json. "
            "Received: none, as of a blend or of an older version. Try: a new run"
        )
    kept = check_kept(folder, record) if has_result else None
    name = record["recipe"] or (push.recipe if push else "")
    frozen, has_tokens = find_frozen(name, record["settings"] or (push and push.settings))
    return Source(folder, build_id, push, kept, frozen, has_tokens)


def check_kept(folder: Path, record: dict) -> KeptRun | None:
    """A run whose files were checked as a kernel does; None if only its networks are not here.

    Args:
        folder: Path of the run, or of a model that `card` laid out.
        record: its run.json, as `read_result` returns it.

    Raises:
        ValueError: the run has no networks, damaged ones, or none of its out-of-fold predictions,
            or its run.json lacks what a page reads.
    """
    listed = record.get("manifest") or {}
    if any(name.endswith(".keras") for name in listed) and not any(folder.rglob("*.keras")):
        return None  # of output --only
    networks = find_networks(folder, listed)
    for path in networks:
        read_facts(Path(path), record.get("fingerprint"))
    keys = ("build_id", "settings")
    if missing := [name for name in keys if record.get(name) in (None, "")]:
        raise ValueError(
            f"{folder / 'run.json'}: expected the keys {', '.join(keys)}. Received: a file without "
            f"{' and '.join(missing)}"
        )
    maps = find_maps(folder, record, networks)
    kept = KeptRun(folder, {**record, "files": listed}, networks, maps)
    read_oof(kept)
    return kept


def find_frozen(name: str, settings: dict | None) -> tuple[tuple, bool]:
    """The frozen models that the heads of a run need, and whether all networks are transformers."""
    try:
        recipe = read_recipe(name)
        settings = compose_settings(recipe, settings).flat()
    except ValueError:  # of an earlier version: the page finds out
        return (), False
    parts, members = name_settings(recipe.parts), settings.get("members")
    kinds = {
        full: recipe.parts[part]
        for full, (part, field) in parts.items()
        if field.name == "weights"
        and issubclass(recipe.parts[part], TransformerSettings)
        and (members is None or part in members)
    }
    frozen = [settings[full] for full, kind in kinds.items() if kind is TransformerSettings]
    return tuple(frozen), bool(kinds) and len(list_networks(recipe, settings)) == len(kinds)


def point_at(sources: list[Source]) -> dict[str, str]:
    """The environment in which a page finds the runs at home.

    Raises:
        ValueError: the networks of one are not here.
    """
    for source in sources:
        refuse_absent(source)
    folders = [str(source.folder.absolute()) for source in sources]
    return {"PCAM_NETWORKS": "\n".join(folders)}


def refuse_absent(source: Source) -> None:
    """Refuse a run whose networks are not here (ValueError)."""
    if not source.kept:
        raise ValueError(
            f"{source.folder} has no networks here. Expected: those that its run.json lists. "
            f"Try: python build.py output {source.folder.name}"
        )
