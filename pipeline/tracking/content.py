"""What a training run holds, in MLflow's terms: parameters, metrics, dataset, signature, input example."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from pipeline.errors import plain
from pipeline.settings.config import Config
from pipeline.settings.contract import Contract
from pipeline.settings.output import FIGURES
from pipeline.settings.sensitive import STAND_INS, without_password
from pipeline.tables.made import parts_of

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput, Metric
    from mlflow.models import ModelSignature

_COLUMN_TYPES = {
    "integer": "long",
    "text": "string",
    "number": "double",
    "timestamp": "datetime",
    "label": "long",
}


ALWAYS = ("model.name", "threshold.strategy")
"""Settings that every run shows."""
ELSEWHERE = ("name", "work_dir", "columns", "tracking.", "table.path", "table.incoming")
"""Settings that a run shows in other places, or that say nothing about it."""


@dataclass(frozen=True)
class Dataset:
    """A dataset: the table that a training read, as MLflow's run page shows it.

    Attributes
    ----------
    source : str
        Absolute path of the file or folder.
    digest : str
        SHA-256 of its content, from ``Table.digest``.
    counts : mapping of str to int
        Rows read, accepted, quarantined, outside the period, refused.
    """

    source: str
    digest: str
    counts: Mapping[str, int]


def key(name: str) -> str:
    """Return a name with only the characters that MLflow allows in one.

    Examples
    --------
    >>> key("card_precision@100")
    'card_precision_at_100'
    """
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"), flags=re.ASCII)


def flatten(section: BaseModel, prefix: str = "") -> dict[str, object]:
    """Return every setting of a config by its dotted name; lists and mappings become JSON.

    Examples
    --------
    >>> flatten(Config(contract=Contract(id="tx", timestamp="at", amount="eur")))["threshold.strategy"]
    'false_alert_rate'
    """
    flat: dict[str, object] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            is_many = isinstance(value, tuple | dict)
            flat[prefix + name] = json.dumps(section.model_dump(mode="json")[name]) if is_many else value
    return flat


def notable(config: Config) -> dict[str, object]:
    """Return the settings that say what a run is: model, threshold, and whatever differs from the defaults.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur")
    >>> notable(Config(contract=contract, name="cards", features={"history_days": 3}))
    {'features.history_days': 3, 'model.name': 'denoising', 'threshold.strategy': 'false_alert_rate'}
    """
    contract = Contract(id=config.contract.id, timestamp=config.contract.timestamp, amount=config.contract.amount)
    usual = flatten(Config(contract=contract))
    return {
        name: value
        for name, value in flatten(config).items()
        if name in ALWAYS or (value != usual.get(name) and not name.startswith(ELSEWHERE))
    }


def without_passwords(config: Config) -> Config:
    """Return the config with ``***`` for the passwords in its URLs."""
    tracking = config.tracking
    hidden = {
        "uri": without_password(tracking.uri),
        "ledger_url": without_password(tracking.ledger_url),
    }
    return config.model_copy(update={"tracking": tracking.model_copy(update=hidden)})


def epoch_metrics(epochs: Sequence[Mapping[str, float]], now: int) -> "list[Metric]":
    """Return each epoch's losses as metrics with steps; a loss that was not measured is left out.

    Parameters
    ----------
    epochs : sequence of mappings
        ``{"epoch": 1, "train_loss": ..., "held_out_loss": ...}``
    now : int
        Milliseconds since 1970.
    """
    from mlflow.entities import Metric

    return [
        Metric(key(name), value, now, int(epoch["epoch"]))
        for epoch in epochs
        for name, value in epoch.items()
        if name != "epoch" and value is not None
    ]


def dataset_input(dataset: Dataset, contract: Contract) -> "DatasetInput":
    """Return the dataset with its digest, counts and columns, as used for training."""
    from mlflow.entities import Dataset as Logged
    from mlflow.entities import DatasetInput, InputTag

    columns = [
        {
            "name": name,
            "type": _COLUMN_TYPES[contract.type_of(name)],
            "required": name in contract.required,
        }
        for name in contract.columns
    ]
    logged = Logged(
        name=plain(Path(dataset.source).name),
        digest=dataset.digest[:36],  # MLflow keeps no more
        source_type="local",
        source=json.dumps({"uri": dataset.source}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": dataset.counts.get("read", 0), **dataset.counts, "sha256": dataset.digest}),
    )
    return DatasetInput(logged, [InputTag("mlflow.data.context", "training")])


def signature(config: Config) -> "ModelSignature":
    """Return what the served model takes and gives.

    Inputs are of type "any": with "double", MLflow refuses whole numbers, and all rows for one bad cell;
    pipeline.tables.parsing judges the cells instead, row by row.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    scores = dict.fromkeys(FIGURES, "double")
    kinds = {**scores, "is_flagged": "boolean", "note": "string"}
    outputs = [ColSpec(kind, name) for name, kind in kinds.items()]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name) for name in parts_of(config.contract.required, config.table)]),
        outputs=Schema([ColSpec(AnyType(), config.contract.id), *outputs]),
        params=ParamSchema([ParamSpec("history", "string", "")]),
    )


def example(rows: "pd.DataFrame", config: Config) -> "pd.DataFrame":
    """Return the columns that the served model takes, as JSON has them, with a constant in sensitive ones.

    A sensitive id becomes the row's number, so that ids stay unique.
    """
    contract = config.contract
    cells = rows[list(parts_of(contract.required, config.table))].reset_index(drop=True)
    for name, at in cells.items():
        if at.dtype.kind == "M":
            cells[name] = [
                moment.isoformat() if is_there else None for moment, is_there in zip(at, at.notna(), strict=True)
            ]
    for name in contract.sensitive:
        if name == contract.id:
            cells[name] = cells.index if contract.type_of(name) == "integer" else cells.index.astype(str)
        elif name in cells:
            cells[name] = STAND_INS[contract.type_of(name)]
    return cells
