"""What a scored batch got, held against what its threshold promised, and what another one would do to its alerts."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.strategies.choice import fulfilment
from pipeline.calibration.threshold import Fulfilment
from pipeline.detector.artefact import Detector
from pipeline.errors import InputError
from pipeline.labels.known import taken_for_normal
from pipeline.scoring.score import Scored
from pipeline.tables.parquet import read_batches
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
    known = np.broadcast_to(np.nan, scored.scored) if labels is None else labels
    rows = rows_of_batch(features, scored.anomaly_scores, known, detector)
    return fulfilment(detector.cut, rows, scored.flags)


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
    key, segment = detector.config.contract.id, detector.cut.segment
    table = pq.read_table(path, columns=[key, "anomaly_score", "is_flagged"])
    values = None
    if segment:
        files = history.files(entry.first_timestamp, entry.last_timestamp and entry.last_timestamp + MICROSECOND)
        stored = ds.dataset(files).to_table(columns=[key, segment])
        values = stored[segment].take(pc.index_in(table[key], stored[key].combine_chunks()))
    scores, before = table["anomaly_score"].to_numpy(), table["is_flagged"].to_numpy(zero_copy_only=False)
    after, _ = detector.flag(scores, cuts=detector.cuts(scores, values))
    return Moved(entry, int((before & after).sum()), int((after & ~before).sum()), int((before & ~after).sum()))


def rows_of_batch(features: Path, scores: np.ndarray, labels: np.ndarray, detector: Detector) -> ScoredRows:
    """Return a batch's rows as those that its threshold was solved on: the same rows count as normal.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scores, labels : arrays of shape (n_rows,)
    detector : Detector
    """
    normal = taken_for_normal(labels, in_table=detector.summary["labels"] == detector.config.contract.label)
    batches = read_batches(features, columns=ScoredRows.columns(detector.config))
    table = pa.Table.from_batches([ScoredRows.read(batch, detector.config) for batch in batches]).unify_dictionaries()
    return ScoredRows.of(table, detector.config, scores=scores, labels=labels, normal=normal)
