"""The page of a validation, the Data Docs: what became of every rule that a table was judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.numbers import number, percent
from pipeline.pages.environment import environment
from pipeline.settings.config import Config
from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK, is_sensitive, mask
from pipeline.tables.batch import Batch
from pipeline.tables.writing import write_text

if TYPE_CHECKING:
    from pipeline.validation.validate import Outcome

MOST_EXAMPLES = 10
"""Values shown of those that break a rule, at most."""


@dataclass(frozen=True)
class RuleRow:
    """One rule, ready to show, sensitive values already masked. Made by :func:`rule_row`.

    Attributes
    ----------
    name, question, column, severity : str
        What the rule is called, what it asks, of which columns, and how bad it is that it does not hold.
    has_held : bool
    judged, missing, unexpected, share : str
        Rows with a value, rows without one, rows that break the rule, and their share of those with a value; empty
        where a rule is about the table as a whole.
    examples : tuple of str
        The first values that break it, or what was observed of the table.
    """

    name: str
    question: str
    column: str
    severity: str
    has_held: bool
    judged: str
    missing: str
    unexpected: str
    share: str
    examples: tuple[str, ...]


def data_docs(batch: Batch, config: Config, folder: Path) -> Callable[[Sequence["Outcome"]], Path]:
    """Return what writes the page of a batch into a folder: `take_in` calls it with the outcomes of the rules."""

    def write(outcomes: Sequence["Outcome"]) -> Path:
        words = {"title": batch.path.name, "subtitle": f"batch {batch.id}"}
        write_text(folder / "index.html", render_validation(outcomes, contract=config.contract, **words))
        return folder / "index.html"

    return write


def render_validation(outcomes: Sequence["Outcome"], *, title: str, subtitle: str, contract: Contract) -> str:
    """Return the page; it needs no network, no script and no file beside it, and all text in it is escaped.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of all rules that were run, those that held too.
    title, subtitle : str
        Which table it was.
    contract : Contract
        Names the columns of which no value may be shown; how many rows broke a rule still is.
    """
    rows = [rule_row(outcome, contract) for outcome in outcomes]
    return (
        environment()
        .get_template("validation.html")
        .render(
            title=title,
            subtitle=subtitle,
            broken=[row for row in rows if not row.has_held],
            held=[row for row in rows if row.has_held],
            made_at=datetime.now(UTC),
        )
    )


def rule_row(outcome: "Outcome", contract: Contract) -> RuleRow:
    """Make the outcome of a rule ready to show; values of sensitive columns are masked here."""
    judged = outcome.rows - outcome.missing
    counts = ("", "", "", "")
    if outcome.about_rows:
        share = percent(outcome.broken / judged) if judged else ""
        counts = (number(judged), number(outcome.missing), number(outcome.broken), share)
    return RuleRow(
        outcome.name,
        _question(outcome),
        ", ".join(outcome.columns) or "the table",
        outcome.severity,
        outcome.success,
        *counts,
        examples=_examples(outcome, contract),
    )


def _question(outcome: "Outcome") -> str:
    """Return what a rule asks, in Great Expectations' words: ``column values to be between: min value 0``."""
    bounds = {
        key.replace("_", " ").strip(): value for key, value in outcome.kwargs.items() if not key.startswith("column")
    }
    text = outcome.kind.removeprefix("expect_").replace("_", " ")
    return text + (": " if bounds else "") + ", ".join(f"{key} {_clipped(value)}" for key, value in bounds.items())


def _examples(outcome: "Outcome", contract: Contract) -> tuple[str, ...]:
    if not outcome.about_rows:
        return () if outcome.observed is None else (mask(_clipped(outcome.observed), contract, *outcome.columns),)
    if is_sensitive(contract, *outcome.columns):
        return (MASK,) if outcome.values else ()
    return tuple(dict.fromkeys(_clipped(value) for value in outcome.values))[:MOST_EXAMPLES]


def _clipped(value: Any, most: int = 80) -> str:
    text = str(value)
    return text if len(text) <= most else text[:most] + "…"
