"""A model document read back: the page with html.parser, the Markdown line by line; both say the same."""

import re
from datetime import datetime

import pytest

from pipeline.pages.document import DocumentTable, ModelDocument, Section, markdown_of, render_document
from tests.pipeline.pages.page import Page

BAD = "<img src=x>\x1b[31m"


def document(text: str) -> ModelDocument:
    part = Section(title=f"part {text}", points=[f"point {text}"], tables=[DocumentTable((text, "B"), [(text, "")])])
    section = Section(title=f"section {text}", texts=[f"words {text}"], facts={f"name {text}": text}, parts=[part])
    made_at = datetime(2025, 3, 1, 8, 30)
    return ModelDocument(title=f"title {text}", subtitle=f"below {text}", made_at=made_at, sections=[section])


def test_page_and_markdown_say_the_same_in_the_same_order() -> None:
    said = ["title a1", "below a1", "section a1", "words a1", "name a1", "part a1", "point a1"]
    page, markdown = Page(render_document(document("a1"))).text, markdown_of(document("a1"))
    for text in (page[page.index("below a1") :], markdown):
        places = [text.rindex(each) for each in said[2:]]
        assert places == sorted(places)
    assert all(each in page and each in markdown for each in said)
    assert "2025-03-01 at 08:30 UTC" in page
    assert "2025-03-01 at 08:30 UTC" in markdown
    assert "## section a1\n" in markdown
    assert "### part a1\n\n| a1 | B |\n|---|---|\n| a1 | |\n\n- point a1\n" in markdown


def test_text_from_data_is_no_markup_in_either() -> None:
    html, markdown = render_document(document(BAD)), markdown_of(document(BAD))
    for text in (html, markdown):
        assert "<img" not in text
        assert "\x1b" not in text
    assert "words <img src=x>" in Page(html).text
    assert "<script" not in html
    assert "://" not in re.sub(r'<meta[^>]*>|xmlns="[^"]*"', "", html)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b\nc", r"a\|b\\nc"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("TX_AMOUNT `x` *y*", r"TX\_AMOUNT \`x\` \*y\*"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("0.721 (0.5 to 0.8)", "0.721 (0.5 to 0.8)"),
        ("- no list", r"\- no list"),
        ("---", r"\---"),
        ("-0.083 (-0.1 to +0.1)", "-0.083 (-0.1 to +0.1)"),
        ("a < b & c", "a &lt; b &amp; c"),
    ],
)
def test_signs_of_markdown_are_escaped(text: str, written: str) -> None:
    section = Section(title="s", texts=[text])
    made = ModelDocument(title="t", subtitle="s", made_at=datetime(2025, 3, 1), sections=[section])
    assert f"\n{written}\n" in markdown_of(made)
