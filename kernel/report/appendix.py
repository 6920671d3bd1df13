"""The training code of a run: its kernel, word for word, as cells that write it again."""

import contextlib
import re

from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.provenance import BUILD_ID_LINE, compute_build_id

from ..bundle.page import bundle_kernel
from ..records import PushRecord, read_record
from .reading import ReportRun
from .story import Cell

KERNEL = "kernel.py"
MAX_BYTES = 700_000  # of a page
MARK = re.compile(r"(?m)^(?=# %% (?!\[markdown\]))")  # a heading stands above what it heads
SHOWN = ("# %% recipes/", "# %% models/", "# %% methods/")
MACHINERY = "# %% [markdown]\n# ## Machinery\n"

INTRODUCTION = """\
## Appendix: the training code

The cells below are the kernel of {run}, build `{build_id}`, word for word: first its settings,
then the program, the network and the rest, one module a cell. They write it to `{kernel}`, and
train only if `RETRAIN` is true. That needs TensorFlow, Keras and the other packages that it
imports, a GPU for all but small networks, and the competition's data: in the folder that the
environment variable `PCAM_INPUT` names, in `data/histopathologic-cancer-detection`, or attached on
Kaggle. The results go to `working`."""

RUN = """\
if RETRAIN:
    import sys

    !"{sys.executable}" kernel.py
    assert _exit_code == 0, "the kernel failed: its error stands above"\
"""


def find_page(run: ReportRun) -> str:
    """The page that made a run; "" if it is not at hand.

    `train` keeps it in the run's folder. That of a pushed run is built again, which gives the same
    text as long as the package is the same. Nothing of it is executed.
    """
    build_id = run.record.get("build_id", "")
    paths = [path for path in sorted(run.folder.glob("*.py")) if path.is_file()]  # no pipes
    paths = [path for path in paths if path.stat().st_size <= MAX_BYTES]
    texts = [path.read_text("utf-8", "replace") for path in paths]
    pushed = read_record(run.folder, PushRecord)
    if pushed and pushed.kernel:
        hours = {} if pushed.max_hours is None else {"max_hours": pushed.max_hours}
        changes = {**(pushed.settings or {}), **hours}
        changes = {n: tuple(v) if isinstance(v, list) else v for n, v in changes.items()}
        with contextlib.suppress(ValueError):  # a recipe or settings of another version
            texts.append(bundle_kernel(pushed.recipe, changes).source)
    return next((text for text in texts if build_id in list_build_ids(text)), "")


def list_build_ids(text: str) -> list[str]:
    """The build ids that a page may have: over its code, or over all of it as until 2026-11.

    Empty for a text that is no page.
    """
    if not BUILD_ID_LINE.search(text):
        return []
    whole = BUILD_ID_LINE.sub('BUILD_ID = ""', text, count=1)
    return [compute_build_id(text), short_hash(whole)]


def tell_appendix(page: str, run: str, build_id: str) -> list[Cell]:
    """The cells of a kernel.

    Args:
        page: its text, as `find_page` returns it.
        run: the name of the run that it made, as Markdown.
        build_id: its build id.
    """
    introduction = INTRODUCTION.format(run=run, build_id=build_id, kernel=KERNEL)
    cells = [
        Cell(introduction, is_kernel=True),
        Cell("RETRAIN = False", is_code=True, is_kernel=True),
    ]
    story = page.find(MACHINERY) if MACHINERY in page else len(page)
    place = 0
    for part in MARK.split(page):
        is_hidden = place >= story or not part.startswith(SHOWN)
        option = "-a " if place else ""
        source = f"%%writefile {option}{KERNEL}\n{part}"
        cells.append(Cell(source, is_code=True, is_kernel=True, is_hidden=is_hidden))
        place += len(part)
    return [*cells, Cell(RUN, is_code=True, is_kernel=True)]
