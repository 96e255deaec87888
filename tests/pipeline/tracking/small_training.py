"""A small training, to be logged to a real MLflow store."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.features import compute
from pipeline.labels.known import Labels
from pipeline.settings.config import Config
from pipeline.tables.parsing import parse
from pipeline.tracking import store
from pipeline.tracking.words import words_for
from pipeline.workspace.history import History

COUNTS = {"read": 640, "accepted": 600, "quarantined": 10, "outside": 30, "refused": 0}


@dataclass(frozen=True)
class Trained:
    """Config, rows and files of one training."""

    config: Config
    rows: pd.DataFrame
    detector: Detector
    folder: Path

    @property
    def history(self) -> str:
        return str(self.folder / "history")

    def log(self, config: Config | None = None, **changes: object) -> store.Registered:
        """Log this training, under other settings and with other content where they are given."""
        content = {
            "words": words_for(self.detector, {"average precision": "0.25 (0.2 to 0.3)"}),
            "detector_folder": self.folder / "detector",
            "dataset": store.Dataset(str(self.folder / "rows.parquet"), "ab" * 32, COUNTS),
            "epochs": self.detector.epochs,
            "metrics": {"average_precision": 0.25, "card_precision@100": 0.5},
            "params": {"threshold": self.detector.threshold},
            "plots": {"losses": "<svg/>"},
            "report": self.folder / "report.html",
            "tags": {"batch_id": "0123"},
            "input_example": self.rows.head(3),
            "history": self.history,
        }
        return store.log_training(config or self.config, **(content | changes))

    def named(self, name: str) -> Config:
        """Return the config under another model name and experiment, in the same store."""
        tracking = self.config.tracking.model_copy(update={"experiment": name})
        return self.config.model_copy(update={"name": name, "tracking": tracking})


def make_rows(rows: int = 600, days: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    seconds = np.sort(rng.uniform(0, days * 86_400, rows)).round(3)
    at = (pd.Timestamp("2025-01-01") + pd.to_timedelta(seconds, unit="s")).astype("datetime64[us]")
    return pd.DataFrame(
        {
            "tx": np.arange(rows) + 1000,
            "at": at,
            "eur": rng.lognormal(3, 1, rows).round(2),
            "card": [f"card-{number}" for number in rng.integers(0, 15, rows)],
            "channel": rng.choice(["web", "shop"], rows),
            "fraud": (rng.random(rows) < 0.02).astype(int),
        }
    )


def train(folder: Path) -> Trained:
    """Train a Detector on simulated rows and write all that a training run logs."""
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"], "label": "fraud"}
    config = Config.model_validate(
        {
            "name": "cards",
            "work_dir": str(folder),
            "contract": {
                **contract,
                "categorical": ["channel"],
                "types": {"tx": "integer"},
                "sensitive": ["card"],
            },
            "model": {"name": "denoising", "max_epochs": 2, "hidden": [8], "code_size": 4},
        }
    )
    rows = make_rows()
    typed, _ = parse(pa.RecordBatch.from_pandas(rows, preserve_index=False), config)
    pq.write_table(pa.Table.from_batches([typed]), folder / "rows.parquet")
    History(folder / "history", config).append(folder / "rows.parquet", "b1")
    compute(folder / "rows.parquet", [], config, folder / "features.parquet")
    detector = Detector.fit(folder / "features.parquet", config, Labels(config), datetime(2025, 3, 1))
    detector.save(folder / "detector")
    (folder / "report.html").write_text("<p>report</p>")
    return Trained(config, rows, detector, folder)
