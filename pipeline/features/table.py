"""The feature table: every row with what its entities have been doing before it.

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

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.features.columns import join_files, stretches, table_sql
from pipeline.features.events import Files, make_events, read_files
from pipeline.features.everybody import daily_sums, make_everybody
from pipeline.features.families import plan_of
from pipeline.features.past import parts_of
from pipeline.features.plan import Plan
from pipeline.features.risks import verdicts
from pipeline.features.shards import make_past
from pipeline.features.spark import compute_on_spark
from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches
from pipeline.tables.period import TIMESTAMP
from pipeline.tables.sql import database, text_sql
from pipeline.tables.writing import place_file


def compute(
    rows: Path,
    history: Sequence[Path],
    config: Config,
    out: Path,
    *,
    reviewed: Sequence[Path] = (),
    buckets: Path | None = None,
) -> Path:
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
    buckets : Path, optional
        Folder in which tasks of Spark keep the history's days in buckets, where it lies in the folder of these days.

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
    # A day that is scored is in the history by a second name already; of each row, the one asked for counts.
    others = tuple(file for file in history if not file.samefile(rows))
    files = Files(rows, others, tuple(reviewed), buckets)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        if config.engine.name == "spark" and pq.read_metadata(rows).num_rows:
            staged = compute_on_spark(files, config, plan, Path(scratch))
        else:
            staged = _compute_here(files, config, plan, Path(scratch))
        staged.replace(out)
    return out


def _compute_here(files: Files, config: Config, plan: Plan, scratch: Path) -> Path:
    """Write the feature table on this machine, by one process or several."""
    staged, schema = scratch / "features.parquet", pq.read_schema(files.rows)
    is_reviewed = bool(files.reviewed)
    with database(config.features.memory_limit, scratch) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        read_files(connection, "present", [files.rows], scratch)
        read_files(connection, "past", files.history, scratch)
        read_files(connection, "reviewed", files.reviewed, scratch)
        make_events(connection, schema, files.history, config=config, plan=plan)
        if config.contract.label is not None:
            entities = [f"e{place}" for place in range(len(config.contract.entities))]
            verdicts(connection, entities, config, reviewed=is_reviewed)
        for name, query in daily_sums(plan).items():
            connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        make_everybody(connection, plan, config)
        make_past(connection, parts_of(plan), config, scratch, reviewed=is_reviewed)
        pieces = []
        for number, stretch in enumerate(stretches(connection, plan, config)):
            query = table_sql(connection, plan, config, schema.names, stretch=stretch)
            pieces.append(staged.with_name(f"features-{number}.parquet"))
            connection.execute(f"COPY ({query}) TO {text_sql(str(pieces[-1]))} (FORMAT parquet)")
    return pieces[0] if len(pieces) == 1 else join_files(pieces, staged, config)


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
