"""What the tests of the watch share: a detector of a month, and days after it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.detector.artefact import Detector
from pipeline.monitoring.profile import Days, Profiler
from pipeline.scoring.score import Scored, score_table
from tests.pipeline.fitted import DAYS, START, config, detector_of, feature_table, transactions

ROWS = 400


@dataclass
class Watched:
    """A detector, and what it makes of days after its training."""

    detector: Detector
    folder: Path
    number: int = 0

    def scored(self, table: pa.Table) -> tuple[Path, Scored, Days]:
        """Return the feature table of rows, its scores and its days, in a folder of their own."""
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        history = [self.folder / "features-rows.parquet"]
        features = feature_table(folder, table, self.detector.config, history=history)
        marks = {"batch_id": "b", "model_version": "1", "scored_at": START}
        profiler = Profiler(features, self.detector)
        scored = score_table(features, self.detector, folder / "scores", **marks, on_part=profiler.add)
        return features, scored, profiler.days

    def days(self, *tables: pa.Table) -> Days:
        """Return the profiles of rows."""
        return {day: each for table in tables for day, each in self.scored(table)[2].items()}

    def with_monitor(self, **settings: object) -> Detector:
        """Return the detector with other settings of the watch."""
        monitor = self.detector.config.monitor.model_copy(update=settings)
        return replace(self.detector, config=self.detector.config.model_copy(update={"monitor": monitor}))


@pytest.fixture(scope="package")
def table() -> pa.Table:
    """The rows of the training, and those of ten days behind it."""
    return transactions((DAYS + 10) * ROWS, days=DAYS + 10)


@pytest.fixture(scope="package")
def watched(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Watched:
    """The detector of a month of days."""
    folder = tmp_path_factory.mktemp("watched")
    settings = config()
    rows = table.filter(pc.less(table["at"], pa.scalar(START + timedelta(days=DAYS), pa.timestamp("us"))))
    return Watched(detector_of(feature_table(folder, rows, settings), settings), folder)


@pytest.fixture(scope="package")
def day(table: pa.Table) -> Callable[..., pa.Table]:
    """The rows of a day, all or the first ones: ``day(0)`` is the first one behind the training."""

    def rows(number: int, count: int = 10 * ROWS) -> pa.Table:
        start, end = (pa.scalar(START + timedelta(days=DAYS + number + n), pa.timestamp("us")) for n in (0, 1))
        return table.filter(pc.and_(pc.greater_equal(table["at"], start), pc.less(table["at"], end))).slice(0, count)

    return rows
