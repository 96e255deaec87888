"""What is known of a row's label as of a moment.

A label is available at ``labelled_at`` where there is one, else ``label_delay_days`` after its row.
"""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Config

DAY_US = 86_400_000_000


def quote(name: str) -> str:
    """Return a column's name as an SQL identifier.

    Examples
    --------
    >>> quote("tx id")
    '"tx id"'
    """
    return '"' + name.replace('"', '""') + '"'


def available_at_sql(config: Config) -> str:
    """Return the SQL expression of the moment at which a row's label is available: a timestamp, UTC.

    Examples
    --------
    >>> from pipeline.config import Config
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


def known_labels(rows: pa.Table, config: Config, as_of: datetime) -> np.ndarray:
    """Return what is known of each row's label as of a moment.

    Parameters
    ----------
    rows : pa.Table
        Typed rows; the label column may be missing, and ``labelled_at`` too.
    config : Config
    as_of : datetime
        UTC, without zone. A label that becomes available at this very moment is known.

    Returns
    -------
    array of shape (n_rows,), float64
        1.0 fraud, 0.0 normal, NaN not known (yet).

    Examples
    --------
    >>> from pipeline.config import Config
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud"}
    >>> config = Config.model_validate({"contract": contract})
    >>> rows = pa.table({"at": [datetime(2025, 1, 1), datetime(2025, 1, 5)], "fraud": [1, 0]})
    >>> known_labels(rows, config, datetime(2025, 1, 9))
    array([ 1., nan])
    """
    contract = config.contract
    if contract.label is None or contract.label not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    delay = timedelta(days=config.features.label_delay_days)
    available = pc.add(rows[contract.timestamp].cast(pa.timestamp("us")), pa.scalar(delay, type=pa.duration("us")))
    if contract.labelled_at is not None and contract.labelled_at in rows.column_names:
        available = pc.coalesce(rows[contract.labelled_at].cast(pa.timestamp("us")), available)
    known = pc.less_equal(available, pa.scalar(as_of, type=pa.timestamp("us")))
    labels = pc.if_else(known, rows[contract.label].cast(pa.float64()), None)
    return np.asarray(pc.fill_null(labels, np.nan).to_numpy(), dtype=np.float64)
