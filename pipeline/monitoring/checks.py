"""The checks of the watch: what of a table's last days is unlike the training, each with a sentence that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from pipeline.detector.artefact import Detector
from pipeline.detector.reference import LEAST_COMPARED
from pipeline.detector.usual import Usual
from pipeline.monitoring.columns import ColumnDrift, column_drifts, index_of
from pipeline.monitoring.martingale import LEVELS, Bounds, Course, bounds, course, evidence
from pipeline.monitoring.profile import DayProfile, Days
from pipeline.monitoring.volume import DAYS_OF_ROWS, SMALLEST, Block, Expected, lasting, rates
from pipeline.numbers import percent
from pipeline.settings.monitor import CheckName, MonitorConfig

State = Literal["ok", "warn", "stop"]
CHECKS: tuple[CheckName, ...] = ("schema", "rows", "columns", "scores", "alerts")
IN_A_ROW = 2
"""A day that is odd by itself wakes nobody: as many one after the other do."""
WHOLE = 0.5
"""Share of a day's usual rows from which on its hours, columns and scores are looked at."""
LEAST_ROWS = 10 * LEAST_COMPARED
"""A day of fewer rows says nothing of columns and scores."""
NAMED = 3


@dataclass(frozen=True)
class Check:
    """How one thing stands.

    Attributes
    ----------
    name : {"schema", "rows", "columns", "scores", "alerts"}
    state : {"ok", "warn", "stop"}
    text : str
        A sentence, with what to do where the state is not ok.
    degree : float
        How many times as far as its limit, 1 or more; 0 where the state is ok.
    """

    name: CheckName
    state: State
    text: str
    degree: float = 0.0


@dataclass(frozen=True)
class VersionBefore:
    """What the version before the one that scores now expected.

    Attributes
    ----------
    alerts_per_day : float
    is_same_model : bool
        Whether the two differ in their threshold alone.
    """

    alerts_per_day: float
    is_same_model: bool


@dataclass(frozen=True)
class Seen:
    """What the watch sees of a table's days.

    Attributes
    ----------
    days : sequence of date
        In their order.
    profiles : mapping of date to DayProfile
    drifts : mapping of date to sequence of ColumnDrift
        Of days with enough rows, the last ones or all, the largest first.
    volume : mapping of date to float
        Rows over those that are usual for the weekday.
    hours : mapping of date to float
        Population stability index of the hours, of whole days.
    limits : Bounds
    scores : Course
        Of the days in `tested`.
    tested : sequence of date
    alerts : Expected
        Of a day, by the calibration block.
    checks : sequence of Check
        As of the last day.
    """

    days: Sequence[date]
    profiles: Mapping[date, DayProfile]
    drifts: Mapping[date, Sequence[ColumnDrift]]
    volume: Mapping[date, float]
    hours: Mapping[date, float]
    limits: Bounds
    scores: Course
    tested: Sequence[date]
    alerts: Expected
    checks: Sequence[Check]


def look_at(
    days: Days,
    detector: Detector,
    changes: Sequence[str] = (),
    *,
    before: VersionBefore | None = None,
    all_columns: bool = False,
) -> Seen:
    """Return what the watch sees of a table's last days.

    Parameters
    ----------
    days : mapping of date to DayProfile
        By one version of the model, in the order of the days; one at least.
    detector : Detector
        That version, with today's settings.
    changes : sequence of str
        What is another in the table's schema, from `schema_changes`.
    before : VersionBefore, optional
        Where the version that scores is new.
    all_columns : bool
        Whether columns are looked at on every day, as a page over time shows them; else on the last days, as the check
        needs them.
    """
    settings, reference = detector.config.monitor, detector.reference
    volume = {day: each.rows / max(reference.rows_of_day(np.datetime64(day)), 1.0) for day, each in days.items()}
    tested = [day for day, each in days.items() if volume[day] >= WHOLE and each.rows >= LEAST_ROWS]
    held = detector.held_out
    limits = bounds(detector.calibration.p_value(held.scores), held.day, settings.tolerance)
    scores = course([evidence(days[day].blocks, days[day].up_to, limits) for day in tested], settings.calls_a_year)
    hours, block = reference.day_hours, Block.of(detector)
    seen = Seen(
        days=list(days),
        profiles=days,
        drifts={day: column_drifts(days[day], detector) for day in (tested if all_columns else tested[-IN_A_ROW:])},
        volume=volume,
        hours={day: index_of(hours, _with_missing(days[day].hours)) for day in tested} if hours else {},
        limits=limits,
        scores=scores,
        tested=tested,
        alerts=Expected.by(block.alerts.tolist()),
        checks=(),
    )
    checks = [
        schema_check(changes),
        _rows(seen, hours, settings),
        _columns(seen, has_reference=bool(reference.columns)),
        _scores(seen),
        _alerts(seen, block, detector, before),
    ]
    return replace(seen, checks=stopped(checks, settings))


