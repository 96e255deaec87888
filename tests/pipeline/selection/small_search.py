"""A small search: its settings, and the material written for it, for the tests of this folder."""

from datetime import date

import pyarrow.parquet as pq

from pipeline.selection.tuning_data import Blocks, prepare
from pipeline.workspace.workspace import Workspace
from tests.pipeline import fitted

DAYS = date(2025, 3, 1), date(2025, 3, 30)


def settings(folder, **tuning):
    """Return settings that search two families, and fit each trial in a second."""
    small = {"families": ("dense", "pca"), "hidden": ((8,), (16,)), "code_size": (2, 6), "trials": 4}
    searching = fitted.config(work_dir=str(folder / "work"), tuning=small | tuning)
    return searching.model_copy(update={"features": searching.features.model_copy(update={"label_delay_days": 1})})


def write_material(folder, config, table, name="material"):
    """Write the material of a search in a table's rows and return its folder."""
    pq.write_table(table, folder / f"{name}.parquet")
    (folder / name).mkdir()
    prepare(Workspace(config), str(folder / f"{name}.parquet"), Blocks.of(*DAYS, config), folder / name)
    return folder / name
