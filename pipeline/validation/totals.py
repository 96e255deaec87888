"""A table held against the control totals that came with it."""

import math

import pyarrow.compute as pc

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config
from pipeline.tables.manifest import beside, read_totals
from pipeline.tables.parsing import check_columns, parse_column
from pipeline.tables.reading import Table
from pipeline.validation.rows import rows_at_a_time

CENT = 0.005
"""How far the sum of amounts may be off, besides what adding so many of them rounds."""


def check_totals(table: Table, config: Config) -> None:
    """Refuse a table that does not add up to its manifest, where ``incoming.manifest`` is set and there is one.

    Every row counts, the broken ones among them; a cell that is no number adds nothing to the amounts.

    Parameters
    ----------
    table : Table
    config : Config

    Raises
    ------
    InputError
        When the manifest cannot be read.
    BatchRefused
        When rows or amounts are not those of the manifest.
    """
    ending = config.incoming.manifest
    manifest = beside(table.path, ending) if ending else None
    if manifest is None:
        return
    totals = read_totals(manifest)
    check_columns(table.schema, config, str(table.path))
    rows, sums = 0, [0.0]
    for batch in table.batches(rows_at_a_time(config, len(table.schema))):
        rows += batch.num_rows
        amounts, _ = parse_column(batch.column(config.contract.amount), "number", table.settings)
        sums.append(pc.sum(amounts).as_py() or 0.0)
    rows += len(table.broken)
    amount, faults = math.fsum(sums), []
    if totals.rows not in (None, rows):
        faults.append(f"has {rows:,} rows, and its manifest says {totals.rows:,}")
    if totals.amount is not None and abs(amount - totals.amount) > CENT + 1e-12 * abs(totals.amount) * math.sqrt(rows):
        faults.append(f"has amounts of {amount:,.2f} in all, and its manifest says {totals.amount:,.2f}")
    if faults:
        raise BatchRefused(f"{table.path} {'; it '.join(faults)}; have it delivered again, whole", read=rows)
