"""Which alerts enter and leave the queue when another version takes over, and how far two versions agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.scoring.alerts import AlertRow, alert_rows
from pipeline.scoring.score import Scored
from pipeline.settings.config import Config

SHOWN = 10
"""Alerts shown of those that enter, and of those that leave."""


@dataclass(frozen=True)
class QueueChange:
    """What becomes of the queue of one version, "the champion", when another, "the candidate", takes its place.

    Parameters
    ----------
    champion, candidate : str
        How people call the two versions.
    scored : int
        Rows that both scored.
    before, after : int
        Alerts of the champion, and of the candidate.
    stay, enter, leave : int
        Rows that both flag; only the candidate; only the champion.
    rank_correlation : float
        Spearman's, of the scores of all rows; nan where a version scores all rows alike.
    fraud_enters, fraud_leaves : int
        Known frauds among those that enter, and leave.
    labelled_enter, labelled_leave : int
        Of which of them the label is known.
    entering, leaving : sequence of AlertRow
        The first of each, with the reasons of the version that flags them; the rank is that in its queue.
    """

    champion: str
    candidate: str
    scored: int
    before: int
    after: int
    stay: int
    enter: int
    leave: int
    rank_correlation: float
    fraud_enters: int
    fraud_leaves: int
    labelled_enter: int
    labelled_leave: int
    entering: Sequence[AlertRow]
    leaving: Sequence[AlertRow]

    @property
    def overlap(self) -> float:
        """Share of the rows that either version flags which both flag (Jaccard); 1 where neither flags one."""
        either = self.stay + self.enter + self.leave
        return self.stay / either if either else 1.0

    @property
    def sentence(self) -> str:
        """What changes, in a sentence or two."""
        text = (
            f"Of {self.before:,} alerts of {self.champion}, {self.stay:,} stay and {self.leave:,} leave; "
            f"{self.enter:,} enter, so that {self.candidate} has {self.after:,}."
        )
        if self.labelled_enter + self.labelled_leave:
            text += (
                f" Known frauds among them: {self.fraud_enters:,} enter (of {self.labelled_enter:,} labelled), "
                f"{self.fraud_leaves:,} leave (of {self.labelled_leave:,})."
            )
        return text


def queue_change(
    champion: Scored,
    candidate: Scored,
    config: Config,
    *,
    titles: tuple[str, str],
    labels: np.ndarray | None = None,
) -> QueueChange:
    """Compare the queues of two versions that scored the same rows, in the same order.

    Parameters
    ----------
    champion, candidate : Scored
    config : Config
        Names columns, and the sensitive ones among them, which are masked in what is shown.
    titles : tuple of str
        How people call the two.
    labels : array of float64, shape (n_rows,), optional
        1 fraud, 0 normal, nan not known.

    Raises
    ------
    ValueError
        When the two did not score the same rows.
    """
    from scipy.stats import spearmanr

    key = config.contract.id
    ids, others = (pq.read_table(scored.scores, columns=[key])[key] for scored in (champion, candidate))
    if not ids.equals(others):
        raise ValueError("the two versions did not score the same rows in the same order")
    scores = [scored.column("anomaly_score") for scored in (champion, candidate)]
    before, after = (scored.column("is_flagged") for scored in (champion, candidate))
    enter, leave = after & ~before, before & ~after
    verdicts = np.full(len(before), np.nan) if labels is None else labels
    constant = len(before) < 2 or any(part.min() == part.max() for part in scores)
    return QueueChange(
        champion=titles[0],
        candidate=titles[1],
        scored=len(before),
        before=int(before.sum()),
        after=int(after.sum()),
        stay=int((before & after).sum()),
        enter=int(enter.sum()),
        leave=int(leave.sum()),
        rank_correlation=float("nan") if constant else float(spearmanr(*scores).statistic),
        fraud_enters=int((verdicts[enter] == 1).sum()),
        fraud_leaves=int((verdicts[leave] == 1).sum()),
        labelled_enter=int((~np.isnan(verdicts[enter])).sum()),
        labelled_leave=int((~np.isnan(verdicts[leave])).sum()),
        entering=_shown(candidate, ids.filter(pa.array(enter)), config),
        leaving=_shown(champion, ids.filter(pa.array(leave)), config),
    )


def write_differences(champion: Scored, candidate: Scored, config: Config, out: pa.NativeFile | str) -> None:
    """Write the alerts that enter and leave as Parquet.

    The file has all columns of the alerts table, and ``change`` ("enters" or "leaves"); scores and reasons are those of
    the version that flags the row.
    """
    tables = [pq.read_table(scored.alerts, filters=pc.field("is_flagged")) for scored in (candidate, champion)]
    key = config.contract.id
    parts = []
    for alerts, others, change in ((*tables, "enters"), (*tables[::-1], "leaves")):
        only = alerts.filter(pc.invert(pc.is_in(alerts[key], value_set=others[key].combine_chunks())))
        parts.append(only.append_column("change", pa.repeat(pa.scalar(change), only.num_rows)))
    pq.write_table(pa.concat_tables(parts, promote_options="permissive"), out)


def _shown(scored: Scored, ids: pa.ChunkedArray, config: Config) -> list[AlertRow]:
    """Return the first alerts among those with some ids, ready to show."""
    if not len(ids):
        return []
    alerts = pq.read_table(scored.alerts)
    rows = alerts.filter(pc.is_in(alerts[config.contract.id], value_set=ids.combine_chunks()))
    return alert_rows(rows, config, limit=SHOWN, show_labels=True)
