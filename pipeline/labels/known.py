"""What is known of a row's label as of a moment.

A label is available at ``labelled_at`` where there is one, else ``label_delay_days`` after its row, and never before
its row. Of several (the table's own and those from review), the latest available holds; of equally late ones, one
from review goes before the table's own, and among those a fraud.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.settings.config import Config
from pipeline.settings.contract import Contract
from pipeline.settings.output import name_within
from pipeline.tables.period import DAY_US, TIMESTAMP
from pipeline.tables.sql import quote

AUDIT, PROBABILITY = "audit.parquet", "inclusion_probability"
"""The file of a scored batch's audit slice, and its column of the chance that a row had to be drawn."""
READ_ROWS = 2**20
"""Rows whose labels are looked up at a time, to bound memory."""


def available_at_sql(config: Config) -> str:
    """Return the SQL expression of the moment at which a row's label is available: a timestamp, UTC.

    Examples
    --------
    >>> from pipeline.settings.config import Config
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud"}
    >>> available_at_sql(Config.model_validate({"contract": contract}))
    '"at" + to_microseconds(604800000000)'
    """
    contract = config.contract
    delay = round(config.features.label_delay_days * DAY_US)
    after_delay = f"{quote(contract.timestamp)} + to_microseconds({delay})"
    if contract.labelled_at is None:
        return after_delay
    return f"coalesce({quote(contract.labelled_at)}, {after_delay})"


def available_at(rows: pa.Table, config: Config) -> pa.ChunkedArray:
    """Return the moment (UTC) at which the label that stands in a row itself is available, whether or not it is empty.

    Parameters
    ----------
    rows : pa.Table
        Typed rows; the column ``labelled_at`` may be missing.
    config : Config

    Returns
    -------
    pa.ChunkedArray of timestamp[us], shape (n_rows,)
        Not before the row's timestamp.
    """
    contract = config.contract
    at = rows[contract.timestamp].cast(TIMESTAMP)
    available = pc.add(at, pa.scalar(timedelta(days=config.features.label_delay_days), pa.duration("us")))
    if contract.labelled_at is not None and contract.labelled_at in rows.column_names:
        available = pc.coalesce(rows[contract.labelled_at].cast(TIMESTAMP), available)
    return pc.max_element_wise(available, at)


@dataclass(frozen=True)
class Labels:
    """What is known of the labels of one table's rows: those that stand in the rows, and those from review.

    Parameters
    ----------
    config : Config
        The contract's columns, and how long labels take.
    reviewed : tuple of Path
        Labels from review: `pipeline.labels.reviewed.ReviewedLabels.files`. Those of other rows are not looked at.
    audits : tuple of Path
        Audit slices of scored batches: rows that were looked at by chance.
    """

    config: Config
    reviewed: tuple[Path, ...] = ()
    audits: tuple[Path, ...] = ()

    def known(self, rows: pa.Table, as_of: datetime) -> np.ndarray:
        """Return what is known of each row's label as of a moment.

        Parameters
        ----------
        rows : pa.Table
            Typed rows; the label column may be missing, and ``labelled_at`` too. With labels from review, the id is
            needed.
        as_of : datetime
            UTC, without zone. A label that becomes available at this very moment is known.

        Returns
        -------
        array of shape (n_rows,), float64
            1.0 fraud, 0.0 normal, NaN not known (yet). All NaN where the contract names no label.

        Examples
        --------
        >>> from pipeline.settings.config import Config
        >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud"}
        >>> labels = Labels(Config.model_validate({"contract": contract}))
        >>> rows = pa.table({"at": [datetime(2025, 1, 1), datetime(2025, 1, 5)], "fraud": [1, 0]})
        >>> labels.known(rows, datetime(2025, 1, 9))
        array([ 1., nan])
        """
        [labels] = self.known_of_each([rows], as_of)
        return labels

    def known_of_each(self, tables: Iterable[pa.Table], as_of: datetime) -> Iterator[np.ndarray]:
        """Yield what `known` returns of each of several tables; labels from review are read once.

        Parameters
        ----------
        tables : iterable of pa.Table
        as_of : datetime
            UTC, without zone.
        """
        contract, reviews = self.config.contract, None
        if self.reviewed and contract.label is not None:
            is_given = pc.field("labelled_at") <= pa.scalar(as_of, TIMESTAMP)
            reviews = ds.dataset(list(self.reviewed)).to_table(filter=is_given).combine_chunks()
        for rows in tables:
            labels = np.full(rows.num_rows, np.nan)
            if contract.label in rows.column_names:
                for start in range(0, rows.num_rows, READ_ROWS):
                    part = rows.slice(start, READ_ROWS)
                    places = _available(part, self.config, as_of)
                    labels[start + places] = part[contract.label].take(pa.array(places)).to_numpy()
            if reviews is not None:
                places, moments, verdicts = _latest_verdicts(rows, reviews, contract, as_of)
                holds = moments >= _available_since(rows.take(pa.array(places)), self.config, as_of)
                labels[places[holds]] = verdicts[holds]
            yield labels

    def chances(self, rows: pa.Table, known: np.ndarray) -> np.ndarray:
        """Return the chance that each row had of being looked at.

        That of a row of an audit slice is what the slice says, and 1 that of any other row with a label: an alert, or
        a row whose label came by itself.

        Parameters
        ----------
        rows : pa.Table
            With the id.
        known : array of shape (n_rows,)
            From `known`.

        Returns
        -------
        array of shape (n_rows,), float64
            Above 0 and at most 1; NaN of a row without a label.
        """
        key = self.config.contract.id
        chances = np.where(np.isnan(known), np.nan, 1.0)
        tables = []
        for path in self.audits:
            schema = pq.read_schema(path)
            column = name_within(key, schema.names)
            # A contract that changed may name another id than the one that the slice was written with.
            if column in schema.names and schema.field(column).type == rows[key].type:
                tables.append(pq.read_table(path, columns=[column, PROBABILITY]).rename_columns(["id", "chance"]))
        if tables:
            audit = pa.concat_tables(tables)
            places = pc.fill_null(pc.index_in(rows[key], value_set=audit["id"].combine_chunks()), -1).to_numpy()
            is_known = (places >= 0) & ~np.isnan(known)
            chances[is_known] = audit["chance"].to_numpy()[places[is_known]]
        return chances

    def known_now(self, rows: pa.Table) -> np.ndarray:
        """Return what is known of each row's label at this moment, as `known` does."""
        return self.known(rows, datetime.now(UTC).replace(tzinfo=None))

    def given_since(self, moment: datetime, until: datetime) -> int:
        """Return how many rows review gave a label after one moment and not after another (UTC).

        Examples
        --------
        >>> from pipeline.settings.config import Config
        >>> labels = Labels(Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}))
        >>> labels.given_since(datetime(2025, 1, 1), datetime(2025, 2, 1))
        0
        """
        if not self.reviewed:
            return 0
        at = pc.field("labelled_at")
        inside = (at > pa.scalar(moment, TIMESTAMP)) & (at <= pa.scalar(until, TIMESTAMP))
        rows = ds.dataset(list(self.reviewed)).to_table(columns=["id"], filter=inside)
        return int(pc.count_distinct(rows["id"]).as_py())

    def latest_moment(self, last: datetime, now: datetime | None = None) -> datetime:
        """Return the first moment at which every label given so far is known, or now when that is earlier.

        Parameters
        ----------
        last : datetime
            UTC; the last timestamp of the rows in question.
        now : datetime, optional
            UTC, without zone.

        Examples
        --------
        >>> from pipeline.settings.config import Config
        >>> labels = Labels(Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}))
        >>> labels.latest_moment(datetime(2025, 1, 1))
        datetime.datetime(2025, 1, 8, 0, 0)
        """
        moment = last + timedelta(days=self.config.features.label_delay_days)
        if self.reviewed:
            moments = ds.dataset(list(self.reviewed)).to_table(columns=["labelled_at"])
            moment = max(moment, pc.max(moments["labelled_at"]).as_py())
        return min(moment, now or datetime.now(UTC).replace(tzinfo=None))


