"""Small tables to validate, and what became of their rows."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config
from pipeline.tables.reading import open_table
from pipeline.validation.validate import Validated, validate

NOW = datetime(2025, 6, 1)

DAY = datetime(2025, 3, 10, 12)


def config(**sections: Any) -> Config:
    contract = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ["card"],
        "categorical": ["channel"],
        "numeric": ["score"],
        "label": "fraud",
        **sections.pop("contract", {}),
    }
    sections.setdefault("validation", {}).setdefault("max_rejected", 1.0)
    return Config.model_validate({"contract": contract, **sections})


def rows(count: int, **columns: list[Any]) -> pa.Table:
    """Rows that pass every rule, but for the columns given."""
    good: dict[str, list[Any]] = {
        "tx": [f"t{i}" for i in range(count)],
        "at": [DAY + timedelta(minutes=i) for i in range(count)],
        "eur": [10.0 + i for i in range(count)],
        "card": [f"c{i % 3}" for i in range(count)],
        "channel": ["web"] * count,
        "score": [0.5] * count,
        "fraud": [0] * count,
        "note": ["n"] * count,
    }
    return pa.table({**good, **columns})


def run(
    tmp_path: Path, table: pa.Table | str, settings: Config | None = None, suffix: str = "", **kwargs: Any
) -> Validated:
    if isinstance(table, str):
        path = tmp_path / f"in{suffix}.csv"
        path.write_text(table, encoding="utf-8")
    else:
        path = tmp_path / f"in{suffix}.parquet"
        pq.write_table(table, path)
    settings = settings or config()
    kwargs.setdefault("now", NOW)
    folder = kwargs.pop("folder", tmp_path / f"out{suffix}")
    return validate(open_table(path, settings.table), settings, folder=folder, batch_id="b1", **kwargs)


def quarantined(found: Validated) -> dict[int, list[str]]:
    table = pq.read_table(found.quarantine)
    return dict(zip(table["source_row"].to_pylist(), table["rules"].to_pylist(), strict=True))


def adds_up(found: Validated) -> None:
    counts = found.counts
    assert counts.read == counts.accepted + counts.quarantined + counts.outside + counts.refused
    assert pq.read_metadata(found.accepted).num_rows == counts.accepted
    assert pq.read_metadata(found.quarantine).num_rows == counts.quarantined


# One row that passes and one that fails, for every rule about a row. CSV can hold everything.
HEADER = "tx,at,eur,card,channel,score,fraud\n"

GOOD = {"tx": "a", "at": "2025-03-10 12:00:00", "eur": "5", "card": "c", "channel": "web", "score": "1", "fraud": "0"}


def refused(tmp_path: Path, table: pa.Table | str, match: str, settings: Config | None = None, **kwargs: Any) -> str:
    with pytest.raises(BatchRefused, match=match) as caught:
        run(tmp_path, table, settings, **kwargs)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_suite(tmp_path: Path, *entries: dict[str, Any], **validation: Any) -> Config:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "own", "meta": {}, "expectations": list(entries)}))
    return config(validation={"suite": str(path), **validation})


def expect(kind: str, severity: str | None = None, meta: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": f"expect_{kind}", "kwargs": kwargs}
    return entry | ({"severity": severity} if severity else {}) | ({"meta": meta} if meta else {})
