"""The patches: colors, stains, blanks and duplicates.

Every training patch is measured: tissue, brightness, stain color and a perceptual hash that
finds copies. Tables and pictures show what the data contain before a network is trained. It needs
no GPU and submits nothing.
"""

from ..analysis.exploration import explore
from ..analysis.exploration_files import describe_exploration, write_exploration
from ..data.run import Run, load_patches, make_record
from ..data.settings import DataSettings
from ..system.files import write_json

SETTINGS = {}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {"data": DataSettings}


def main(run: Run) -> None:
    """Measure the patches; write tables and pictures; print the numbers."""
    train, test = run.competition.train, run.competition.test
    patches = load_patches(run)
    slides, test_images = run.competition.slides, patches.test_images
    found = explore(patches.pixels, train["id"], patches.labels, slides, test_images, test["id"])
    run.clock.end("explore", len(train) + len(test))
    files, warnings = write_exploration(found, patches.pixels, run.output)
    run.clock.end("draw", len(train))
    record = {**vars(make_record(run, {}, files)), "warnings": warnings}
    write_json(run.output / "run.json", record)
    for line in [*describe_exploration(found.summary), *warnings]:
        print(line)
    print(f"wrote    {', '.join(files)}, run.json", flush=True)