def stopped(checks: Sequence[Check], settings: MonitorConfig) -> list[Check]:
    """Return the checks, those stopped that warn and that ``monitor.stop_on`` names."""
    stops = {each.name for each in checks if each.state == "warn"} & set(settings.stop_on)
    return [replace(each, state="stop") if each.name in stops else each for each in checks]


def schema_check(changes: Sequence[str]) -> Check:
    """Return how the table's columns stand; each change of them counts at once."""
    if not changes:
        return Check("schema", "ok", "The columns are those of the training.")
    more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    text = f"{', '.join(changes[:NAMED])}{more}, compared with the training's table"
    text = f"{text[0].upper()}{text[1:]}; ask whoever delivers it, and train again if it stays."
    return Check("schema", "warn", text, 2.0 ** len(changes))  # one more is always told


def _rows(seen: Seen, hours: Usual | None, settings: MonitorConfig) -> Check:
    last = seen.days[-1]
    ratios = [seen.volume[day] for day in seen.days[-IN_A_ROW:]]
    if len(ratios) == IN_A_ROW and (min(ratios) > settings.volume or max(ratios) < 1 / settings.volume):
        text = f"{last} has {seen.profiles[last].rows:,} rows, {percent(ratios[-1])} of those usual for its weekday"
        degree = max(min(ratios), 1 / max(*ratios, SMALLEST)) / settings.volume
        text = f"{text}, and the day before was like it; ask whoever delivers the table."
        return Check("rows", "warn", text, degree)
    if hours:
        limit = max(settings.drift, 2 * hours.index)
        indices = [seen.hours[day] for day in seen.tested[-IN_A_ROW:]]
        if len(indices) == IN_A_ROW and min(indices) >= limit:
            text = f"The hours of the rows of {last} are unlike the training's (stability index {indices[-1]:.2f}"
            text = f"{text}, limit {limit:.2f}); check the time zone and the time of delivery."
            return Check("rows", "warn", text, min(indices) / limit)
    return Check("rows", "ok", f"{last} has {percent(ratios[-1])} of the rows usual for its weekday.")


def _columns(seen: Seen, *, has_reference: bool) -> Check:
    if not has_reference:
        return Check(
            "columns", "ok", "This version was trained before columns were watched; train again to watch them."
        )
    recent = [seen.drifts[day] for day in seen.tested[-IN_A_ROW:]]
    if not recent:
        return Check("columns", "ok", "No day has enough rows to look at its columns.")
    moved = [{drift.column for drift in drifts if drift.has_moved} for drifts in recent]
    lasting = set.intersection(*moved) if len(moved) == IN_A_ROW else set()
    names = [str(drift) for drift in recent[-1] if drift.column in lasting]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        text = f"{'; '.join(names[:NAMED])}{more}, {IN_A_ROW} days in a row"
        text = f"{text}; look at what is delivered, and train again if it stays."
        return Check("columns", "warn", text, sum(_degree(name, recent) for name in lasting))
    largest = max(recent[-1], key=lambda drift: drift.index / drift.limit, default=None)
    worst = f"; the nearest is {largest.title} at {largest.index:.2f} of {largest.limit:.2f}" if largest else ""
    return Check("columns", "ok", f"{len(recent[-1])} columns lie within their limits{worst}.")


def _degree(column: str, recent: Sequence[Sequence[ColumnDrift]]) -> float:
    """Return how far a column has moved on all of some days, in its limits; 1 where its values alone did not."""
    return max(1.0, min(drift.index / drift.limit for drifts in recent for drift in drifts if drift.column == column))


