"""The training code of a run: its kernel, word for word, as cells that write it again."""

import re

from .story import Cell

KERNEL = "kernel.py"
BUILD_ID = re.compile(r'(?m)^BUILD_ID = "([0-9a-f]{10})"')
MARK = re.compile(r"(?m)^(?=# %% (?!\[markdown\]))")  # a heading stands above what it heads
SHOWN = ("# %% recipes/", "# %% models/", "# %% methods/")
MACHINERY = "# %% [markdown]\n# ## Machinery\n"

INTRODUCTION = """\
## Appendix: the training code

The cells below are the kernel of build `{build_id}`, word for word: first its settings, then the
program, the network and the rest, one module a cell. They write it to `{kernel}`, and train only
if `RETRAIN` is true. That needs TensorFlow, Keras and the other packages that it imports, a GPU
for all but small networks, and the competition's data: in the folder that the environment
variable `PCAM_INPUT` names, in `data/histopathologic-cancer-detection`, or attached on Kaggle.
The results go to `working`."""

RUN = """\
if RETRAIN:
    import sys

    !"{sys.executable}" kernel.py
    assert _exit_code == 0, "the kernel failed: its error stands above"\
"""


def tell_training(page: str) -> list[Cell]:
    """The cells of a kernel, from its text as `find_page` returns it."""
    introduction = INTRODUCTION.format(build_id=BUILD_ID.search(page)[1], kernel=KERNEL)
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
