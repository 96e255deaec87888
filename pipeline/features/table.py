"""The feature table: every row with what its entities have been doing before it, in one DuckDB query.

Definitions
-----------
- A row sees the rows of its entity with an earlier timestamp, back to and including the window's first
  moment: t - window <= their timestamp < t. Rows with equal timestamps do not see each other.
- Windows are lengths of time: a day is 24 hours, whatever the clocks do. The hour, the weekday, night and weekend
  are those on the clocks of ``table.time_zone``.
- A label counts from the moment it is available (pipeline/labels/known.py), at the earliest its row's timestamp: a
  row at t sees those that became available in t - window <= moment < t. Of several labels of a row, the latest
  before t holds. One that took longer than ``max_window_days`` less the longest window is not used: its row lies
  too far back.
- "Everybody", and everybody of a category, is all rows, or labels, of the whole UTC days before the row's day,
  within the same bounds. Everybody's quartiles are those of a histogram of log amounts, 64 bins for a factor of e.
- Amounts and logarithms are summed as whole numbers of a small unit, so that a sum does not depend on the order
  of the rows: the same past gives the same features to the last bit, from a whole table or from the history.
- Rows that come late are seen by every row after them that is computed after they came; features that were
  computed before stay as they were. Of a row that is delivered twice one copy counts.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.features.families import plan_of
from pipeline.features.plan import BINS_PER_LOG, CLOCK_UNIT, HOUR, LARGEST, LOG_UNIT, SIGNED_LOG, Plan, unit
from pipeline.features.risks import everybody_sql, known, longest_wait, verdicts
from pipeline.labels.known import available_at_sql
from pipeline.settings.config import Config
from pipeline.settings.output import name_beside
from pipeline.tables.parquet import read_batches
from pipeline.tables.period import DAY_US, TIMESTAMP
from pipeline.tables.sql import database, quote
from pipeline.tables.writing import place_file

if TYPE_CHECKING:
    import duckdb

TOTALS = {
    "all_count": "count(*)",
    "all_sum": "sum(x)",
    "all_squares": "sum(x2)",
    "all_logs": "sum(l)",
    "all_log_squares": "sum(l2)",
    "all_night": "sum(night)",
    "all_weekend": "sum(weekend)",
    "all_cosines": "sum(clock_cosine)",
    "all_sines": "sum(clock_sine)",
}
"""What expressions may name of everybody's rows."""


OF_THE_CLOCK = ("night", "weekend", "clock_cosine", "clock_sine")
"""What expressions may name of a row's own moment."""


