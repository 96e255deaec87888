"""What follows from a reading for the batch as a whole: which rows are rejected late, and whether it is refused."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import BatchRefused
from pipeline.settings.sensitive import mask
from pipeline.tables.period import Period
from pipeline.validation.duplicates import ROW, later_copies, same_elsewhere, seen_elsewhere
from pipeline.validation.quarantine import BROKEN_LINE, union
from pipeline.validation.refusals import check_any_accepted, check_share, check_types
from pipeline.validation.rows import Part, Places, Reading
from pipeline.validation.rules import not_delivered, not_seen, unique
from pipeline.validation.spark import later_copies_on_spark, seen_on_spark

StoredFiles = Callable[[datetime, datetime], Sequence[Path]]
"""``stored(start, end)``: Parquet files that hold the accepted rows of earlier batches between two moments."""


class Verdict:
    """A verdict goes by everything that needs all rows of a reading at once, in the order of `validate`.

    Parameters
    ----------
    reading : Reading
        A reading that was run.
    scratch : Path
        Folder for temporary files.
    """

    def __init__(self, reading: Reading, scratch: Path) -> None:
        self.reading, self.table, self.config = reading, reading.table, reading.config
        self.findings = reading.findings
        self.scratch = scratch
        self.read = reading.read_rows

    def judge(self, elsewhere: Sequence[Path], stored: StoredFiles) -> None:
        """Reject the rows that fail beside others, and refuse the batch where that follows.

        Parameters
        ----------
        elsewhere : sequence of Path
            Parquet files whose ids may not come again.
        stored : callable
            Returns the files of accepted rows between two moments.

        Raises
        ------
        BatchRefused
            With one sentence.
        """
        findings = self.findings
        if not self.read:
            raise BatchRefused(f"{self.table.path} has no rows; deliver a table with rows", 0)
        check_types(
            self.table,
            self.config,
            missing=findings.missing,
            unparsed=findings.unparsed,
            first=findings.first_unparsed,
            rows=findings.rows,
            read=self.read,
        )
        for part in (findings.inside, findings.lookback):
            for name, rows in part.mostly.items():
                if not findings.outcomes[name].success:
                    self._reject(part, name, union(rows))
        self._judge_ids(elsewhere, stored)
        self._judge_across()
        self._judge_shares()
        judged = findings.inside.rows - len(union(findings.without_time))
        again = len(self.rejects().get(not_delivered(self.config), ()))
        check_any_accepted(self.table, self.reading.period, self.accepted, judged=judged, again=again, read=self.read)
        self._judge_table()

    def rejects(self) -> dict[str, Places]:
        """Return the rejected rows by rule, in an order that does not depend on which rule was broken first."""
        rows, seen = self.findings.breaches, (not_seen(self.config), not_delivered(self.config))
        return {name: union(rows[name]) for name in (*self.findings.outcomes, *seen) if name in rows}

    def counts_by_rule(self) -> dict[str, int]:
        """Return how many rows broke each rule, most first; a rule about the whole table counts 1."""
        counts = {name: len(rows) for name, rows in self.rejects().items()}
        if self.table.broken:
            counts[BROKEN_LINE] = len(self.table.broken)
        for name, rule in self.reading.rules.items():
            outcome = self.findings.outcomes[name]
            if rule.severity != "critical" and not outcome.success:
                counts[rule.title] = outcome.broken if outcome.about_rows else 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def accepted(self) -> int:
        """Rows inside the period that no rule has rejected so far."""
        inside = self.findings.inside
        return inside.passes - len(inside.find(union(inside.late_rejects))[0])

    def _judge_shares(self) -> None:
        findings, rejects = self.findings, self.rejects()
        again = rejects.pop(not_delivered(self.config), np.array([], dtype=np.int64))
        lines, without_time = len(self.table.broken), union(findings.without_time)
        if self.reading.period == Period(None, None):
            self._check_share(rejects, lines=lines, judged=findings.inside.rows - len(again) + lines)
            return
        # Rows without a plausible time may be of any period, so they are held against the whole table.
        timeless = {name: np.intersect1d(rows, without_time) for name, rows in rejects.items()}
        timed = {name: np.setdiff1d(rows, without_time) for name, rows in rejects.items()}
        self._check_share(timeless, lines=lines, judged=self.read)
        self._check_share(timed, lines=0, judged=findings.inside.rows - len(again) - len(without_time))

    def _check_share(self, rejects: dict[str, Places], *, lines: int, judged: int) -> None:
        columns = {**self.reading.type_rules, not_seen(self.config): self.config.contract.id}
        columns |= {name: rule.columns[0] for name, rule in self.reading.rules.items() if rule.columns}
        check_share(
            self.table,
            self.config,
            {name: rows for name, rows in rejects.items() if len(rows)},
            columns,
            broken_lines=lines,
            rejected=len(union(rejects.values())) + lines,
            judged=judged,
            read=self.read,
        )

    def _reject(self, part: Part, name: str, rows: Places) -> None:
        if len(rows):
            part.late_rejects.append(rows)
            if part is self.findings.inside:
                self.findings.breaches.setdefault(name, []).append(rows)

    def _judge_ids(self, elsewhere: Sequence[Path], stored: StoredFiles) -> None:
        inside, lookback = self.findings.inside, self.findings.lookback
        limits: dict[str, Any] = {"memory_limit": self.config.features.memory_limit, "scratch": self.scratch}
        later, seen = later_copies, seen_elsewhere
        if self.reading.stretches:  # tasks see the files, which they have written
            later, seen = (partial(find, engine=self.config.engine) for find in (later_copies_on_spark, seen_on_spark))
        rejects = union([*inside.late_rejects, *lookback.late_rejects])
        copies = np.array([], dtype=np.int64)
        if not self.findings.rise.holds:
            copies = later([*inside.keys, *lookback.keys], rejects, **limits)
        repeats = seen(inside.keys, elsewhere, self.config.contract.id, **limits)
        name = unique(self.config)
        for part in (inside, lookback) if len(copies) else ():
            self._reject(part, name, part.find(copies)[1])
        again = np.intersect1d(repeats, self._as_they_were(repeats, stored, limits))
        self._reject(inside, not_delivered(self.config), again)
        self._reject(inside, not_seen(self.config), np.setdiff1d(repeats, again))
        self.findings.outcomes[name].add(inside.rows, 0, sum(map(len, self.findings.breaches.get(name, []))))

    def _as_they_were(self, repeats: Places, stored: StoredFiles, limits: dict[str, Any]) -> Places:
        """Return those rows whose id came before that are stored with the same moment and amount."""
        contract, inside = self.config.contract, self.findings.inside
        positions, places = inside.find(repeats)
        if not len(places):
            return places
        columns = [contract.id, contract.timestamp, contract.amount]
        rows = inside.take(positions, columns)
        moments = pc.min_max(rows.column(1))
        files = stored(moments["min"].as_py(), moments["max"].as_py() + timedelta(microseconds=1))
        return same_elsewhere(rows.append_column(ROW, pa.array(places)), files, columns, **limits)

    def _judge_across(self) -> None:
        """Find rows by the table's own rules that look across rows; none of these sees what another rejects."""
        reading, findings = self.reading, self.findings
        rejects = []
        for rule in reading.rules.values():
            if rule.scope != "across rows" or rule.name == unique(self.config):
                continue
            rows, mask = self._accepted_rows(rule.columns)
            result = reading.engine.rows([rule], rows)[rule.name]
            outcome = findings.outcomes[rule.name]
            outcome.add(result.rows, result.missing, len(result.positions), result.values)
            if rule.severity == "critical" and not outcome.success:
                keys = [pq.read_table(path, columns=[ROW]) for path in findings.inside.keys]
                places = pa.concat_tables(keys).column(ROW).to_numpy()
                rejects.append((rule.name, places[mask][result.positions]))
        for name, places in rejects:
            self._reject(findings.inside, name, places)

    def _judge_table(self) -> None:
        import pandas as pd

        from expectations.frames import to_frame

        reading, findings = self.reading, self.findings
        refusals = []
        for rule in reading.rules.values():
            if rule.scope != "table":
                continue
            outcome = findings.outcomes[rule.name]
            if rule.columns:
                frame = to_frame(self._accepted_rows(rule.columns)[0])
            elif "row_count" in outcome.kind:
                frame = pd.DataFrame(index=pd.RangeIndex(self.accepted))
            else:
                frame = pd.DataFrame(columns=reading.schema.names)
            outcome.success, outcome.observed = reading.engine.whole(rule, frame)
            if not outcome.success and rule.severity == "critical":
                observed = mask(str(outcome.observed), self.config.contract, *rule.columns)
                bounds = ", ".join(f"{key} {value}" for key, value in outcome.kwargs.items() if key != "column")
                refusals.append(
                    f"{self.table.path}: {rule.name!r} does not hold for the {self.accepted:,} accepted rows, "
                    f"wanted {bounds}, observed {observed}; check the table, or "
                    f"change {rule.where}"
                )
        if refusals:
            raise BatchRefused(refusals[0], self.read)

    def _accepted_rows(self, columns: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
        """Return some columns of the rows accepted so far, and the mask of these rows in the part's file."""
        inside = self.findings.inside
        mask = np.ones(inside.passes, dtype=bool)
        mask[inside.find(union(inside.late_rejects))[0]] = False
        rows = inside.read(columns)
        return rows if mask.all() else rows.filter(pa.array(mask)), mask
