"""24 windowed features four ways, on the same rows in memory: the first table that `benchmarks/features.py` prints.

Count, sum, mean and highest amount of the 1, 7 and 30 days before a row, of its customer and its terminal. What each
way gives up against DuckDB's range frames:

- `pipeline.features.windows`: nothing; the values are equal to the last bit, which is checked.
- pandas' and Polars' rolling add doubles up as they come, and take them off as they go: a value's last digits depend on
  all rows before it, so that a day computed from the history differs from the same day in the whole table.
- pandas works in one thread. Polars is no dependency of Assay; where it is installed, it is in the table.
"""

import importlib.util
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.features.plan import Window, unit
from pipeline.features.windows import windowed
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US
from pipeline.tables.sql import quote

if TYPE_CHECKING:
    from collections.abc import Callable

DAYS = (1, 7, 30)
KEYS = ("e0", "e1")
SIZE = 1e-6
"""The unit in which amounts are summed: as the features sum those of at most a billion."""
OURS = "assay's running totals"
Values = dict[str, np.ndarray]


def events_of(rows: Path, config: Config) -> pa.Table:
    """Return the rows in the order of time, with a number each and the columns that the ways read."""
    contract = config.contract
    if unit(config) != SIZE:
        raise SystemExit(
            f"validation.max_amount: amounts must be summed in millionths, not in {unit(config)}; lower it"
        )
    at, amount = quote(contract.timestamp), quote(contract.amount)
    keys = ", ".join(f"{quote(entity)} AS {key}" for key, entity in zip(KEYS, contract.entities, strict=True))
    with duckdb.connect() as connection:
        table = connection.sql(
            f"SELECT epoch_us({at}) AS us, {at} AS at, {keys}, CAST({amount} AS DOUBLE) AS amount, "
            f"CAST(round({amount} / {SIZE}) AS BIGINT) AS x FROM read_parquet(?) ORDER BY us, {quote(contract.id)}",
            params=[str(rows)],
        ).to_arrow_table()
    return table.append_column("row", pa.array(np.arange(table.num_rows))).combine_chunks()


def windows() -> dict[str, Window]:
    """Return the windows that the features are made of; a mean is of two."""
    return {
        f"{key}_{aggregate}_{days}": Window((key,), aggregate, days * DAY_US, 1)
        for key in KEYS
        for days in DAYS
        for aggregate in ("count", "sum", "max")
    }


def by_totals(events: pa.Table) -> Values:
    """Compute the features by running totals."""
    values = windowed(events, windows(), threads=os.cpu_count() or 1)
    for name in [name for name in values if "_sum_" in name]:
        values[name] *= SIZE
        count = values[name.replace("_sum_", "_count_")]
        mean = np.full(len(count), np.nan)
        values[name.replace("_sum_", "_mean_")] = np.divide(values[name], count, out=mean, where=count > 0)
    return values


def by_frames(events: pa.Table) -> Values:
    """Compute them by DuckDB's range frames."""
    sql = {alias: window.sql for alias, window in windows().items()}
    sql |= {alias: f"{value} * {SIZE!r}" for alias, value in sql.items() if "_sum_" in alias}
    means = "".join(
        f", {key}_sum_{days} / nullif({key}_count_{days}, 0) AS {key}_mean_{days}" for key in KEYS for days in DAYS
    )
    columns = "".join(f", {value} AS {alias}" for alias, value in sql.items())
    with duckdb.connect() as connection:
        connection.register("events", events)
        table = connection.sql(f'SELECT *{means} FROM (SELECT "row"{columns} FROM events)').to_arrow_table()
    return {name: table[name].to_numpy() for name in table.column_names}


def by_pandas(events: pa.Table) -> Values:
    """Compute them by pandas' rolling windows of each group, with the rows of a group side by side."""
    frame = events.to_pandas()
    values = {}
    for key in KEYS:
        ordered = frame.sort_values(key, kind="stable")
        row = ordered["row"].to_numpy()
        for days in DAYS:
            rolling = ordered.groupby(key).rolling(f"{days}D", on="at", closed="left", min_periods=0)["amount"]
            for function in ("count", "sum", "mean", "max"):
                found = np.empty(len(row))
                found[row] = getattr(rolling, function)().to_numpy()
                values[f"{key}_{function}_{days}"] = found
    return values


def by_polars(events: pa.Table) -> Values:
    """Compute them by Polars' rolling expressions over each group."""
    import polars as pl

    frame = pl.from_arrow(events)
    assert isinstance(frame, pl.DataFrame)
    amount, one = pl.col("amount"), pl.col("one")
    columns: dict[str, Any] = {}
    for key in KEYS:
        for days in DAYS:
            span: dict[str, Any] = {"window_size": f"{days * 24}h", "closed": "left"}
            columns |= {
                f"{key}_count_{days}": one.rolling_sum_by("at", **span).over(key),
                f"{key}_sum_{days}": amount.rolling_sum_by("at", **span).over(key),
                f"{key}_mean_{days}": amount.rolling_mean_by("at", **span).over(key),
                f"{key}_max_{days}": amount.rolling_max_by("at", **span).over(key),
            }
    found = frame.lazy().with_columns(one=pl.lit(1, pl.Int64)).select(**columns).collect()
    return {name: found[name].cast(pl.Float64).to_numpy() for name in found.columns}


def side_by_side(events: pa.Table, repeats: int) -> list[dict[str, Any]]:
    """Time the ways by turns, and hold each one's values against ours."""
    ways: dict[str, Callable[[pa.Table], Values]] = {OURS: by_totals, "DuckDB's range frames": by_frames}
    ways["pandas' rolling"] = by_pandas
    if importlib.util.find_spec("polars"):
        ways["Polars' rolling"] = by_polars
    wall: dict[str, list[float]] = {what: [] for what in ways}
    processor: dict[str, list[float]] = {what: [] for what in ways}
    compared, ours = {}, Values()
    for _ in range(repeats):
        for what, way in ways.items():
            started, worked = time.perf_counter(), time.process_time()
            values = way(events)
            wall[what].append(time.perf_counter() - started)
            processor[what].append(time.process_time() - worked)
            ours = values if what == OURS else ours
            compared[what] = apart(values, ours)
    records = []
    for what in ways:
        seconds = statistics.median(wall[what])
        ratio = statistics.median(one / other for one, other in zip(wall[what], wall[OURS], strict=True))
        record = {"table": "24 windows", "what": what, "rows": events.num_rows, "seconds": seconds}
        record |= {"rows_per_second": events.num_rows / seconds, "ratio": ratio}
        records.append(record | {"processor_seconds": statistics.median(processor[what]), **compared[what]})
    if "Polars' rolling" not in ways:
        records.append({"table": "24 windows", "what": "Polars' rolling", "status": "not installed"})
    return records


def apart(values: Values, ours: Values) -> dict[str, Any]:
    """Return how many of a way's values are not ours to the last bit, and how far off the furthest is, of its size."""
    order = np.argsort(values["row"]) if "row" in values else slice(None)
    different, furthest = 0, 0.0
    for name, own in ours.items():
        other = values[name][order]
        unequal = ~((other == own) | (np.isnan(other) & np.isnan(own)))
        different += int(unequal.sum())
        far = np.abs(other[unequal] - own[unequal]) / np.maximum(np.abs(own[unequal]), SIZE)
        furthest = max(furthest, float(np.nan_to_num(far, nan=np.inf).max(initial=0)))
    return {"different": different, "furthest": f"{furthest:.1g}"}
