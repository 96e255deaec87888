"""What a scored batch got, held against what its threshold promised, and what another one would do to its alerts."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.calibration.held_out import ScoredRows, has_value, segment
from pipeline.calibration.realised import Realised, Tally
from pipeline.calibration.strategies.choice import fulfilment
from pipeline.calibration.threshold import Fulfilment
from pipeline.detector.artefact import Detector
from pipeline.errors import InputError
from pipeline.labels.known import taken_for_normal
from pipeline.scoring.score import Scored
from pipeline.settings.output import name_within
from pipeline.tables.parquet import read_batches
from pipeline.tables.period import local_days
from pipeline.workspace.history import History
from pipeline.workspace.ledger import Entry

MICROSECOND = timedelta(microseconds=1)


def held_against(features: Path, scored: Scored, detector: Detector, labels: np.ndarray | None) -> Fulfilment:
    """Say what a batch got of what was promised.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    detector : Detector
    labels : array of shape (n_rows,), or None
        1 fraud, 0 normal, NaN not known by now: ``Measured.labels``.
    """
    return fulfilment(detector.cut, realised(features, scored, detector, labels))


def realised(features: Path, scored: Scored, detector: Detector, labels: np.ndarray | None) -> Realised:
    """Count what came of a batch, with a part for each segment that has a cut of its own.

    The same rows count as normal as did where the threshold was solved. Memory holds a batch of rows and the alerts.

    Parameters
    ----------
    features, scored, detector, labels
        As of `held_against`.
    """
    contract, cut = detector.config.contract, detector.cut
    whole, parts = Tally(), {value: Tally() for value in cut.parts}
    start = 0
    for batch in read_batches(features, [contract.timestamp, *([cut.segment] if cut.parts else [])]):
        here = slice(start, start := start + batch.num_rows)
        known = np.full(batch.num_rows, np.nan) if labels is None else labels[here]
        day = local_days(batch.column(0), detector.config.table.time_zone).astype(np.int64)
        counted = day, known, _normal(known, detector)
        whole.add(*counted)
        values = segment(batch.column(1)) if parts else None
        for value, tally in parts.items():
            mask = has_value(values, value)
            tally.add(*(array[mask] for array in counted))
    alerts = _alerts(scored, detector, labels)
    of_parts = {value: tally.result(alerts.take(alerts.where(cut.segment, value))) for value, tally in parts.items()}
    return whole.result(alerts, of_parts)


def _alerts(scored: Scored, detector: Detector, labels: np.ndarray | None) -> ScoredRows:
    """Return the flagged rows of a batch, by rank."""
    names, columns = pq.read_schema(scored.alerts).names, ScoredRows.columns(detector.config)
    stored = [name_within(name, names) for name in columns]
    table = pq.read_table(scored.alerts, columns=[*stored, "anomaly_score"]).slice(0, scored.flagged)
    known = np.full(scored.flagged, np.nan) if labels is None else labels[scored.alert_places[: scored.flagged]]
    return ScoredRows.of(
        table.select(stored).rename_columns(columns),
        detector.config,
        scores=table.column("anomaly_score").to_numpy(),
        labels=known,
        normal=_normal(known, detector),
    )


def _normal(labels: np.ndarray, detector: Detector) -> np.ndarray:
    return taken_for_normal(labels, in_table=detector.summary["labels"] == detector.config.contract.label)


@dataclass(frozen=True)
class Moved:
    """What another threshold does to the alerts of a scored batch.

    Attributes
    ----------
    entry : Entry
        The batch.
    stay, come, go : int
        Alerts that remain, that are new, and that are none any more.
    """

    entry: Entry
    stay: int
    come: int
    go: int

    @property
    def text(self) -> str:
        """In one sentence."""
        entry = self.entry
        return (
            f"Of the {self.stay + self.go:,} alerts of the latest batch ({Path(entry.source).name}, rows to "
            f"{entry.last_timestamp:%Y-%m-%d}, scored by version {entry.model_version}) {self.stay:,} stay, "
            f"{self.go:,} go and {self.come:,} come, which makes {self.stay + self.come:,}."
        )


def moved(entry: Entry, detector: Detector, history: History) -> Moved:
    """Say which alerts of a batch come and go, from its scores, which are those of the detector's weights.

    Parameters
    ----------
    entry : Entry
        A batch that a version with the same weights has scored.
    detector : Detector
        With the new threshold.
    history : History
        Has the rows' segments, where the threshold goes by one.

    Raises
    ------
    InputError
        When the batch's scores are gone.
    """
    path = Path(entry.folder) / "scores.parquet"
    if not path.is_file():
        raise InputError(f"{path} is gone, so which alerts come and go cannot be said; score that batch again")
    key, column = detector.config.contract.id, detector.cut.segment
    table = pq.read_table(path, columns=[key, "anomaly_score", "is_flagged"])
    values = None
    if column:
        files = history.files(entry.first_timestamp, entry.last_timestamp and entry.last_timestamp + MICROSECOND)
        stored = ds.dataset(files).to_table(columns=[key, column])
        values = stored[column].take(pc.index_in(table[key], stored[key].combine_chunks()))
    scores, before = table["anomaly_score"].to_numpy(), table["is_flagged"].to_numpy(zero_copy_only=False)
    after, _ = detector.flag(scores, cuts=detector.cuts(scores, values))
    return Moved(entry, int((before & after).sum()), int((after & ~before).sum()), int((before & ~after).sum()))
