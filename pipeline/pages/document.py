"""A model document: sections of words, facts and tables, and the HTML page and the Markdown file that show the same."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape

from pipeline.errors import plain
from pipeline.pages.environment import environment


@dataclass(frozen=True)
class DocumentTable:
    """A table of texts.

    Attributes
    ----------
    header : sequence of str, length n_columns
    rows : sequence of sequence of str, shape (n_rows, n_columns)
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section: what stands under one heading, in this order. All texts are plain, and escaped where they are shown.

    Attributes
    ----------
    title : str
    texts : sequence of str
        Paragraphs.
    facts : mapping of str to str
    tables : sequence of DocumentTable
    points : sequence of str
        Sentences, one a point of a list.
    parts : sequence of Section
        What stands under headings below it.
    """

    title: str
    texts: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[DocumentTable] = ()
    points: Sequence[str] = ()
    parts: Sequence["Section"] = ()


@dataclass(frozen=True, kw_only=True)
class ModelDocument:
    """What a person has to know of a model version.

    Attributes
    ----------
    title, subtitle : str
    made_at : datetime
        UTC.
    sections : sequence of Section
    """

    title: str
    subtitle: str
    made_at: datetime
    sections: Sequence[Section]


def render_document(document: ModelDocument) -> str:
    """Return the document as one HTML page that needs nothing else; all text in it is escaped."""
    return (
        environment()
        .get_template("document.html")
        .render(
            title=document.title,
            subtitle=document.subtitle,
            sections=document.sections,
            made_at=document.made_at,
        )
    )


def markdown_of(document: ModelDocument) -> str:
    """Return the document as Markdown, in which no text is markup, not even HTML's.

    Examples
    --------
    >>> section = Section(title="Use", texts=["Of <b>rows</b>."], facts={"Alias": "champion"})
    >>> text = markdown_of(
    ...     ModelDocument(title="cards", subtitle="version 1", made_at=datetime(2025, 3, 1), sections=[section])
    ... )
    >>> print(text)
    # cards
    <BLANKLINE>
    version 1
    <BLANKLINE>
    ## Use
    <BLANKLINE>
    Of &lt;b&gt;rows&lt;/b&gt;.
    <BLANKLINE>
    | | |
    |---|---|
    | Alias | champion |
    <BLANKLINE>
    Written by Assay on 2025-03-01 at 00:00 UTC.
    <BLANKLINE>
    """
    lines = [f"# {_text(document.title)}", "", _text(document.subtitle), ""]
    for section in document.sections:
        lines += _lines(section, 2)
    return "\n".join([*lines, f"Written by Assay on {document.made_at:%Y-%m-%d at %H:%M} UTC.", ""])


def _lines(section: Section, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} {_text(section.title)}", "")
    for text in section.texts:
        yield from (_text(text), "")
    facts = [DocumentTable(("", ""), list(section.facts.items()))] if section.facts else []
    for table in (*facts, *section.tables):
        yield _row(table.header)
        yield "|" + "---|" * len(table.header)
        yield from (_row(cells) for cells in table.rows)
        yield ""
    if section.points:
        yield from (f"- {_text(point)}" for point in section.points)
        yield ""
    for part in section.parts:
        yield from _lines(part, level + 1)


def _row(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {_text(cell)} |" if cell else " |" for cell in cells)


def _text(text: str) -> str:
    """Return a text in which nothing is markup: signs that would be are escaped, HTML's and Markdown's."""
    signs = re.sub(r"([\\`*_{}\[\]|~]|^[#+\-=](?!\d))", r"\\\1", escape(plain(text), quote=False))
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", signs)
