"""A small alerts table, for the tests of alerts and of the pages that show them."""

from datetime import datetime
from tempfile import TemporaryDirectory

import pyarrow as pa

from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config

WORK = TemporaryDirectory(prefix="assay-")
"""Where the key of pseudonyms is made; gone at exit."""


def config(**contract):
    roles = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ("card",),
        "categorical": ("country",),
        "label": "fraud",
    }
    settings = {"contract": roles | contract, "table": {"time_zone": "Europe/Berlin"}, "work_dir": WORK.name}
    return Config.model_validate(settings)


def reason(column, actual, expected, share, *, text=None):
    text = text or f"{column} {actual}, expected about {expected}"
    return {"column": column, "actual": actual, "expected": expected, "share": share, "text": text}


def alerts_table(rows=3, **cells):
    reasons = [
        reason("eur", "1,240.50", "35.20", 0.625),
        reason("country", "US", "DE", 0.24),
        reason("card: transactions", "14", "1.3", 0.09),
    ]
    row = {
        "tx": 9001,
        "at": datetime(2025, 3, 1, 2, 14, 9),
        "eur": 1240.5,
        "card": 77123,
        "country": "US",
        "fraud": 1,
        "anomaly_score": 412.25,
        "p_value": 0.00002,
        "tail_p_value": 1e-7,
        "reasons": reasons,
        "reason": "eur 1,240.50, expected about 35.20 (62 % of the score).",
    } | cells
    table = pa.Table.from_pylist([row | {"rank": rows - i, "tx": 9000 + rows - i} for i in range(rows)])
    place = table.schema.get_field_index("reasons")
    return table.set_column(place, "reasons", table.column("reasons").cast(REASONS_TYPE))
