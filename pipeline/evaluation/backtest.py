"""Prequential evaluation: train on a block, wait until its labels are known, test on the next, roll forward.

Each block is fitted as it would have been on the day on which its test starts: on rows of the training block only, with
the labels known by then (Gama, Sebastião, Rodrigues: On evaluating stream learning algorithms, Machine Learning 90,
2013; Fraud Detection Handbook, chapter 5, "Prequential validation"). Features are point in time, so they are computed
once for the whole period. Labels of test rows serve to measure, and nothing else.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError, TrainingError
from pipeline.evaluation.agreement import Agreement, agreement, scores_and_flags, stability
from pipeline.evaluation.measures import Outcomes
from pipeline.labels.known import Labels
from pipeline.scoring.score import score_table
from pipeline.settings.config import Config
from pipeline.tables.parquet import filter_rows
from pipeline.tables.period import Period, local_days

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Block:
    """A block: days to train on, later days to test on. Days are of the table's time zone, the last ones included.

    Attributes
    ----------
    number : int
        From 1.
    train_first, train_last, test_first, test_last : date
    train, test : Period
        The same as UTC moments.
    """

    number: int
    train_first: date
    train_last: date
    test_first: date
    test_last: date
    train: Period
    test: Period

    @property
    def as_of(self) -> datetime:
        """The first moment of the test, UTC: labels known by then are known to the fit."""
        assert self.test.start is not None
        return self.test.start

    @property
    def name(self) -> str:
        """The days of the test."""
        return f"{self.test_first} to {self.test_last}"

    @property
    def short(self) -> str:
        """The days of the test without their year."""
        return f"{self.test_first:%m-%d} to {self.test_last:%m-%d}"


@dataclass(frozen=True)
class Tested:
    """A tested block: its test rows, scored, and the fit that scored them.

    Attributes
    ----------
    block : Block
    outcomes : Outcomes
        Of the test rows, those of cards known by then left out where that was asked for.
    ids : pa.Array, shape (n_rows,)
    segments : ndarray of object, shape (n_rows,), or None
        Values of the column to measure by.
    left_out, left_out_frauds : int
        Test rows of cards known by then, and the frauds among them.
    summary : dict
        Of the fit: `Detector.summary`.
    threshold : float
    promise : str
    seconds : float
        That fitting took.
    before, again : Agreement or None
        With the model of the block before, and with a fit of another seed, on the same test rows.
    """

    block: Block
    outcomes: Outcomes
    ids: pa.Array
    segments: np.ndarray | None
    left_out: int
    left_out_frauds: int
    summary: dict[str, float | int | str]
    threshold: float
    promise: str
    seconds: float
    before: Agreement | None
    again: Agreement | None


def blocks(
    first: date, last: date, *, train_days: int, test_days: int, delay_days: float, time_zone: str = "UTC"
) -> list[Block]:
    """Return the blocks of a period; each begins as many days after the one before as a test has.

    Parameters
    ----------
    first, last : date
        The first day to train on and the last to test on. The last test may be shorter than the others.
    train_days, test_days : int
        At least 1.
    delay_days : float
        How long labels take: the days between the training block and its test, rounded up.
    time_zone : str

    Raises
    ------
    AssayError
        When not one test fits into the period.

    Examples
    --------
    >>> [block.name for block in blocks(
    ...     date(2018, 7, 1), date(2018, 7, 24), train_days=7, test_days=7, delay_days=7
    ... )]
    ['2018-07-15 to 2018-07-21', '2018-07-22 to 2018-07-24']
    """
    if min(train_days, test_days) < 1:
        raise AssayError(
            f"a block of {train_days} days to train on and {test_days} to test on is none; give at least 1 day each"
        )
    plan: list[Block] = []
    gap = math.ceil(delay_days)
    while True:
        begin = first + timedelta(days=len(plan) * test_days)
        train_last = begin + timedelta(days=train_days - 1)
        test_first = train_last + timedelta(days=gap + 1)
        if test_first > last:
            break
        test_last = min(test_first + timedelta(days=test_days - 1), last)
        train, test = Period.of_days(begin, train_last, time_zone), Period.of_days(test_first, test_last, time_zone)
        plan.append(Block(len(plan) + 1, begin, train_last, test_first, test_last, train, test))
    if not plan:
        raise AssayError(
            f"{first} to {last} has {(last - first).days + 1} days, and {train_days} to train on, {gap} for labels to "
            "become known and 1 to test on do not fit into them; give a longer period, or shorter blocks"
        )
    return plan


def run_blocks(
    features: Path,
    plan: Sequence[Block],
    labels: Labels,
    folder: Path,
    *,
    measured_as_of: datetime,
    leave_out_known: bool = True,
    segment: str = "",
    fit_again: bool = False,
    k: int = 100,
) -> Iterator[Tested]:
    """Fit and test block after block.

    Parameters
    ----------
    features : Path
        Feature table (Parquet) of the whole period.
    plan : sequence of Block
    labels : Labels
        What is known of rows, and the configuration to fit with.
    folder : Path
        For scratch files.
    measured_as_of : datetime
        UTC. Labels known by then measure; a fit knows those as of its own test's first moment.
    leave_out_known : bool
        Leave out test rows of cards (the contract's first entity) with a fraud since the training block began that was
        known before the row's day: they are blocked by then.
    segment : str
        A column of the table whose values are measured apart.
    fit_again : bool
        Fit each block with another seed, too, and compare.
    k : int
        Rows a day of the comparisons.

    Yields
    ------
    Tested
        Of every block with rows to test on.

    Raises
    ------
    TrainingError
        When a block cannot be fitted; the sentence begins with its days.
    """
    config = labels.config
    moments = pq.read_table(features, columns=[config.contract.timestamp]).column(0)
    last: Detector | None = None
    for block in plan:
        files = _cut(features, moments, block, folder)
        if files is None:
            continue
        train, test = files
        start = time.monotonic()
        try:
            detector = Detector.fit(train, config, labels, block.as_of)
        except TrainingError as error:
            days = f"{block.train_first} to {block.train_last}"
            raise TrainingError(f"training on {days}, to test on {block.name}: {error}") from error
        seconds = time.monotonic() - start
        is_blocked, frauds = np.zeros(0, bool), 0
        if leave_out_known and config.contract.entities:
            since = Period(block.train.start, block.test.end).holds(moments)
            rows = _labelled(test, config)
            is_blocked = known_cards(_labelled(features, config).filter(pa.array(since)), rows, labels)
            frauds = int((labels.known(rows.filter(pa.array(is_blocked)), measured_as_of) == 1).sum())
            filter_rows(test, test, ~is_blocked)
        if pq.read_metadata(test).num_rows == 0:
            continue
        outcomes, ids, values = _score(detector, test, folder, labels=labels, as_of=measured_as_of, segment=segment)
        yield Tested(
            block=block,
            outcomes=outcomes,
            ids=ids,
            segments=values,
            left_out=int(is_blocked.sum()),
            left_out_frauds=frauds,
            summary=detector.summary,
            threshold=detector.threshold,
            promise=detector.promise,
            seconds=seconds,
            before=_against(last, outcomes, test, k) if last else None,
            again=stability(detector, train, test, labels, k=k) if fit_again else None,
        )
        last = detector


def known_cards(earlier: pa.Table, test: pa.Table, labels: Labels) -> np.ndarray:
    """Return which test rows are of a card with a fraud that was known before the row's day began.

    Parameters
    ----------
    earlier : pa.Table
        Rows from the training block's first moment on, with their labels; test rows among them.
    test : pa.Table
    labels : Labels

    Returns
    -------
    ndarray of bool, shape (n_test_rows,)
    """
    contract, zone = labels.config.contract, labels.config.table.time_zone
    card, days = contract.entities[0], local_days(test.column(contract.timestamp), zone)
    cards, earlier_cards = test.column(card).to_pandas(), earlier.column(card).to_pandas()
    is_known = np.zeros(test.num_rows, dtype=bool)
    for day in np.unique(days):
        midnight = Period.of_days(day.astype(date), None, zone).start
        assert midnight is not None
        frauds = labels.known(earlier, midnight - INSTANT) == 1
        fraud_cards = set(earlier_cards[frauds].dropna())
        is_known |= (days == day) & np.asarray(cards.isin(fraud_cards))
    return is_known


def scores_table(tested: Sequence[Tested], config: Config) -> pa.Table:
    """Return every test row with its score: id, block, anomaly_score, is_flagged and label, null where not known."""
    tables = [
        pa.table(
            {
                config.contract.id: item.ids,
                "block": pa.array(np.full(len(item.outcomes.scores), item.block.number)),
                "anomaly_score": item.outcomes.scores,
                "is_flagged": item.outcomes.flagged,
                "label": pa.array(item.outcomes.labels, from_pandas=True),
            }
        )
        for item in tested
    ]
    return pa.concat_tables(tables)


def _cut(features: Path, moments: pa.ChunkedArray, block: Block, folder: Path) -> tuple[Path, Path] | None:
    """Write the rows to train on and those to test on, and return the two files; None where either has no row."""
    train, test = folder / "train.parquet", folder / "test.parquet"
    periods = {test: block.test, train: block.train}
    has_rows = all(filter_rows(features, path, period.holds(moments)) for path, period in periods.items())
    return (train, test) if has_rows else None


def _labelled(path: Path, config: Config) -> pa.Table:
    """Return what `known_cards` looks at."""
    contract, names = config.contract, pq.read_schema(path).names
    columns = (contract.id, contract.timestamp, contract.label, contract.labelled_at, *contract.entities[:1])
    return pq.read_table(path, columns=[name for name in columns if name in names])


def _score(
    detector: Detector, test: Path, folder: Path, *, labels: Labels, as_of: datetime, segment: str
) -> tuple[Outcomes, pa.Array, np.ndarray | None]:
    """Score the test rows as a batch is scored, and put what is known of them beside the scores."""
    config, contract = detector.config, detector.config.contract
    marks: dict[str, Any] = {"batch_id": "", "model_version": "", "scored_at": as_of}
    scored = score_table(test, detector, folder / "scored", **marks)
    names = pq.read_schema(test).names
    roles = (contract.id, contract.timestamp, contract.amount, contract.label, contract.labelled_at)
    columns = dict.fromkeys([*roles, segment, *contract.entities[:1]])
    rows = pq.read_table(test, columns=[name for name in columns if name in names])
    card = rows.column(contract.entities[0]).to_pandas().to_numpy(dtype=object) if contract.entities else None
    outcomes = Outcomes.of(
        local_days(rows.column(contract.timestamp), config.table.time_zone),
        card,
        scored.column("anomaly_score"),
        labels.known(rows, as_of),
        flagged=scored.column("is_flagged"),
        amounts=rows.column(contract.amount).to_numpy(),
    )
    values = pd.Series(rows.column(segment).to_pylist(), dtype=object).to_numpy() if segment else None
    return outcomes, rows.column(contract.id).combine_chunks(), values


def _against(last: Detector, outcomes: Outcomes, test: Path, k: int) -> Agreement:
    scores, flagged = scores_and_flags(last, test)
    return agreement(scores, outcomes.scores, days=outcomes.days, k=k, flagged=(flagged, outcomes.flagged))
