"""A small comparison, for the tests of it, of its rows and of its page."""

from datetime import date, datetime

import numpy as np
import pyarrow.parquet as pq

from pipeline.selection.compared_rows import ComparedRows
from pipeline.selection.comparison import Contender, compare
from pipeline.tracking.aliases import Version
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import START, config, detector_of, feature_table, replace, transactions

LATER = datetime(2025, 4, 1)


def compare_two(folder):
    """Return a comparison of two versions, their detectors and their settings.

    They are trained on one month each with other features, and compared on hostile rows of the month after.
    """
    base = {"work_dir": str(folder / "work"), "name": "cards", "promotion": {"draws": 100}}
    settings = [config(**base), config(**base, features={"families": ("amount",)}, model={"code_size": 2})]
    table = transactions(rows=3000)
    pq.write_table(table, folder / "trained.parquet")
    Workspace(settings[0]).history.append(folder / "trained.parquet", "b")
    early = table.filter(np.asarray(table["at"]).astype("datetime64[D]") < np.datetime64("2025-03-16"))
    detectors = [
        detector_of(feature_table(folder, rows, each, name=f"f{number}"), each)
        for number, (rows, each) in enumerate(zip((table, early), settings, strict=True))
    ]
    later = transactions(rows=1200, seed=4, first_id=90_000, start=LATER)
    later = replace(later, "channel", ["<script>alert(1)</script>"] * 1200)
    pq.write_table(later, folder / "later.parquet")
    rows = ComparedRows(folder / "later.parquet", [folder / "trained.parquet"], "<b>later</b>", (date(2025, 4, 1),) * 2)
    contenders = [
        Contender(Version(str(number), f"run-{number}", (), START, "", figures), detector, detector.config)
        for number, (detector, figures) in enumerate(zip(detectors, ({"fit_seconds": 2.5}, {}), strict=True), 1)
    ]
    (folder / "scratch").mkdir()
    return compare(contenders, rows, Workspace(settings[0]), folder / "scratch"), detectors, settings
