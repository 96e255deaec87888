"""The cut of a batch where it follows the days before: solved once, kept beside the scores, and said why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from pipeline.calibration.adapting import Adapted, adapt, next_level
from pipeline.calibration.threshold import Threshold
from pipeline.detector.artefact import Detector
from pipeline.errors import ResourceError
from pipeline.numbers import per_day, percent, quantity
from pipeline.scoring.trailing import Trailing, first_day, trailing
from pipeline.settings.alerts import ADAPTING
from pipeline.tables.writing import write_text
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace

CUT = "cut.json"
"""The file of a batch's folder that says which cut it had, and why."""
LAST_CUT_WITHIN = timedelta(days=366)
"""How far back the cut before is looked for: no less than ``threshold.adapt_days`` reaches."""


@dataclass(frozen=True, kw_only=True)
class CutRecord:
    """Which cut a batch has, and why: what scoring the batch again takes it from.

    Attributes
    ----------
    threshold : Threshold
    before : float
        The cut of the batch before or, for the first one, of the version.
    asked : float
        The cut that the days before ask for, however far a night may move it.
    level : float or None
        Of adaptive conformal inference, for a rate.
    counted : date or None
        The last day whose error is in the level.
    why, who : str
    at : datetime
        UTC.
    """

    threshold: Threshold
    before: float
    asked: float
    level: float | None = None
    counted: date | None = None
    why: str
    who: str
    at: datetime

    def write(self, folder: Path) -> None:
        """Write it into a batch's folder."""
        raw = {**asdict(self), "threshold": self.threshold.to_dict(), "at": self.at.isoformat()}
        write_text(folder / CUT, json.dumps({**raw, "counted": self.counted and self.counted.isoformat()}))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what was written into a batch's folder; None where nothing was.

        Raises
        ------
        ResourceError
            When the file is there and can't be read.
        """
        path = folder / CUT
        try:
            return cls._of(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ResourceError(
                f"{path}, which says which cut the batch had, can't be read ({error}); put it back from a backup, or "
                "remove it, and the version's own cut holds for that batch"
            ) from None

    @classmethod
    def _of(cls, raw: Mapping[str, Any]) -> Self:
        counted = date.fromisoformat(raw["counted"]) if raw["counted"] else None
        moment, threshold = datetime.fromisoformat(raw["at"]), Threshold.from_dict(raw["threshold"])
        return cls(**{**raw, "counted": counted, "at": moment, "threshold": threshold})


def adapted_cut(
    entries: Sequence[Entry], detector: Detector, workspace: Workspace, *, first: datetime, who: str
) -> CutRecord:
    """Return the cut of a batch, from the days before it alone: the same whatever the batch holds.

    Parameters
    ----------
    entries : sequence of Entry
        Batches that the detector's version has scored, by their first timestamp; neither the batch itself nor one whose
        place it takes.
    detector : Detector
        With the version's own cut and today's settings.
    workspace : Workspace
    first : datetime
        UTC; the batch's first timestamp.
    who : str
        Whoever runs this.
    """
    settings, day = detector.config.threshold, first_day(first, detector)
    days_of = {each.batch_id: first_day(each.first_timestamp, detector) for each in entries if each.first_timestamp}
    earlier = [each for each in entries if days_of.get(each.batch_id, day) < day]
    kept = _as_before(earlier, detector, who)
    cut = kept.threshold
    stays = f"The cut stays {quantity(cut.value)}:"
    if cut.strategy not in ADAPTING or cut.parts:
        what = f"goes by {cut.segment}" if cut.parts else f"is of {cut.strategy}"
        return replace(kept, why=f"{stays} the version's threshold {what}, which does not adapt.")
    is_rate = cut.strategy == "false_alert_rate"
    labels = workspace.labels if is_rate else None
    found = trailing(earlier, detector, workspace.history, before=day, labels=labels)
    found = found.known() if found and is_rate else found
    days = round(found.rows.days) if found else 0
    if found is None or 2 * days < settings.adapt_days or not found.batch.any():
        what = "scores and known labels" if is_rate else "scores"
        text = f"{stays} of the {settings.adapt_days} days before, {days} have {what}, and half of them are needed."
        return replace(kept, why=text)
    if is_rate:
        kept = _with_level(kept, found)
    nights = (day - days_of[earlier[-1].batch_id]).days
    moved = adapt(cut, found.rows, step=settings.adapt_step, nights=nights, level=kept.level)
    if moved is None:
        return replace(kept, why=f"{stays} the {len(found.rows):,} rows of {days} days before are too few for it.")
    why = _in_words(cut, moved, days=days, step=settings.adapt_step)
    return replace(kept, threshold=moved.threshold, asked=moved.asked, why=why)


def _as_before(earlier: Sequence[Entry], detector: Detector, who: str) -> CutRecord:
    """Return the cut of the last batch before or, where that has none of its own, of the version."""
    last = CutRecord.read(Path(earlier[-1].folder)) if earlier else None
    cut = last.threshold if last else detector.cut
    return CutRecord(
        threshold=cut,
        before=cut.value,
        asked=cut.value,
        level=last.level if last else None,
        counted=last.counted if last else None,
        why="",
        who=who,
        at=datetime.now(UTC).replace(tzinfo=None),
    )


def _with_level(record: CutRecord, found: Trailing) -> CutRecord:
    """Let the errors of the days that have become known since count in the level."""
    target = float(record.threshold.settings["rate"])
    errors = found.errors(record.counted)
    level = next_level(target if record.level is None else record.level, target, [error for _, error in errors])
    return replace(record, level=level, counted=errors[-1][0] if errors else record.counted)


def _in_words(cut: Threshold, moved: Adapted, *, days: int, step: float) -> str:
    value, unit = moved.threshold.value, str(cut.settings.get("unit", "alerts"))

    def flagged(figure: float) -> str:
        return per_day(figure, unit) if cut.strategy == "capacity" else f"{percent(figure)} of normal rows"

    if value == cut.value:
        return f"The cut stays {quantity(value)}: on the {days} days before it flags {flagged(moved.before)}."
    text = (
        f"The cut moves from {quantity(cut.value)} to {quantity(value)}: on the {days} days before, the old one flags "
        f"{flagged(moved.before)} and the new one {flagged(moved.after)}"
    )
    if moved.asked != value:
        return f"{text}; {quantity(moved.asked)} is asked for, and a night moves it by at most {percent(step)}."
    return f"{text}."
