"""The folders of this repository, each named in one place."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pcam_kaggle"
DIST = ROOT / "kernel" / "dist"  # kernels that are ready to push
RUNS = ROOT / "runs"  # what was pushed or run at home
