"""Data Docs: the page on which Great Expectations shows what became of every rule.

One page, styled in itself: the usual Data Docs fetch styles, scripts and an image from the network as they are
opened, which would tell others that they are. Everything on it is escaped, for values come from the data.
"""

import html
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from expectations.runs import Outcome

MASK = "(masked)"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
h1, h2, h3, h4, h5 { font-weight: 600; margin: 1.4em 0 .4em; }
table { border-collapse: collapse; margin: .4em 0; }
td, th { border: 1px solid #ddd; padding: .3em .7em; text-align: left; vertical-align: top; }
ul { padding-left: 1.2em; } p { margin: .2em 0; }
.text-success::before { content: "\\2714"; color: #1a7f37; }
.text-danger::before { content: "\\2718"; color: #c62828; }
.text-warning::before { content: "!"; color: #b26a00; font-weight: bold; }
.badge { background: #eee; border-radius: .3em; padding: 0 .4em; }
nav, .sticky, .btn, .modal, footer, #show-more, button { display: none; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd; } td, th { border-color: #444; } .badge { background: #333; }
}
"""


def render_docs(
    outcomes: Sequence[Outcome], *, title: str, batch_id: str, sensitive: Collection[str], at: datetime
) -> str:
    """Return the Data Docs page of a validated table.

    Parameters
    ----------
    outcomes : sequence of Outcome
        All rules that were run, those that held too.
    title : str
        Name of the table.
    batch_id : str
    sensitive : collection of str
        Columns of which no value may be shown; how many rows broke a rule still is.
    at : datetime
        When the table was validated, in UTC.
    """
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    results = []
    for outcome in outcomes:
        hidden = any(column in sensitive for column in outcome.columns)
        configuration = ExpectationConfiguration(
            type=outcome.kind,
            kwargs=_escaped(outcome.kwargs),
            severity=FailureSeverity(outcome.severity),
            description=_describe(outcome),
        )
        results.append(
            ExpectationValidationResult(
                success=outcome.success,
                expectation_config=configuration,
                result=_result(outcome, hidden),
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
                meta={},
            )
        )
    held = sum(outcome.success for outcome in outcomes)
    validated = ExpectationSuiteValidationResult(
        success=held == len(results),
        suite_name=_escaped(title),
        results=results,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100.0 * held / len(results) if results else None,
        },
        suite_parameters={},
        meta={
            "run_id": RunIdentifier(run_name=_escaped(batch_id), run_time=at.replace(tzinfo=UTC)),
            "validation_time": at.isoformat(),
        },
    )
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(validated))
    return _self_contained(page)


def _describe(outcome: Outcome) -> str:
    """Return a rule's name with what it asks for."""
    asked = [f"{key} {value}" for key, value in outcome.kwargs.items() if not key.startswith("column")]
    if outcome.severity != "critical":
        asked.append(outcome.severity)
    text = f"{outcome.name} ({', '.join(asked)})" if asked else outcome.name
    return str(_escaped(text)).replace("$", "&#36;")  # a dollar begins a parameter in Data Docs' texts


def _result(outcome: Outcome, hidden: bool) -> dict[str, Any]:
    if not outcome.about_rows:
        return {"observed_value": MASK if hidden else _escaped(outcome.observed)}
    judged = outcome.rows - outcome.missing
    values = [MASK] * min(1, len(outcome.values)) if hidden else _escaped(outcome.values)
    return {
        "element_count": outcome.rows,
        "missing_count": outcome.missing,
        "missing_percent": 100.0 * outcome.missing / outcome.rows if outcome.rows else 0.0,
        "unexpected_count": outcome.broken,
        # Of all rows, which is what the page says beside it; Great Expectations fills in that of rows with a value.
        "unexpected_percent": 100.0 * outcome.broken / outcome.rows if outcome.rows else 0.0,
        "unexpected_percent_total": 100.0 * outcome.broken / outcome.rows if outcome.rows else 0.0,
        "unexpected_percent_nonmissing": 100.0 * outcome.broken / judged if judged else 0.0,
        "partial_unexpected_list": values,
    }


def _escaped(value: Any) -> Any:
    """Return a value for a page: text escaped, and everything that JSON does not know as text."""
    if isinstance(value, dict):
        return {_escaped(str(key)): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escaped(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and not value - value:  # finite
        return float(value)
    text = str(value)
    return html.escape(text if len(text) <= 200 else text[:200] + "…")


def _self_contained(page: str) -> str:
    """Return a page without anything that is fetched from, or leads to, somewhere else."""
    page = re.sub(r"<(script|style|footer)\b.*?</\1>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"<(link|img)\b[^>]*>", "", page, flags=re.IGNORECASE)
    page = re.sub(r"""\b(href|src)=(["'])(?!#).*?\2""", "", page, flags=re.IGNORECASE)
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)
