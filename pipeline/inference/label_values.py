"""How the label of a table is written: which of its words mean fraud, judged on every row of the table."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.numbers import percent
from pipeline.settings.config import TableConfig
from pipeline.tables.cells import as_text
from pipeline.tables.label_words import NOTHING_WORDS, canonical, meanings
from pipeline.tables.reading import Table

MOST_WORDS = 12
"""Different words that a label has at most."""
MISTAKES = 0.05
"""Share of the cells that may be not understood, and of no more than half as many as say fraud: such are mistakes."""
RARE = 0.3
"""Of two words with no meaning of their own the rarer one means fraud, if no more of the cells hold it."""
_BATCH_ROWS = 65_536
_FRAUDS = ("fraud", "betrug", "scam", "chargeback")
_CODES = ("t", "f", "-1", "0", "1", "2")
_Words = dict[str, tuple[str, int]]  # by canonical word, its spelling and its rows


@dataclass(frozen=True)
class LabelReading:
    """How a column is read as the label.

    Attributes
    ----------
    settings : TableConfig
        With the words that have no meaning of their own.
    text : str
        What the column holds, and how it is read.
    warnings : tuple of str
        What a person has to look at, without the column's name in front.
    speaks : bool
        Whether a word says fraud, so that the column is the label whatever its name.
    is_code : bool
        Whether its words are such as 1 and 2, or have a meaning of their own.
    """

    settings: TableConfig
    text: str
    warnings: tuple[str, ...]
    speaks: bool
    is_code: bool


def count_words(table: Table, columns: Iterable[str]) -> dict[str, Counter[str]]:
    """Return how often each cell, as text, comes in the whole table; columns of many different cells are left out.

    Parameters
    ----------
    table : Table
    columns : iterable of str
    """
    counts: dict[str, Counter[str]] = {column: Counter() for column in columns}
    if not counts:
        return {}
    for batch in table.batches(_BATCH_ROWS):
        for column in list(counts):
            for item in pc.value_counts(as_text(batch.column(column)).fill_null("")).to_pylist():
                counts[column][item["values"].strip()] += item["counts"]
            if len(counts[column]) > 10 * MOST_WORDS:  # spellings of the same word may come together
                del counts[column]
    return counts


def speaks_of_fraud(values: pa.Array) -> bool:
    """Return whether a word of a column says fraud.

    Examples
    --------
    >>> speaks_of_fraud(pa.array(["ok", "Fraud"])), speaks_of_fraud(pa.array(["ok", "late"]))
    (True, False)
    """
    words = canonical(pc.unique(values)).to_pylist()
    return any(part in word for word in words for part in _FRAUDS)


def read_words(counts: Mapping[str, int], settings: TableConfig) -> LabelReading | None:
    """Return how a column of these cells is read as the label; None where nobody can say.

    Words of one meaning (1, no, legit) are taken for what they are. Of two words without one, such as 1 and 2, the
    rarer one means fraud. Where a mark stands beside empty cells only, these are not fraud.

    Parameters
    ----------
    counts : mapping of str to int
        Rows by cell, from `count_words`; "" for empty ones.
    settings : TableConfig
        Words that a person named hold first.

    Examples
    --------
    >>> reading = read_words({"2": 30, "1": 970}, TableConfig())
    >>> reading.settings.label_fraud, reading.settings.label_normal
    (('2',), ('1',))
    >>> read_words({"Yes": 30, "No": 970}, TableConfig()).text
    "'Yes' in 30 rows for fraud, 'No' in 970 rows for none"
    >>> read_words({"red": 500, "blue": 500}, TableConfig()) is None
    True
    """
    words = _by_word(counts)
    settings, warnings = _settle(words, settings)
    known = meanings(settings)
    fraud, normal, unknown, others = (
        {word: cell for word, cell in words.items() if known.get(word, "") == meaning} for meaning in (1, 0, None, "")
    )
    judged = _rows(words) - _rows(unknown)
    if not (fraud or normal) or len(words) > MOST_WORDS:
        return None
    if others and not (fraud and normal and _rows(others) <= min(MISTAKES * judged, _rows(fraud) / 2)):
        return None
    if others:
        warnings.append(f"holds {_quoted(others)}, which nobody understands, so that these rows will be quarantined")
    spelled = {word: cell for word, cell in unknown.items() if word}
    if spelled:
        warnings.append(f"holds {_quoted(spelled)}, which is read as not known yet")
    if _rows(fraud) > judged / 2:
        warnings.append(
            f"says fraud in {percent(_rows(fraud) / judged)} of the rows that have one; if it is the other way round, "
            "name its words in label_fraud and label_normal in [table]"
        )
    parts = ((fraud, "for fraud"), (normal, "for none"), (unknown, "for not known"))
    usual = meanings(TableConfig())
    return LabelReading(
        settings=settings,
        text=", ".join(f"{_quoted(cells)} {meaning}" for cells, meaning in parts if cells),
        warnings=tuple(warnings),
        speaks=any(part in word for word in fraud for part in _FRAUDS),
        is_code=all(word in usual or word in _CODES for word in (*fraud, *normal)),
    )


def _by_word(counts: Mapping[str, int]) -> _Words:
    """Return the most frequent spelling and the rows of every word."""
    words: _Words = {}
    cells = sorted((cell for cell in counts if counts[cell]), key=lambda cell: -counts[cell])
    for cell, word in zip(cells, canonical(pa.array(cells, pa.string())).to_pylist(), strict=True):
        spelling, rows = words.get(word, (cell, 0))
        words[word] = spelling, rows + counts[cell]
    return words


def _settle(words: _Words, settings: TableConfig) -> tuple[TableConfig, list[str]]:
    """Return the settings with the words that have no meaning yet, where one can be chosen, and what to look at."""
    known = meanings(settings)
    values = sorted((word for word in words if known.get(word, 0) is not None), key=lambda word: words[word][1])
    others = tuple(word for word in values if word not in known)
    spellings = tuple(words[word][0] for word in others)
    if settings.label_fraud or settings.label_normal:
        if others and not settings.label_normal:
            return _with(settings, label_normal=spellings), []
        if others and not settings.label_fraud:
            return _with(settings, label_fraud=spellings), []
    empty = tuple(words[word][0] if word else "" for word in words if word in ("", *NOTHING_WORDS))
    if len(values) == 1 and empty and not settings.label_normal and known.get(values[0], 1) == 1:
        if others and words[others[0]][1] > RARE * _rows(words):
            return settings, []
        warning = (
            f"holds {words[values[0]][0]!r} and empty cells only, which are read as no fraud; where they mean not "
            "known, take them out of label_normal in [table]"
        )
        normal = ("", *filter(None, empty))
        return _with(settings, label_fraud=settings.label_fraud or spellings, label_normal=normal), [warning]
    fraud = _rarer(words, values, known) if len(values) == 2 and others else None
    if fraud is None:
        return settings, []
    one, other = words[fraud][0], words[next(word for word in values if word != fraud)][0]
    warning = (
        f"holds {one!r} and {other!r}, and {one!r} is taken for fraud; if it is the other way round, exchange "
        "label_fraud and label_normal in [table]"
    )
    return _with(settings, label_fraud=(one,), label_normal=(other,)), [warning]


def _rarer(words: _Words, values: list[str], known: Mapping[str, int | None]) -> str | None:
    """Return which of two words, not both of which have a meaning, is fraud; None where nobody can say."""
    rarer, other = values
    own = {word: known[word] for word in values if word in known and word not in _CODES}
    if own:
        return rarer if own.get(rarer, 1) == 1 and own.get(other, 0) == 0 else None
    if words[rarer][1] <= RARE * (words[rarer][1] + words[other][1]):
        return rarer
    return "t" if set(values) == {"t", "f"} else None


def _with(settings: TableConfig, **words: tuple[str, ...]) -> TableConfig:
    return settings.model_copy(update=words)


def _rows(words: _Words) -> int:
    return sum(rows for _, rows in words.values())


def _quoted(words: _Words) -> str:
    """Return words with the number of their rows, such as "'Yes' in 30 rows"."""
    cells = " and ".join(repr(spelling) if word else "empty cells" for word, (spelling, _) in words.items())
    return f"{cells} in {_rows(words):,} {'row' if _rows(words) == 1 else 'rows'}"
