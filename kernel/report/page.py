"""An executed notebook as one self-contained page, safe to open whoever wrote its text."""

import re
from collections.abc import Iterator
from pathlib import Path

import bleach
import jinja2
import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import MarkdownWithMath

TEMPLATE = Path(__file__).parent / "templates" / "report.html.jinja"
TAGS = {"a", "p", "div", "span", "br", "hr", "img", "figure", "figcaption", "blockquote", "nav"}
TAGS |= {"h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd", "details"}
TAGS |= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "summary", "small"}
TAGS |= {"b", "strong", "i", "em", "u", "s", "del", "ins", "mark", "sub", "sup"}
TAGS |= {"code", "pre", "kbd", "wbr"}
ATTRIBUTES = {"alt", "class", "colspan", "data-label", "id", "open", "rowspan", "scope", "start"}
ATTRIBUTES |= {"tabindex"}
PICTURES = re.compile(r"data:image/(png|jpeg|svg\+xml);base64,[\w+/=\s]*")
FEW_COLUMNS = 3  # of tables that a phone shows as they are
LONG_ID, ID_DIGITS = re.compile(r"[0-9a-f]{16,}"), 8
# In Markdown, what is neither a plain tag or an address of https nor a path in this folder.
UNSAFE_TAG = re.compile(rf"<(?=[a-zA-Z/!?])(?!/?(?:{'|'.join(TAGS - {'img'})})\s*/?>|https://)")
UNSAFE_ADDRESS = re.compile(r"\](?=[(:]\s*<?(?!https://|#|(?!//)[\w./%-]*(?:[\s#?)>]|\Z)))")
# What renderers make a link of: no https, and www. for http.
UNSAFE_LINK = re.compile(r"(?i)\b(?:http|ftp)://|(?<![/\w])www\.(?=\w)")
CODE = re.compile(  # fenced, indented, and between backticks
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)|\Z)|^(?: {4}|\t).+?$"
    r"|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"[+\-\u2212]?[\d,.]+( ?%)?|[-\u2013\u2014]?")
UNSHOWN = {"empty", "kernel"}  # tags of cells: no words yet, the training code