def compute(rows: Path, history: Sequence[Path], config: Config, out: Path, *, reviewed: Sequence[Path] = ()) -> Path:
    """Write the feature table of some rows.

    Parameters
    ----------
    rows : Path
        Parquet: accepted rows, typed.
    history : sequence of Path
        Parquet: earlier rows, with the contract's columns at least; later rows among them are not looked at, and
        of a row that comes twice one copy counts: that in `rows`, else one whose label is known.
    config : Config
    out : Path
        Parquet, written whole or not at all: the columns of `rows` (one that has the name of a feature gets
        " (input)" behind its name), then the feature columns and those that
        features compare with, float64 (null = not known), ordered by timestamp and id.
    reviewed : sequence of Path
        Parquet: labels from review, with the columns id, label and labelled_at (pipeline/labels/reviewed.py).

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ConfigError
        When a column of the contract has the name of a feature.
    """
    plan = plan_of(config, reviewed=bool(reviewed))
    schema = pq.read_schema(rows)
    clash = sorted(set(plan.columns) & set(config.contract.columns))
    if clash:
        raise ConfigError(
            f"the contract's column {clash[0]!r} has the name of a feature; rename the column, or leave the feature's "
            "family out of features.families"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    if not plan.columns and _is_ordered(rows, schema, config):
        with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            place_file(rows, out, Path(scratch))
        return out
    with (
        TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch,
        database(config.features.memory_limit, Path(scratch)) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        _read(connection, "present", [rows], Path(scratch))
        _read(connection, "past", history, Path(scratch))
        _read(connection, "reviewed", reviewed, Path(scratch))
        _events(connection, schema, history, config=config, plan=plan)
        if config.contract.label is not None:
            verdicts(connection, config, reviewed=bool(reviewed))
        _everybody(connection, plan, config)
        for place in plan.peers:
            _peers(connection, place, config)
        _past(connection, plan, config, reviewed=bool(reviewed))
        staged = Path(scratch) / "features.parquet"
        # Each join keeps its right side, a table, in memory: DuckDB 2.0.0 ends with an internal error where it is the
        # result of another join that gives its columns as places in a dictionary (its issue 24807).
        connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        connection.execute(f"COPY ({_select(plan, config, schema.names)}) TO {_text(str(staged))} (FORMAT parquet)")
        staged.replace(out)
    return out


def _is_ordered(rows: Path, schema: pa.Schema, config: Config) -> bool:
    """Return whether rows are in the order of a feature table, and of types that DuckDB would leave as they are."""
    if not all(_is_plain(field.type) for field in schema):
        return False
    key, at = config.contract.id, config.contract.timestamp
    last = pa.table({at: pa.array([], schema.field(at).type), key: pa.array([], schema.field(key).type)})
    for batch in read_batches(rows, [at, key]):
        both = pa.concat_tables([last, pa.Table.from_batches([batch]).select([at, key])]).combine_chunks()
        earlier, later = both.slice(0, both.num_rows - 1), both.slice(1)
        ties = pc.and_(pc.equal(earlier[at], later[at]), pc.less_equal(earlier[key], later[key]))
        if not pc.all(pc.or_(pc.less(earlier[at], later[at]), ties)).as_py():
            return False
        last = both.slice(both.num_rows - 1)
    return True


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    is_number = types.is_int64(kind) or types.is_int32(kind) or types.is_int8(kind) or types.is_float64(kind)
    return is_number or types.is_string(kind) or types.is_boolean(kind) or kind == TIMESTAMP


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _read(connection: "duckdb.DuckDBPyConnection", name: str, files: Sequence[Path], scratch: Path) -> None:
    """Make a view of Parquet files; DuckDB reads them through links, for it takes * and [ in a name for a pattern."""
    if not files:
        return
    links = [scratch / f"{name}-{number}.parquet" for number in range(len(files))]
    for link, file in zip(links, files, strict=True):
        link.symlink_to(file.resolve())
    listed = ", ".join(_text(str(link)) for link in links)
    connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet([{listed}], union_by_name = true)")


def _mentioned(names: Iterable[str], expressions: Iterable[str]) -> list[str]:
    """Return which names expressions contain; names of the table's own columns never stand in one."""
    words = set(re.findall(r"\w+", " ".join(expressions)))
    return [name for name in names if name in words]


def _totals(plan: Plan) -> list[str]:
    """Return which of everybody's totals are needed."""
    return _mentioned(TOTALS, [*plan.columns.values(), "all_count"])


def _events(
    connection: "duckdb.DuckDBPyConnection", schema: pa.Schema, history: Sequence[Path], *, config: Config, plan: Plan
) -> None:
    """Make the table events: the rows asked for and the history they may look back into, keys and amounts."""
    contract = config.contract
    at, key = quote(contract.timestamp), quote(contract.id)
    lookback = round(config.features.max_window_days * DAY_US)
    parts = [f"SELECT {_event(schema, config, plan)}, 0 AS copy FROM present"]
    if history:
        past = pa.unify_schemas([pq.read_schema(file) for file in history])
        first, last = connection.sql(f"SELECT min({at}), max({at}) FROM present").fetchall()[0]
        if first is not None:
            parts.append(
                f"SELECT {_event(past, config, plan)}, 1 AS copy FROM past WHERE {at} < TIMESTAMP "
                f"'{last}' AND {at} >= TIMESTAMP '{first}' - to_microseconds({lookback}) "
                f"AND NOT EXISTS (SELECT 1 FROM present WHERE present.{key} = past.{key})"
            )
    connection.execute(f"CREATE TEMP TABLE events AS {' UNION ALL '.join(parts)}")
    rows, ids = connection.sql("SELECT count(*), count(DISTINCT id) FROM events").fetchall()[0]
    if rows != ids:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE events AS SELECT * FROM events "
            "QUALIFY row_number() OVER (PARTITION BY id ORDER BY copy, fraud IS NULL, known_us DESC, us) = 1"
        )


def _event(schema: pa.Schema, config: Config, plan: Plan) -> str:
    contract = config.contract
    amount = quote(contract.amount)
    fixed = f"CAST(round(greatest(least({amount} / {unit(config)!r}, {LARGEST}), -{LARGEST})) AS BIGINT)"
    log = f"CAST(round({SIGNED_LOG.replace('amount', amount)} / {LOG_UNIT!r}) AS BIGINT)"
    label = "NULL" if contract.label is None or contract.label not in schema.names else quote(contract.label)
    available = available_at_sql(config)
    if contract.labelled_at is not None and contract.labelled_at not in schema.names:
        available = available.replace(quote(contract.labelled_at), "NULL", 1)
    known_us, at = f"epoch_us({available})", quote(contract.timestamp)
    columns = {
        "id": quote(contract.id),
        "us": f"epoch_us({at})",
        "amount": amount,
        "fraud": f"CASE WHEN {known_us} - epoch_us({at}) <= {longest_wait(config)} THEN CAST({label} AS TINYINT) END",
        "known_us": f"greatest({known_us}, epoch_us({at}))",
    } | {f"e{place}": quote(entity) for place, entity in enumerate(contract.entities)}
    local = _local(at, config)
    extras = {
        "x": fixed,
        "x2": f"CAST({fixed} AS HUGEINT) * {fixed}",
        "l": log,
        "l2": f"CAST({log} AS HUGEINT) * {log}",
        "night": f"CASE WHEN hour({local}) < 6 OR hour({local}) >= 22 THEN 1 ELSE 0 END",
        "weekend": f"CASE WHEN isodow({local}) > 5 THEN 1 ELSE 0 END",
    }
    angle = f"({HOUR.replace('local', local)}) * pi() / 12"
    for name, function in (("clock_cosine", "cos"), ("clock_sine", "sin")):
        extras[name] = f"CAST(round({function}({angle}) * {CLOCK_UNIT!r}) AS BIGINT)"
    for number, (latitude, longitude) in enumerate((quote(a), quote(b)) for a, b in contract.places.values()):
        # 0 and 0 is what is written where nothing is known.
        known = f"abs({latitude}) <= 90 AND abs({longitude}) <= 180 AND ({latitude} <> 0 OR {longitude} <> 0)"
        extras[f"lat{number}"] = f"CASE WHEN {known} THEN {latitude} END"
        extras[f"lon{number}"] = f"CASE WHEN {known} THEN {longitude} END"
    expressions = [
        *(window.sql for window in plan.aggregates.values()),
        *plan.columns.values(),
        *(TOTALS[name] for name in _totals(plan)),
    ]
    expressions += ["x l l2"] if plan.peers else []
    columns |= {name: extras[name] for name in _mentioned(extras, expressions)}
    categories = {f"c{place}": quote(name) for place, name in enumerate(contract.categorical)}
    peers = [f"c{place}" for place in plan.peers]
    columns |= {name: categories[name] for name in _mentioned(categories, [*expressions, *peers])}
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _local(at: str, config: Config) -> str:
    """Return the expression of a moment on the clocks of the table's time zone."""
    return (
        at if config.table.time_zone == "UTC" else f"timezone({_text(config.table.time_zone)}, timezone('UTC', {at}))"
    )


def _everybody(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config) -> None:
    """Make the table everybody: for each UTC day asked for, the totals of the whole days before it."""
    days = config.features.history_days - 1
    connection.execute(f"CREATE TEMP TABLE days AS SELECT DISTINCT us // {DAY_US} AS day FROM events WHERE copy = 0")
    totals = _totals(plan)
    aggregates = "".join(f", {TOTALS[name]} AS {name}" for name in totals)
    sums = "".join(f", CAST(sum({name}) AS DOUBLE) AS {name}" for name in totals)
    past = f"SELECT us // {DAY_US} AS past{aggregates} FROM events GROUP BY past"
    queries = [f"SELECT day{sums} FROM days JOIN ({past}) ON past BETWEEN day - {days} AND day - 1 GROUP BY day"]
    known_totals = ""
    if _mentioned(["all_known"], plan.columns.values()):
        queries.append(everybody_sql(config))
        known_totals = " REPLACE (coalesce(all_known, 0) AS all_known, coalesce(all_frauds, 0) AS all_frauds)"
    if plan.histogram:
        queries.append(_quartiles(days))
    joins = "".join(f" LEFT JOIN ({query}) USING (day)" for query in queries)
    connection.execute(f"CREATE TEMP TABLE everybody AS SELECT *{known_totals} FROM days{joins}")


def _quartiles(days: int) -> str:
    """Return the query of everybody's quartiles, from a histogram of log amounts that days add up to."""
    amount = f"sign(bin) * (exp(abs(bin) / {BINS_PER_LOG}.0) - 1)"
    quartiles = "".join(
        f", min({amount}) FILTER (WHERE below >= 0.{share} * n) AS all_q{share}" for share in (25, 50, 75)
    )
    return f"""SELECT day{quartiles} FROM (
            SELECT day, bin, sum(n) OVER (PARTITION BY day ORDER BY bin) AS below, sum(n) OVER (PARTITION BY day) AS n
            FROM (
                SELECT day, bin, sum(n) AS n FROM days JOIN (
                    SELECT us // {DAY_US} AS past, round({SIGNED_LOG} * {BINS_PER_LOG}) AS bin, count(*) AS n
                    FROM events GROUP BY past, bin
                ) ON past BETWEEN day - {days} AND day - 1 GROUP BY day, bin
            )
        ) GROUP BY day"""


def _peers(connection: "duckdb.DuckDBPyConnection", place: int, config: Config) -> None:
    """Make a table of a categorical column's totals: for each UTC day asked for and value, the whole days before."""
    key = f"c{place}"
    sums = {"count": "n", "sum": "x", "logs": "l", "log_squares": "l2"}
    connection.execute(
        f"""CREATE TEMP TABLE peers_{key} AS
        SELECT day, {key}{"".join(f", CAST(sum({name}) AS DOUBLE) AS {key}_{alias}" for alias, name in sums.items())}
        FROM days JOIN (
            SELECT us // {DAY_US} AS past, {key}, count(*) AS n, sum(x) AS x, sum(l) AS l, sum(l2) AS l2
            FROM events GROUP BY past, {key}
        ) ON past BETWEEN day - {config.features.history_days - 1} AND day - 1 GROUP BY day, {key}"""
    )


def _past(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config, *, reviewed: bool) -> None:
    """Make the views seen and known: the aggregates of each row asked for, over rows and over labels."""
    own = [
        *OF_THE_CLOCK,
        *(f"{half}{number}" for number in range(len(config.contract.places)) for half in ("lat", "lon")),
    ]
    columns = ["id", "us", "amount", "copy", *_mentioned(own, plan.columns.values())]
    columns += [f"c{place}" for place in sorted(plan.peers)]
    aggregates = "".join(f", {window.sql} AS {alias}" for alias, window in plan.aggregates.items())
    connection.execute(
        f"CREATE TEMP VIEW seen AS SELECT * FROM (SELECT {', '.join(columns)}{aggregates} FROM events) WHERE copy = 0"
    )
    if plan.risks:
        known(connection, plan, config, reviewed=reviewed)


def _select(plan: Plan, config: Config, names: Sequence[str]) -> str:
    contract = config.contract
    others = {name: name_beside(name, plan.columns) for name in names if name in plan.columns}
    renaming = ", ".join(f"{quote(name)} AS {quote(other)}" for name, other in others.items())
    present = f"present.* RENAME ({renaming})" if renaming else "present.*"
    columns = "".join(f", CAST({expression} AS DOUBLE) AS {quote(name)}" for name, expression in plan.columns.items())
    joins = " JOIN known USING (id)" if plan.risks else ""
    for place in sorted(plan.peers):
        key = f"c{place}"
        joins += f" LEFT JOIN peers_{key} ON peers_{key}.day = everybody.day AND peers_{key}.{key} = seen.{key}"
    # DuckDB marks columns of the inner side without a missing value as never missing, so that tables would differ.
    return f"""SELECT {present}{"".join(f", made.{quote(name)}" for name in plan.columns)}
        FROM (
            SELECT id{columns} FROM (
                SELECT *, {_local("make_timestamp(us)", config)} AS local
                FROM seen JOIN everybody ON us // {DAY_US} = everybody.day{joins}
            )
        ) AS made LEFT JOIN present ON present.{quote(contract.id)} = made.id
        ORDER BY present.{quote(contract.timestamp)}, made.id"""
