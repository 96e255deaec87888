"""The blocks of a search, and what is written for it."""

from datetime import date

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.selection.tuning_data import Blocks, Material, period_of
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import transactions
from tests.pipeline.selection.small_search import DAYS, settings


def test_blocks_are_whole_days_in_order_and_a_short_period_is_refused(small_search):
    given, folder = small_search
    blocks = Blocks.of(*DAYS, given)
    assert (blocks.fit, blocks.validation, blocks.test, blocks.end) == (
        date(2025, 3, 1),
        date(2025, 3, 17),
        date(2025, 3, 25),
        date(2025, 3, 31),
    )
    assert blocks.in_words()["left alone, to test on"] == "2025-03-25 to 2025-03-30"
    assert Blocks.of(date(2025, 3, 1), date(2025, 3, 3), given).validation == date(2025, 3, 2)
    with pytest.raises(InputError, match=r"^2 days from 2025-03-01 to 2025-03-02 are too few"):
        Blocks.of(date(2025, 3, 1), date(2025, 3, 2), given)
    rows = transactions(rows=3000)
    judged = pc.and_(pc.greater_equal(rows["at"], date(2025, 3, 17)), pc.less(rows["at"], date(2025, 3, 25)))
    found = Material.load(folder)
    assert len(found.validation) == pc.sum(judged).as_py()
    assert np.nansum(found.labels) == pc.sum(rows.filter(judged)["fraud"]).as_py()
    assert 2000 + 500 < len(found.injected) <= 2000 + 1000  # a swap may change nothing


def test_a_period_that_is_not_named_is_that_of_the_accepted_rows(tmp_path):
    given = settings(tmp_path)
    pq.write_table(transactions(rows=3000), tmp_path / "table.parquet")
    assert period_of(
        Workspace(given), str(tmp_path / "table.parquet"), tmp_path, first=None, last=date(2025, 3, 12)
    ) == (
        date(2025, 3, 1),
        date(2025, 3, 12),
    )
