"""The command ``assay`` in this process, and the days, settings and labels that several tests run it with."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.commands.label import take_labels

if TYPE_CHECKING:
    from mlflow import MlflowClient

PERIOD = {"first": date(2025, 1, 31), "last": date(2025, 2, 21)}
DAY = date(2025, 3, 1)


def run(*words: str | Path | date, stdin: str = "") -> Result:
    """Run a command; its output is wrapped as in a terminal."""
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


def said(result: Result) -> str:
    """Return what a command said, on one line."""
    return " ".join(result.output.split())


def with_model(folder: Path, model: str) -> Path:
    """Write a folder's configuration with another section [model], and return its path."""
    path = folder / "assay.toml"
    head, _, rest = path.read_text().partition("[model]\n")
    path.write_text(f"{head}[model]\n{model}\n[training]\n{rest.partition('[training]' + chr(10))[2]}")
    return path


def review(home: Path, ids: list[int], labels: list[int], day: str) -> None:
    """Take in labels from review, known since 8 o'clock of a day."""
    columns = {"TRANSACTION_ID": ids, "TX_FRAUD": labels, "labelled_at": [f"{day}T08:00:00Z"] * len(ids)}
    pq.write_table(pa.table(columns), home / f"labels-{day}.parquet")
    take_labels(home / "assay.toml", str(home / f"labels-{day}.parquet"))


def client_of(home: Path) -> "MlflowClient":
    """Return a client of a table's own store, whichever store this process used last."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{home}/assay-data/mlflow.db"
    return MlflowClient(uri, uri)