def render_page(notebook: nbformat.NotebookNode) -> str:
    """An executed notebook as an HTML page: its text and outputs, not its code.

    The page needs no script and asks for nothing: HTML of the notebook's text and outputs is
    reduced to text, tables and embedded pictures (bleach), links to https, and a
    Content-Security-Policy forbids the rest.
    """
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_anchor_links=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    shown = nbformat.from_dict(notebook)
    shown.cells = [c for c in shown.cells if not UNSHOWN & set(c.metadata.get("tags", []))]
    soup = BeautifulSoup(exporter.from_notebook_node(shown)[0], "html.parser")
    for tag in soup(["script", "style"]):
        tag.decompose()
    for image in soup("img"):
        join_figure(soup, image)
    for table in soup("table"):
        mark_table(soup, table)
    add_contents(soup)
    title = soup.find("h1").get_text().strip()
    body = bleach.clean(
        str(soup), tags=TAGS, attributes=is_allowed, protocols=["https", "data"], strip=True
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(title=title, body=body) + "\n"


def clean_markdown(text: str) -> str:
    """Markdown that anybody may have written, as it may stand in a notebook.

    HTML but for plain tags is shown as text, as are links and pictures of other addresses than
    https or a file's path. Code stays as it is, where the parser agrees that it is code.
    """
    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [disarm(text[end : code.start()]), code[0]]
        end = code.end()
    cleaned = "".join([*parts, disarm(text[end:])])
    tokens, _ = MarkdownWithMath(renderer=None).parse(cleaned)
    num_in_code = sum(map(count_unsafe, list_code(tokens)))
    return cleaned if count_unsafe(cleaned) == num_in_code else disarm(text)


def disarm(text: str) -> str:
    """Markdown whose unsafe tags and addresses are shown as text, also those in code."""
    text = UNSAFE_ADDRESS.sub(r"]\\", UNSAFE_TAG.sub("&lt;", text))
    return UNSAFE_LINK.sub(lambda m: m[0].replace(":", "&#58;").replace(".", "&#46;"), text)


def count_unsafe(text: str) -> int:
    """How many unsafe tags and addresses Markdown holds."""
    return sum(len(kind.findall(text)) for kind in (UNSAFE_TAG, UNSAFE_ADDRESS, UNSAFE_LINK))


def list_code(tokens: list) -> Iterator[str]:
    """The code in the tokens of parsed Markdown."""
    for token in tokens:
        if token["type"] in ("block_code", "codespan"):
            yield token["raw"]
        yield from list_code(token.get("children", ()))


def is_allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute may stand on the page."""
    if name == "href":
        return value.startswith(("https://", "#"))
    if name == "src":
        return tag == "img" and PICTURES.fullmatch(value) is not None
    return name in ATTRIBUTES


def join_figure(soup: BeautifulSoup, image: Tag) -> None:
    """Make a picture and the caption in the cell below it one figure."""
    cell = image.find_parent("div", class_="code_cell")
    below = cell and cell.find_next_sibling("div")
    caption = below and below.find("p")
    if caption and caption.get_text().startswith("Figure "):
        figure = soup.new_tag("figure")
        cell.replace_with(figure)
        caption.name = "figcaption"
        figure.extend([image, caption])


def mark_table(soup: BeautifulSoup, table: Tag) -> None:
    """Give a table's headers their scope, mark its columns of numbers, and let it scroll.

    On a narrow screen the rows of a wide table stand below each other, each cell beside its
    column's name. Long ids are shortened, and names of columns may break after an underscore.
    """
    for header in table("th"):
        header["scope"] = header.get("scope") or ("col" if header.find_parent("thead") else "row")
    rows = [row(["th", "td"]) for row in table("tr")]
    for column in zip(*rows):
        name, *cells = column
        if all(NUMBER.fullmatch(cell.get_text().strip()) for cell in cells):
            for cell in column:
                cell["class"] = [*cell.get("class", []), "number"]
        for cell in (cell for cell in cells if cell.name == "td"):
            cell["data-label"] = name.get_text().strip()
    caption = table.caption
    if caption and (label := re.match(r"\s*(Table \d+\.)", caption.get_text())):
        strong = soup.new_tag("strong")
        strong.string = label[1]
        rest = caption.get_text().strip().removeprefix(label[1])
        caption.clear()
        caption.extend([strong, rest])
    for cell in (cell for row in rows for cell in row if cell.string):
        text = cell.get_text().strip()
        if LONG_ID.fullmatch(text):
            cell.string = f"{text[:ID_DIGITS]}\u2026"
        elif cell.get("scope") == "col" and "_" in text:
            cell.clear()
            for part in re.split(r"(?<=_)", text):
                cell.extend([part, soup.new_tag("wbr")])
    if rows and len(rows[0]) > FEW_COLUMNS:
        table["class"] = [*table.get("class", []), "stacked"]
    table.wrap(soup.new_tag("div", attrs={"class": "wide", "tabindex": "0"}))


def add_contents(soup: BeautifulSoup) -> None:
    """Number the headings' anchors and list them below the title."""
    contents = soup.new_tag("nav", attrs={"class": "contents"})
    entries = soup.new_tag("ul")
    for number, heading in enumerate(soup(["h2", "h3"]), start=1):
        heading["id"] = f"section-{number}"
        entry = soup.new_tag("li", attrs={"class": f"contents-{heading.name}"})
        link = soup.new_tag("a", href=f"#section-{number}")
        link.string = heading.get_text().strip()
        entry.append(link)
        entries.append(entry)
    contents.append(entries)
    title = soup.find("h1")
    if title and entries.contents:
        (title.find_parent("div", class_="cell") or title).insert_after(contents)