def _beyond(day: DayProfile, limits: Bounds) -> list[tuple[float, float, float]]:
    """Return up to which levels a day has too many or too few rows, with its share and the usual one, worst first."""
    shares = (day.up_to.sum(axis=1) / day.rows).tolist()
    pairs = zip(LEVELS, shares, limits.usual, limits.low, limits.high, strict=True)
    found = [(level, share, usual) for level, share, usual, low, high in pairs if not low <= share <= high]
    return sorted(found, key=lambda each: -abs(np.log(each[1] / each[2] + SMALLEST)))


def _scores(seen: Seen) -> Check:
    if not seen.tested:
        return Check("scores", "ok", "No day has enough rows to look at the distribution of its scores.")
    beyond = _beyond(seen.profiles[seen.tested[-1]], seen.limits)
    level, share, usual = beyond[0] if beyond else (0.01, 0.0, 0.0)
    where = (
        f"{percent(share)} of the rows score above {percent(1 - level)} of the normal ones, usually {percent(usual)}"
    )
    if seen.scores.calls[-1]:
        text = f"The scores are unlike those of the training ({where})" if beyond else "The scores were unlike lately"
        text = f"{text}; look at the alerts, and train again if the data has changed."
        worst = [_beyond(seen.profiles[day], seen.limits)[:1] for day in seen.tested[-IN_A_ROW:]]
        ratios = [max(share / usual, usual / max(share, SMALLEST)) for found in worst for _, share, usual in found]
        return Check("scores", "warn", text, min(ratios) if len(ratios) == IN_A_ROW else 1.0)
    odd = f" {seen.tested[-1]} alone is odd: {where}." if beyond else ""
    return Check("scores", "ok", f"Scores are distributed as in the training, within the tolerance.{odd}")


def _alerts(seen: Seen, block: Block, detector: Detector, before: VersionBefore | None) -> Check:
    expected, last = seen.alerts, seen.days[-1]
    recent = [seen.profiles[day].flagged for day in seen.days[-IN_A_ROW:]]
    degree = lasting([expected.excess(count) for count in recent], IN_A_ROW)
    interval = f"{expected.low:,.0f} to {expected.high:,.0f} are expected nine days in ten"
    text = f"{last} has {recent[-1]:,} alerts, and {interval}"
    whole = [day for day, volume in seen.volume.items() if volume >= WHOLE]
    if not degree and whole[-1:] == [last]:
        profiles = [seen.profiles[day] for day in whole]
        found = rates(block, [(each.rows, each.flagged) for each in profiles])
        degree, of_as_many = lasting([excess for excess, _ in found], DAYS_OF_ROWS), found[-1][1]
        if degree:
            text = (
                f"{last} has {recent[-1]:,} alerts in {profiles[-1].rows:,} rows, and {of_as_many.low:,.0f} to "
                f"{of_as_many.high:,.0f} are expected of as many nine days in ten"
            )
    if degree:
        return Check("alerts", "warn", f"{text}: {causes(seen, detector, before)}.", degree)
    return Check("alerts", "ok", f"{text}.")


def causes(seen: Seen, detector: Detector, before: VersionBefore | None) -> str:
    """Return what the alerts of the last day are more or fewer by: its rows, how these score, the threshold.

    The three multiply to the ratio of the day's alerts to those that were expected of the version before.
    """
    last = seen.profiles[seen.days[-1]]
    expected = detector.cut.alert_share
    by_rows = seen.volume[seen.days[-1]]
    by_scores = last.flagged / max(last.rows, 1) / expected if expected else float("nan")
    parts = [f"{by_rows:.2g} times by the number of rows", f"{by_scores:.2g} times by how rows score"]
    if before:
        what = "threshold" if before.is_same_model else "model and its threshold"
        parts.append(f"{detector.cut.alerts_per_day / before.alerts_per_day:.2g} times by the new {what}")
    else:
        parts.append("model and threshold are as before")
    return ", ".join(parts)


def _with_missing(hours: np.ndarray) -> np.ndarray:
    return np.append(hours, 0)