def _available(rows: pa.Table, config: Config, as_of: datetime) -> np.ndarray:
    """Return the places of the rows whose own label is known by then."""
    at_hand = pc.less_equal(available_at(rows, config), pa.scalar(as_of, TIMESTAMP))
    is_available = pc.and_(at_hand, pc.is_valid(rows[config.contract.label]))
    return np.flatnonzero(pc.fill_null(is_available, fill_value=False).to_numpy())


def _available_since(rows: pa.Table, config: Config, as_of: datetime) -> np.ndarray:
    """Return when each row's own label became known (microseconds); before all time where it is not by then."""
    since = np.full(rows.num_rows, np.iinfo(np.int64).min)
    if config.contract.label in rows.column_names:
        places = _available(rows, config, as_of)
        since[places] = available_at(rows, config).take(pa.array(places)).cast(pa.int64()).to_numpy()
    return since


def _latest_verdicts(
    rows: pa.Table, reviews: pa.Table, contract: Contract, as_of: datetime
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows have a label from review by then, when it was given (microseconds), and the label."""
    limit = pa.scalar(as_of, TIMESTAMP)
    row_places = np.flatnonzero(pc.is_in(rows[contract.id], reviews["id"].combine_chunks()).to_numpy())
    keys = rows.select([contract.id, contract.timestamp]).take(pa.array(row_places))
    candidates = pa.table({"id": keys[0], "at": keys[1].cast(TIMESTAMP), "place": row_places})
    matches = candidates.filter(pc.field("at") <= limit).join(reviews, "id", join_type="inner")
    moments = pc.max_element_wise(matches["labelled_at"], matches["at"]).cast(pa.int64()).to_numpy()
    places, verdicts = matches["place"].to_numpy(), matches["label"].to_numpy()
    order = np.lexsort((verdicts, moments, places))
    last = order[np.append(np.diff(places[order]) != 0, True)] if len(order) else order
    return places[last], moments[last], verdicts[last]


def taken_for_normal(labels: np.ndarray, *, in_table: bool) -> np.ndarray:
    """Return which rows count as normal: those known to be or, where the table has no labels, not known to be fraud.

    Review looks at few rows: in a table without labels, all others stay what such a table trains on.

    Parameters
    ----------
    labels : array of shape (n_rows,)
        From `Labels.known`.
    in_table : bool
        Whether the table has a column of labels.

    Examples
    --------
    >>> labels = np.array([1.0, 0.0, np.nan])
    >>> taken_for_normal(labels, in_table=True).tolist(), taken_for_normal(labels, in_table=False).tolist()
    ([False, True, False], [False, True, True])
    """
    return labels == 0 if in_table else labels != 1
