"""The days of the history that a retraining learns from, and those behind them on which it is compared."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError
from pipeline.selection.compared_rows import rows_of_history, trained_from, trained_until
from pipeline.tables.parquet import span
from pipeline.tables.period import TIMESTAMP, Period, local_days
from pipeline.workspace.workspace import Workspace


class TooEarly(AssayError):
    """The history has no days yet that a candidate could learn from and be compared on."""


@dataclass(frozen=True)
class TrailingDays:
    """Trailing days of the history, in the table's time zone, all included. Made by `trailing_days`.

    Parameters
    ----------
    first, last : date
        To train on.
    until : date
        The last day whose labels are known: versions are compared on those from the day after ``last`` to this one.
    """

    first: date
    last: date
    until: date

    @property
    def compared_from(self) -> date:
        """The first day that versions are compared on."""
        return self.last + timedelta(days=1)


def trailing_days(workspace: Workspace, champion: Detector, now: datetime | None = None) -> TrailingDays:
    """Return the latest days to train on, with ``retrain.compare_days`` behind them whose labels are known.

    Labels of a day are taken for known once ``features.label_delay_days`` have gone by since; in a table without
    labels, every day counts.

    Parameters
    ----------
    workspace : Workspace
        Of the settings that the candidate is trained with.
    champion : Detector
    now : datetime, optional
        UTC, without a zone.

    Raises
    ------
    TooEarly
        When there would be no day to train on that is later than those the champion has learned from.
    """
    config, stored = workspace.config, workspace.history.days()
    name, zone, settings = config.name, config.table.time_zone, config.retrain
    if not stored:
        raise TooEarly(f"the history of {name!r} holds no row; score some days first")

    def day(moment: datetime) -> date:
        return date.fromisoformat(str(local_days(pa.array([moment], TIMESTAMP), zone)[0]))

    delay = timedelta(days=config.features.label_delay_days if config.contract.label else 0)
    known = day((now or datetime.now(UTC).replace(tzinfo=None)) - delay)
    files = workspace.history.files(datetime.combine(stored[-1], datetime.min.time()), None)
    until = min(day(max(span(file, config.contract.timestamp)[1] for file in files)), known)
    last, learned = until - timedelta(days=settings.compare_days), day(trained_until(champion))
    if last <= learned:
        raise TooEarly(
            f"the champion has learned from days up to {learned}, and labels are known of days up to {until}, the last "
            f"{settings.compare_days} of which are to compare on (retrain.compare_days); wait for those of "
            f"{learned + timedelta(days=settings.compare_days + 1)}, or lower compare_days"
        )
    days = settings.days or (learned - day(trained_from(champion))).days + 1
    return TrailingDays(max(last - timedelta(days=days - 1), stored[0]), last, until)


def write_trailing(workspace: Workspace, days: TrailingDays, out: Path) -> None:
    """Write the rows of the days to train and to compare on, as batches were accepted, with the labels of today."""
    period = Period.of_days(days.first, days.until, workspace.config.table.time_zone)
    rows_of_history(workspace, period, out, is_zoned=True)
