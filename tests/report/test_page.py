"""The page: safe whoever wrote its text, with contents, figures and tables that can be read."""

import base64
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert.filters.markdown import markdown2html

from kernel.report.notebook import build_notebook
from kernel.report.page import clean_markdown, render_page
from kernel.report.story import Cell

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<iframe src='https://example.org'></iframe>",
    "<style>body { background: url(https://example.org/x.png) }</style>",
    "<p style='background: url(https://example.org/x.png)' onclick='alert(1)'>text</p>",
    "<meta http-equiv='refresh' content='0; url=https://example.org'>",
    "<base href='https://example.org/'><link rel=stylesheet href='https://example.org/x.css'>",
    "<form action='https://example.org'><input autofocus onfocus=alert(1)></form>",
    "<object data='x'></object><embed src='x'><video src='https://example.org/x'></video>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<a href='JavaScript:alert(1)'>one</a> [two](javascript:alert(1)) [three](http://example.org)",
    "[four](data:text/html;base64,PHNjcmlwdD4=) <a href='https:javascript:alert(1)'>five</a>",
    "![remote](https://example.org/x.png) ![other](data:text/html;base64,PHNjcmlwdD4=)",
    "<<script>script>alert(1)<</script>/script><!-- <script> --><noscript><p title='</noscript>",
    "`<script>`\n\n```html\n<script>alert(1)</script>\n```",
]


def show(source, data=None):
    """A notebook of one cell of code with an output, or of text."""
    notebook = build_notebook([Cell("# Title"), Cell(source, is_code=data is not None)])
    if data is not None:
        output = nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": "x"}})
        notebook.cells[1].outputs = [output]
    return notebook


def parse(notebook):
    return BeautifulSoup(render_page(notebook), "html.parser")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["words", "output"])
def test_nothing_on_the_page_runs_or_is_fetched(text, kind):
    notebook = show(text) if kind == "words" else show("1", {"text/html": f"<p>{text}</p>"})
    page = parse(notebook)
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'") and "script" not in policy
    assert len(page("meta")) == 3 and len(page("link")) == 1 and len(page("style")) == 1
    main = page.main
    active = "script style iframe svg math form input object embed video base link meta noscript"
    assert not main(active.split())
    for tag in main(True):
        assert not {name for name in tag.attrs if name.startswith("on") or name == "style"}
        assert tag.get("href", "#").startswith(("https://", "#"))
        assert tag.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_the_page_is_called_what_its_first_heading_says():
    notebook = build_notebook([Cell("# Cancer &lt;/title&gt;&lt;script&gt;: **demo**\n\nText.")])
    page = parse(notebook)
    assert page.title.get_text() == page.h1.get_text() == "Cancer </title><script>: demo"
    assert not page("script")


def test_harmless_markdown_stays():
    text = "**bold** [link](https://example.org/a?b=1&c=2)\n\n- `x < y`\n\n> quote\n\n1 < 2 & 3"
    main = parse(show(text)).main
    assert main.strong.get_text() == "bold" and main.code.get_text() == "x < y"
    assert main.find("a", string="link")["href"] == "https://example.org/a?b=1&c=2"
    assert main.blockquote.get_text().strip() == "quote" and "1 < 2 & 3" in main.get_text()


def test_the_contents_lead_to_every_heading_however_they_are_named():
    headings = ["## 1. A & B", "### <b>same</b>", "### same", "## 2. `code`"]
    main = parse(show("\n\n".join(headings))).main
    links = main.nav("a")
    assert [link.get_text() for link in links] == ["1. A & B", "same", "same", "2. code"]
    assert [main.find(id=link["href"][1:]).name for link in links] == ["h2", "h3", "h3", "h2"]


def test_a_picture_and_its_caption_are_one_figure():
    picture = base64.b64encode(b"\x89PNG").decode()
    notebook = show("show()", {"image/png": picture})
    caption = nbformat.v4.new_markdown_cell("**Figure 1.** What it shows.")
    notebook.cells += [caption, nbformat.v4.new_markdown_cell("Text.")]
    main = parse(notebook).main
    (figure,) = main("figure")
    assert figure.img["alt"] == "x" and figure.img["src"].endswith(picture)
    assert figure.figcaption.get_text() == "Figure 1. What it shows."
    assert main.get_text().count("What it shows") == 1 and "Text." in main.get_text()


