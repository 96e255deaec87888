"""Validation: a table in, accepted rows and quarantined rows out, or the whole batch refused.

The table is read batch by batch. Rules about a row are judged by Great Expectations on each batch, so the same
rows are rejected whatever the batch size; everything that needs all rows at once comes after, in this order:

1. rules with ``mostly``: when enough rows satisfy one, none is rejected for it, else all that break it are;
2. ids that come twice (of those rows that passed so far, the first copy delivered is kept) or came in an
   earlier batch;
3. a table's own rules that find rows by looking across rows, such as unique columns, on the rows that passed;
4. the share of rejected rows, which may refuse the batch;
5. rules about the whole table, such as a mean or the number of rows, on the accepted rows; a broken one
   refuses the batch.

A rule of severity ``warning`` or ``info`` rejects nothing and is only counted.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations.suites import SuiteError
from pipeline.errors import BatchRefused, ConfigError
from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches
from pipeline.tables.parsing import check_columns
from pipeline.tables.period import Period
from pipeline.tables.reading import Table
from pipeline.tables.writing import ParquetWriter, write_text
from pipeline.validation.duplicates import ROW, later_copies, seen_elsewhere
from pipeline.validation.quarantine import BROKEN_LINE, union, write_quarantine
from pipeline.validation.refusals import MASKED, check_any_accepted, check_share, check_types
from pipeline.validation.rows import Part, Reading, Rows, not_seen, rows_at_a_time, unique

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Counts:
    """Rows of a batch; always ``read == accepted + quarantined + outside + refused``."""

    read: int
    accepted: int
    quarantined: int
    outside: int
    refused: int


@dataclass(frozen=True)
class Validated:
    """What validation made of a batch.

    Attributes
    ----------
    accepted : Path
        Parquet: the rows inside the period that passed, the contract's columns typed, all others as found.
    lookback : Path
        Parquet, same columns: rows before the period that features may look back to, and that passed. They
        count as outside the period.
    quarantine : Path
        Parquet: the rejected rows as they came, and the rules that they broke.
    counts : Counts
    rules : dict of str to int
        Rows that broke each rule, most first; a rule that only warns has " (warning)" or " (info)" behind its
        name, and one about the whole table counts 1.
    docs : Path or None
        The Data Docs page.
    """

    accepted: Path
    lookback: Path
    quarantine: Path
    counts: Counts
    rules: dict[str, int]
    docs: Path | None


def validate(
    table: Table,
    config: Config,
    *,
    folder: Path,
    batch_id: str,
    period: Period = Period(None, None),  # noqa: B008 (frozen)
    elsewhere: Sequence[Path] = (),
    now: datetime | None = None,
    docs: Path | None = None,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Validated:
    """Validate a table: write what is accepted and what is quarantined, or refuse it as a whole.

    Parameters
    ----------
    table : Table
    config : Config
    folder : Path
        Where the Parquet files go; of a refused batch nothing stays there.
    batch_id : str
        Written beside every quarantined row.
    period : Period
        Rows outside it are left out, and are judged only as far as features may look back to them. A row
        without a plausible timestamp is quarantined whatever the period.
    elsewhere : sequence of Path
        Parquet files whose ids may not come again.
    now : datetime, optional
        The moment that "in the future" is measured from; UTC where it names no zone.
    docs : Path, optional
        Folder for Data Docs; they are written for a refused batch too, once its rows were judged.
    on_rows : callable
        Called with the number of rows of every batch that was read.

    Raises
    ------
    BatchRefused
        With one sentence: columns missing or of the wrong type, no rows, too many rejected rows, or a broken
        rule about the whole table.
    ConfigError
        When the table's own suite is wrong, with the place in its file.
    """
    check_columns(table.schema, config, str(table.path))
    at = now or datetime.now(UTC)
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".validating-", dir=folder) as scratch:
            reading = Reading(table, config, period, at, Path(scratch))
            reading.run(on_rows)
            verdict = _Verdict(table, config, reading, Path(scratch))
            try:
                verdict.judge(elsewhere)
            except BatchRefused:
                if docs and verdict.read:
                    _write_docs(reading, docs, batch_id, at)
                raise
            page = _write_docs(reading, docs, batch_id, at) if docs else None
            return verdict.write(folder, batch_id, page)
    except SuiteError as error:
        raise ConfigError(str(error)) from None
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


class _Verdict:
    """What follows from a reading for the whole batch."""

    def __init__(self, table: Table, config: Config, reading: Reading, scratch: Path) -> None:
        self.table, self.config, self.reading, self.scratch = table, config, reading, scratch
        self.read = reading.read_rows

    def judge(self, elsewhere: Sequence[Path]) -> None:
        """Judge everything that needs all rows, and refuse the batch where that says so."""
        reading = self.reading
        if not self.read:
            raise BatchRefused(f"{self.table.path} has no rows; deliver a table with rows", 0)
        check_types(
            self.table,
            self.config,
            missing=reading.missing,
            unparsed=reading.unparsed,
            first=reading.first_unparsed,
            rows=reading.rows,
            read=self.read,
        )
        for part in (reading.inside, reading.lookback):
            for name, rows in part.pending.items():
                if not reading.outcomes[name].success:
                    self._reject(part, name, union(rows))
        self._judge_ids(elsewhere)
        self._judge_across()
        broken = self._broken()
        columns = {**reading.type_rules, not_seen(self.config): self.config.contract.id}
        columns |= {name: rule.columns[0] for name, rule in reading.rules.items() if rule.columns}
        lines, unplaced = len(self.table.broken), union(reading.unplaced)
        if reading.period == Period(None, None):
            self._check_share(broken, columns, lines, reading.inside.rows + lines)
        else:
            # Rows without a plausible time may be of any period, so they are held against the whole table.
            timeless = {name: np.intersect1d(rows, unplaced) for name, rows in broken.items()}
            placed = {name: np.setdiff1d(rows, unplaced) for name, rows in broken.items()}
            self._check_share(timeless, columns, lines, self.read)
            self._check_share(placed, columns, 0, reading.inside.rows - len(unplaced))
        judged = reading.inside.rows - len(unplaced)
        check_any_accepted(self.table, reading.period, self.accepted, judged=judged, read=self.read)
        self._judge_table()

    def _check_share(self, broken: dict[str, Rows], columns: dict[str, str], lines: int, judged: int) -> None:
        check_share(
            self.table,
            self.config,
            {name: rows for name, rows in broken.items() if len(rows)},
            columns,
            broken_lines=lines,
            rejected=len(union(broken.values())) + lines,
            judged=judged,
            read=self.read,
        )

    def _broken(self) -> dict[str, Rows]:
        """Return the rejected rows by rule, in an order that does not depend on which rule was broken first."""
        found = self.reading.broken
        return {name: union(found[name]) for name in (*self.reading.outcomes, not_seen(self.config)) if name in found}

    def _reject(self, part: Part, name: str, rows: Rows) -> None:
        if len(rows):
            part.late.append(rows)
            if part is self.reading.inside:
                self.reading.broken.setdefault(name, []).append(rows)

    def _judge_ids(self, elsewhere: Sequence[Path]) -> None:
        inside, lookback = self.reading.inside, self.reading.lookback
        limits: dict[str, Any] = {"memory_limit": self.config.features.memory_limit, "scratch": self.scratch}
        copies = later_copies([inside.keys, lookback.keys], union([*inside.late, *lookback.late]), **limits)
        seen = seen_elsewhere(inside.keys, elsewhere, self.config.contract.id, **limits)
        name = unique(self.config)
        for part in (inside, lookback) if len(copies) else ():
            self._reject(part, name, _find(part.keys, copies)[1])
        self._reject(inside, not_seen(self.config), seen)
        self.reading.outcomes[name].add(inside.rows, 0, sum(map(len, self.reading.broken.get(name, []))))

    def _judge_across(self) -> None:
        """Find rows by the table's own rules that look across rows; none of these sees what another rejects."""
        reading = self.reading
        rejected = []
        for rule in reading.rules.values():
            if rule.scope != "across rows" or rule.name == unique(self.config):
                continue
            frame, kept = self._accepted(rule.columns)
            result = reading.engine.rows([rule], frame)[rule.name]
            outcome = reading.outcomes[rule.name]
            outcome.add(result.rows, result.missing, len(result.positions), result.values)
            if rule.severity == "critical" and not outcome.success:
                rows = pq.read_table(reading.inside.keys, columns=[ROW]).column(ROW).to_numpy()
                rejected.append((rule.name, rows[kept][result.positions]))
        for name, rows in rejected:
            self._reject(reading.inside, name, rows)

    def _judge_table(self) -> None:
        import pandas as pd

        reading = self.reading
        refusals = []
        for rule in reading.rules.values():
            if rule.scope != "table":
                continue
            outcome = reading.outcomes[rule.name]
            if rule.columns:
                frame, _ = self._accepted(rule.columns)
            elif "row_count" in outcome.kind:
                frame = pd.DataFrame(index=pd.RangeIndex(self.accepted))
            else:
                frame = pd.DataFrame(columns=reading.schema.names)
            outcome.success, outcome.observed = reading.engine.whole(rule, frame)
            if not outcome.success and rule.severity == "critical":
                hidden = set(rule.columns) & set(self.config.contract.sensitive)
                wanted = ", ".join(f"{key} {value}" for key, value in outcome.kwargs.items() if key != "column")
                refusals.append(
                    f"{self.table.path}: {rule.name!r} does not hold for the {self.accepted:,} accepted rows, "
                    f"wanted {wanted}, observed {MASKED if hidden else outcome.observed}; check the table, or "
                    f"change {rule.where}"
                )
        if refusals:
            raise BatchRefused(refusals[0], self.read)

    @property
    def accepted(self) -> int:
        """Rows inside the period that nothing was found against so far."""
        inside = self.reading.inside
        return inside.passed - len(_find(inside.keys, union(inside.late))[0])

    def _accepted(self, columns: Sequence[str]) -> tuple["pd.DataFrame", np.ndarray]:
        """Return some columns of these rows, and which rows of the part's file they are."""
        from expectations.runs import to_frame

        inside = self.reading.inside
        kept = np.ones(inside.passed, dtype=bool)
        kept[_find(inside.keys, union(inside.late))[0]] = False
        return to_frame(pq.read_table(inside.path, columns=list(columns)).filter(pa.array(kept))), kept

    def write(self, folder: Path, batch_id: str, page: Path | None) -> Validated:
        """Write the three tables, and put them into their folder once all are complete."""
        reading, broken = self.reading, self._broken()
        for part in (reading.inside, reading.lookback):
            _drop(part)
        quarantine = self.scratch / "quarantine.parquet"
        write_quarantine(
            quarantine,
            self.table,
            broken,
            batch_id=batch_id,
            batch_rows=rows_at_a_time(self.config, len(reading.schema)),
        )
        rejected = len(union(broken.values()))
        counts = Counts(
            read=self.read,
            accepted=reading.inside.rows - rejected,
            quarantined=rejected + len(self.table.broken),
            outside=reading.rows - reading.inside.rows,
            refused=0,
        )
        return Validated(
            reading.inside.path.replace(folder / "accepted.parquet"),
            reading.lookback.path.replace(folder / "lookback.parquet"),
            quarantine.replace(folder / "quarantine.parquet"),
            counts,
            self._rules(broken),
            page,
        )

    def _rules(self, broken: dict[str, Rows]) -> dict[str, int]:
        counts = {name: len(rows) for name, rows in broken.items()}
        if self.table.broken:
            counts[BROKEN_LINE] = len(self.table.broken)
        for name, rule in self.reading.rules.items():
            outcome = self.reading.outcomes[name]
            if rule.severity != "critical" and not outcome.success:
                counts[rule.title] = outcome.broken if outcome.about_rows else 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _write_docs(reading: Reading, docs: Path, batch_id: str, at: datetime) -> Path:
    from expectations.docs import render_docs

    page = render_docs(
        list(reading.outcomes.values()),
        title=reading.table.path.name,
        batch_id=batch_id,
        sensitive=reading.config.contract.sensitive,
        at=at,
    )
    write_text(docs / "index.html", page)
    return docs / "index.html"


def _find(keys: Path, rows: Rows) -> tuple[np.ndarray, Rows]:
    """Return where in a part's file the rows are that it has of ``rows``, and which these are."""
    positions, found = [np.array([], dtype=np.int64)], [np.array([], dtype=np.int64)]
    start = 0
    for batch in read_batches(keys, [ROW]) if len(rows) else ():
        here = batch.column(0).to_numpy()
        at = np.flatnonzero(np.isin(here, rows, assume_unique=True))
        positions.append(start + at)
        found.append(here[at])
        start += len(here)
    return np.concatenate(positions), np.concatenate(found)


def _drop(part: Part) -> None:
    """Leave the rows that were rejected late out of a part's file."""
    positions, _ = _find(part.keys, union(part.late))
    if not len(positions):
        return
    start = 0
    schema = pq.read_schema(part.path)
    with ParquetWriter(part.path, schema) as writer:
        for batch in read_batches(part.path):
            kept = np.ones(batch.num_rows, dtype=bool)
            end = start + batch.num_rows
            kept[positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)] - start] = False
            writer.write(batch.filter(pa.array(kept)))
            start = end
