"""Validation: a table in, accepted rows and quarantined rows out, or the whole batch refused.

The table is read batch by batch. Rules about a row are judged on each batch, plain ones together on its columns and
the others by Great Expectations, so the same rows are rejected whatever the batch size; everything that needs all
rows at once comes after, in this order:

1. rules with ``mostly``: when enough rows satisfy one, none is rejected for it, else all that break it are;
2. ids that come twice (of those rows that passed so far, the first copy delivered is kept) or came in an
   earlier batch; a row that came there as it is now is kept in quarantine and counts for no share;
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.suites import SuiteError
from pipeline.errors import BatchRefused, ConfigError
from pipeline.settings.config import Config
from pipeline.tables.parsing import check_columns
from pipeline.tables.period import Period
from pipeline.tables.reading import Table
from pipeline.validation.quarantine import union, write_quarantine
from pipeline.validation.refusals import check_names
from pipeline.validation.rows import Reading
from pipeline.validation.spark import join_rows_on_spark, quarantine_on_spark, read_on_spark
from pipeline.validation.verdict import StoredFiles, Verdict

if TYPE_CHECKING:
    from expectations.runs import Outcome

WriteDocs = Callable[[Sequence["Outcome"]], Path]
"""What writes a page about the outcomes of rules and returns its path; `pipeline.pages.validation.data_docs` is one."""


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
    """A validated batch: its files, its counts, and the rules that were broken.

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
    stored: StoredFiles = lambda start, end: (),
    now: datetime | None = None,
    docs: WriteDocs | None = None,
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
    stored : callable
        Returns the files of accepted rows between two moments: a row whose id came before, and that is there with the
        same moment and amount, was delivered before and does not count as broken.
    now : datetime, optional
        The moment that "in the future" is measured from; UTC where it names no zone.
    docs : callable, optional
        Called with the outcome of every rule once the rows were judged, also where the batch is refused then;
        returns the page that it wrote.
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
    check_names(table, config)
    at = now or datetime.now(UTC)
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".validating-", dir=folder) as scratch:
            reading = Reading(table, config, period, now=at, scratch=Path(scratch))
            if config.engine.name == "spark":
                read_on_spark(reading, Path(scratch), on_rows)
            else:
                reading.run(on_rows)
            verdict = Verdict(reading, Path(scratch))
            try:
                verdict.judge(elsewhere, stored)
            except BatchRefused:
                if docs and verdict.read:
                    docs([*reading.findings.outcomes.values()])
                raise
            page = docs([*reading.findings.outcomes.values()]) if docs else None
            return _write(verdict, folder, batch_id, page)
    except SuiteError as error:
        raise ConfigError(str(error)) from None
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def _write(verdict: Verdict, folder: Path, batch_id: str, page: Path | None) -> Validated:
    """Write the three tables, and put them into their folder once all are complete."""
    reading, rejects = verdict.reading, verdict.rejects()
    findings = reading.findings
    for part, name in ((findings.inside, "accepted"), (findings.lookback, "lookback")):
        # Only tasks of Spark write several files.
        part.finish(verdict.scratch / f"{name}.parquet", partial(join_rows_on_spark, engine=reading.config.engine))
    quarantine = verdict.scratch / "quarantine.parquet"
    if reading.config.engine.name == "spark":
        quarantine_on_spark(quarantine, reading, rejects, batch_id=batch_id)
    else:
        write_quarantine(quarantine, reading.table, rejects, batch_id=batch_id, batch_rows=reading.batch_rows)
    number = len(union(rejects.values()))
    counts = Counts(
        read=verdict.read,
        accepted=findings.inside.rows - number,
        quarantined=number + len(reading.table.broken),
        outside=findings.rows - findings.inside.rows,
        refused=0,
    )
    return Validated(
        findings.inside.paths[0].replace(folder / "accepted.parquet"),
        findings.lookback.paths[0].replace(folder / "lookback.parquet"),
        quarantine.replace(folder / "quarantine.parquet"),
        counts,
        verdict.counts_by_rule(),
        page,
    )
