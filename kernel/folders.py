"""The folders of this repository, each named in one place."""

from pathlib import Path

from pcam_kaggle.system.paths import COMPETITION

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pcam_kaggle"
DIST = ROOT / "kernel" / "dist"  # kernels that are ready to push
RUNS = ROOT / "runs"  # what was pushed or run at home
DRAFT = ".new"  # in a run: an exploration that is not finished
DATA = "data"  # in runs/: where `download` puts the competition


def find_downloaded(runs: Path = RUNS) -> Path | None:
    """The competition's folder that `download` has made in runs/, or None."""
    data = runs / DATA / COMPETITION
    return data if data.is_dir() else None