def make_table(num_columns, num_rows):
    """A table as the notebooks' set-up cell writes it; its second column has numbers."""
    heads = "".join(f"<th>c{i}</th>" for i in range(num_columns))
    cells = "<td>1,234.5</td>" + "<td>text</td>" * (num_columns - 2)
    rows = f"<tr><th>row</th>{cells}</tr>" * num_rows
    caption = "<caption>Table 3. About <i>it</i>.</caption>"
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def test_tables_say_what_heads_what_and_align_their_numbers():
    table = parse(show("1", {"text/html": make_table(3, 2)})).main.table
    assert table.caption.strong.get_text() == "Table 3."
    assert table.caption.get_text() == "Table 3. About it."
    assert [cell["scope"] for cell in table("th")] == ["col"] * 3 + ["row"] * 2
    numbers = [cell.get_text() for cell in table(class_="number")]
    assert numbers == ["c1", "1,234.5", "1,234.5"]
    assert table("td")[1]["data-label"] == "c2"


def test_long_ids_are_shortened_and_long_names_may_break():
    text = make_table(4, 1).replace("c2", "label_smoothing").replace("text", "ab12" * 10, 1)
    text = text.replace("<th>row", "<th>p4m_densenet")
    table = parse(show("1", {"text/html": text})).main.table
    assert str(table.tbody.th) == '<th scope="row">p4m_densenet</th>'
    assert [cell.get_text() for cell in table("td")] == ["1,234.5", "ab12ab12\u2026", "text"]
    header = table("th")[2]
    assert str(header) == '<th scope="col">label_<wbr/>smoothing<wbr/></th>'
    assert table("td")[1]["data-label"] == "label_smoothing"


@pytest.mark.parametrize("size, is_stacked", [((3, 40), False), ((4, 11), True), ((9, 30), True)])
def test_wide_tables_are_stacked_on_a_phone(size, is_stacked):
    table = parse(show("1", {"text/html": make_table(*size)})).main.table
    assert ("stacked" in table.get("class", [])) == is_stacked


def test_the_training_code_and_empty_words_are_not_on_the_page():
    cells = [Cell("# Title"), Cell("> prompt", slot="results"), Cell("CODE", is_kernel=True)]
    cells.append(Cell("own words", slot="conclusion", words="own words"))
    text = render_page(build_notebook(cells))
    assert "own words" in text and not re.search("prompt|CODE", text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<iframe src=https://example.org>",
        "<img src=x onerror=alert(1)",
        "<b onclick=alert(1)>x</b>",
        "<javascript:alert(1)>",
        "[x](javascript:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x]( <javascript:alert(1)>)",
        "[x]\n\n[x]:\njavascript:alert(1)",
        "![x](http://example.org/x.png)",
        "![x](//example.org/x.png)",
        "http://example.org and HTTP://example.org, www.example.org",
        "a ` b\n\n<iframe src=https://example.org> ` c",  # no code, though between backticks
        "- a\n\n    <iframe src=https://example.org>",  # nor this, though indented
        "$`$ <iframe src=https://example.org> $`$",
        "```\n```\n<iframe src=https://example.org>\n```",
    ],
)
def test_unsafe_markdown_is_shown_as_text(text):
    shown = BeautifulSoup(markdown2html(clean_markdown(text)), "html.parser")
    assert not shown(["script", "iframe", "img"]) and not shown(onclick=True)
    assert all(link["href"].startswith(("https://", "#")) for link in shown("a", href=True))
    assert re.search("alert|example", shown.get_text())


@pytest.mark.parametrize(
    "code",
    [
        "```python\nif loss <best: tasks[0](model, x)  # http://example.org\n```",
        "- one\n\n  ~~~\n  vector<float> x;\n  ~~~",
        "Code:\n\n    for i in a[0](b): print(i <b)\n",
        "As `x <y`, or ``a[0](`b`, c) <d``.",
        "```\nif x <y:",
    ],
)
def test_code_stays_as_it_is(code):
    assert clean_markdown(code) == code
    assert clean_markdown(f"{code}\n\n<model> www.a.org\n") == (
        f"{code}\n\n<model> www.a.org\n"
        if code.endswith("y:")  # of a fence that nothing ends
        else f"{code}\n\n&lt;model> www&#46;a.org\n"
    )


def test_plain_markdown_stays_as_it_is():
    text = '> *a* < b & c <b>d</b><br> <https://e.org> [f](https://f.org) ![g](data/g.png "g") [0]'
    assert clean_markdown(text) == text
