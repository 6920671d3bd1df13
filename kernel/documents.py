"""The parts of the documents that are generated; `python -m kernel.documents` rewrites them.

Each stands between two comments, such as <!-- settings --> and <!-- /settings -->.
"""

from .facts.foundation import render_foundation
from .facts.measurements import render_all_measurements, render_readme_table
from .folders import ROOT
from .reference import (
    render_commands,
    render_networks,
    render_old_names,
    render_recipes,
    render_settings,
)

GENERATED = (  # document, name of the comments, function that renders what is between them
    ("README.md", "measurements", render_readme_table),
    (".github/method.md", "measurements", render_all_measurements),
    (".github/reference.md", "recipes", render_recipes),
    (".github/reference.md", "old names", render_old_names),
    (".github/reference.md", "settings", render_settings),
    (".github/reference.md", "networks", render_networks),
    (".github/reference.md", "foundation", render_foundation),
    (".github/reference.md", "commands", render_commands),
)


def update_documents() -> None:
    """Rewrite the generated parts of the documents."""
    for document, name, render in GENERATED:
        text = (ROOT / document).read_text("utf-8")
        updated = replace_part(text, render(), name)
        (ROOT / document).write_text(updated, "utf-8", newline="\n")


def replace_part(text: str, part: str, name: str) -> str:
    """A document with another part between the comments of that name.

    Raises:
        ValueError: a document without the comments.
    """
    markers = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, start, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not start or not end:
        raise ValueError(
            f"expected the comments {' and '.join(markers)}, each on a line. Received: a "
            "document without them"
        )
    return f"{before}{start}\n{part}\n{end}{after}"


if __name__ == "__main__":
    update_documents()
