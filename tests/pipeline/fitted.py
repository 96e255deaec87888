"""Small transaction tables, their feature tables and detectors, for the tests of this folder."""

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.features import compute
from pipeline.labels.known import Labels
from pipeline.settings.config import Config

START = datetime(2025, 3, 1)
DAYS = 30
AFTER = START + timedelta(days=DAYS + 8)  # every label is available by then


def config(**sections):
    """A configuration whose model is small enough to fit in a second, and whose alerts are those of the line alone."""
    contract = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ("card",),
        "categorical": ("channel",),
        "label": "fraud",
        "types": {"tx": "integer"},
    }
    model = {"name": "denoising", "hidden": (16,), "code_size": 6, "max_epochs": 6, "batch_size": 128}
    settings = {
        "contract": {**contract, **sections.pop("contract", {})},
        "features": {"families": ("amount", "calendar", "columns", "change"), **sections.pop("features", {})},
        "model": {**model, **sections.pop("model", {})},
        "feedback": {"explore": 0.0, **sections.pop("feedback", {})},
        **sections,
    }
    return Config.model_validate(settings)


def transactions(rows=1500, seed=0, *, first_id=0, start=START, days=DAYS):
    """Typed rows in the order of time: amounts around each card's habit, one row in 50 a fraud of 20 times that."""
    generator = np.random.default_rng(seed)
    habits = generator.lognormal(3, 0.6, 40)
    card = generator.integers(0, 40, rows)
    fraud = generator.random(rows) < 0.02
    seconds = np.sort(generator.uniform(0, days * 86_400, rows)).astype(np.int64)
    return pa.table(
        {
            "tx": np.arange(first_id, first_id + rows),
            "at": pa.array(np.datetime64(start, "us") + seconds.astype("timedelta64[s]")),
            "card": pa.array([f"card-{number:02d}" for number in card]),
            "eur": np.round(habits[card] * generator.lognormal(0, 0.3, rows) * np.where(fraud, 20, 1), 2),
            "channel": pa.array(generator.choice(["web", "shop", "phone"], rows, p=[0.6, 0.3, 0.1])),
            "note": pa.array([f"=note {number}" for number in range(rows)]),
            "fraud": pa.array(fraud.astype(np.int8)),
        }
    )


def quiet_frauds(rows=4000, **options):
    """Transactions whose frauds are small payments by phone: nothing that stands out among normal rows."""
    table = transactions(rows, **options)
    fraud = table["fraud"].to_numpy() == 1
    table = replace(table, "eur", np.round(np.where(fraud, table["eur"].to_numpy() / 100, table["eur"]), 2))
    return replace(table, "channel", np.where(fraud, "phone", table["channel"].to_pylist()))


def feature_table(folder: Path, table: pa.Table, settings: Config, name="features", *, history=()) -> Path:
    """Compute the feature table of rows, as the flows do."""
    pq.write_table(table, folder / f"{name}-rows.parquet")
    return compute(folder / f"{name}-rows.parquet", list(history), settings, folder / f"{name}.parquet")


def replace(table: pa.Table, column: str, values) -> pa.Table:
    """Return the table with another column in the place of one."""
    kind = table.schema.field(column).type
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values, kind))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def detector_of(features, settings, as_of=AFTER, reviewed=(), **options):
    """Return a Detector fitted on a feature table, with what the rows and some labels from review say of them."""
    return Detector.fit(features, settings, Labels(settings, tuple(reviewed)), as_of, **options)


def with_share(detector, share, **contract):
    """Return the detector with another share of rows to audit, and other roles of columns."""
    roles = detector.config.contract.model_copy(update=contract)
    audit = detector.config.audit.model_copy(update={"share": share})
    return dataclasses.replace(detector, config=detector.config.model_copy(update={"audit": audit, "contract": roles}))
