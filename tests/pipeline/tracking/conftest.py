"""What the tests of this folder share: a Detector registered once, and its own scores."""

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.features import compute
from pipeline.tables.parsing import parse
from pipeline.tracking import store
from tests.pipeline.tracking.small_training import Trained


@pytest.fixture(scope="session")
def registered(trained: Trained) -> store.Registered:
    return trained.log()


@pytest.fixture(scope="session")
def scores(trained: Trained) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The Detector's own scores of some rows that have no history, by id."""

    def score(rows: pd.DataFrame) -> pd.DataFrame:
        typed, _ = parse(pa.RecordBatch.from_pandas(rows, preserve_index=False), trained.config)
        pq.write_table(pa.Table.from_batches([typed]), trained.folder / "asked.parquet")
        compute(trained.folder / "asked.parquet", [], trained.config, trained.folder / "computed.parquet")
        table = pq.read_table(trained.folder / "computed.parquet")
        return pa.Table.from_batches(trained.detector.score(table.to_batches())).to_pandas().set_index("tx")

    return score
