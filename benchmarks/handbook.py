"""The Fraud Detection Handbook's transactions, one-class, by the book's own protocol, beside its published figures.

    python benchmarks/handbook.py --data FILE_OR_FOLDER --week 2018-07-11 --week 2018-07-25 --seeds 3 --json out.json

For each week D: train on the normal rows of the 7 days from D, as of D + 14 days, when their labels are known;
leave out the 7 days of the label delay; test on the 7 days from D + 14. Rows of test day t whose customer had a
fraud on any of the days D to t - 8 are left out: those cards are known by then. Without --config the configuration
is the one that `assay init` writes. Each family of features is left out in turn, too, unless --no-ablation is given.

The data: a table with the columns of the book's simulator. The mark to reach is scikit-learn's gradient-boosted
trees, which see the same features and the frauds of the training week.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.evaluation.metrics import auroc, average_precision, card_precision_at_k
from pipeline.features import compute, list_features
from pipeline.inference.roles import infer
from pipeline.labels.known import Labels
from pipeline.settings.config import ENTITY_FAMILIES, Config, TableConfig
from pipeline.settings.file import read_config
from pipeline.tables.parquet import read_batches
from pipeline.tables.parsing import parse, typed_schema
from pipeline.tables.reading import open_table
from pipeline.tables.writing import ParquetWriter

CUSTOMER, LABEL, SCENARIO = "CUSTOMER_ID", "TX_FRAUD", "TX_FRAUD_SCENARIO"
DAY = timedelta(days=1)
METRICS = ("auroc", "average_precision", "card_precision_at_100")
PUBLISHED = [  # Fraud Detection Handbook, chapters 3, 4 and 7: the week D, then the metrics
    ("isolation forest", "2018-07-11", 0.808, 0.164, 0.190),
    ("autoencoder, 15 features", "2018-07-11", 0.836, 0.180, 0.217),
    ("supervised network", "2018-07-11", 0.859, 0.646, 0.280),
    ("supervised logistic regression", "2018-07-25", 0.871, 0.606, 0.291),
    ("supervised random forest", "2018-07-25", 0.867, 0.658, 0.287),
    ("supervised boosted trees", "2018-07-25", 0.862, 0.639, 0.273),
]
TEST_SETS = {date(2018, 7, 11): (58_505, 374), date(2018, 7, 25): (58_264, 385)}


@dataclass(frozen=True)
class Week:
    """Feature tables of the training week from `first` and of the test week 14 days later."""

    first: date
    train: Path
    test: Path

    @property
    def as_of(self) -> datetime:
        """When the labels of the training week are known and the test week starts."""
        return midnight(self.first) + 14 * DAY


def midnight(day: date) -> datetime:
    """Return the first moment of a day."""
    return datetime(day.year, day.month, day.day)


def configuration(data: Path) -> Config:
    """Return the configuration that `assay init` writes for the data."""
    names = open_table(data, TableConfig()).schema.names
    ignored = [SCENARIO] if SCENARIO in names else []
    return infer(open_table(data, TableConfig()), settings=TableConfig(), label=LABEL, ignore=ignored)[0]


def accept(data: Path, config: Config, out: Path) -> Path:
    """Write the rows of the data that can be parsed, typed."""
    table = open_table(data, config.table)
    with ParquetWriter(out, typed_schema(table.schema, config)) as writer:
        for batch in table.batches(config.validation.batch_rows):
            typed, failed = parse(batch, config)
            bad = np.logical_or.reduce([np.zeros(typed.num_rows, bool), *failed.values()])
            writer.write(typed.select(writer.schema.names).filter(pa.array(~bad)))
    return out


def between(rows: Path, first: date, days: int, config: Config) -> pa.Table:
    """Return the rows of some days."""
    at = config.contract.timestamp
    start = midnight(first)
    return pq.read_table(rows, filters=[(at, ">=", start), (at, "<", start + days * DAY)])


def prepare(accepted: Path, first: date, config: Config, folder: Path) -> Week:
    """Compute the features of a week's training and test rows, all earlier rows being their history."""
    rows = between(accepted, first, 21, config)
    if not rows.num_rows:
        raise SystemExit(f"{first}: the data have no row in the three weeks from that day; name another --week")
    pq.write_table(rows, folder / "rows.parquet")
    features = compute(folder / "rows.parquet", [accepted], config, folder / f"{first}.parquet")
    week = Week(first, folder / f"{first}-train.parquet", folder / f"{first}-test.parquet")
    pq.write_table(between(features, first, 7, config), week.train)
    test = between(features, first + 14 * DAY, 7, config)
    pq.write_table(test.filter(pa.array(~found_before(rows, test, config))), week.test)
    return week


def found_before(rows: pa.Table, test: pa.Table, config: Config) -> np.ndarray:
    """Return which test rows belong to a customer with a fraud eight days before or earlier, from D on."""
    at = config.contract.timestamp
    frauds = pd.DataFrame({"at": rows[at], "customer": rows[CUSTOMER], "fraud": rows[LABEL]}).query("fraud == 1")
    earliest = pd.to_datetime(frauds.groupby("customer")["at"].min()).dt.floor("D")
    first_fraud = test[CUSTOMER].to_pandas().map(earliest)
    day = pd.to_datetime(test[at].to_pandas()).dt.floor("D")
    return np.asarray(first_fraud <= day - 8 * pd.Timedelta(DAY))


def measure(test: Path, scores: np.ndarray, config: Config) -> dict[str, float]:
    """Return the three metrics of scores on a test week."""
    rows = pq.read_table(test, columns=[config.contract.timestamp, CUSTOMER, LABEL])
    fraud = rows[LABEL].to_numpy()
    days = rows[config.contract.timestamp].to_numpy().astype("datetime64[D]")
    values = (
        auroc(scores, fraud),
        average_precision(scores, fraud),
        card_precision_at_k(days, rows[CUSTOMER].to_numpy(), scores, fraud, k=100),
    )
    return dict(zip(METRICS, values, strict=True))


def assay(week: Week, config: Config, seed: int) -> dict[str, float]:
    """Fit the Detector on the training week and measure it on the test week."""
    config = config.model_copy(update={"model": config.model.model_copy(update={"seed": seed})})
    detector = Detector.fit(week.train, config, Labels(config), week.as_of)
    scored = detector.score(read_batches(week.test))
    scores = np.concatenate([batch.column("anomaly_score").to_numpy() for batch in scored])
    return measure(week.test, scores, config)


def boosted_trees(week: Week, config: Config, seed: int) -> dict[str, float]:
    """Fit gradient-boosted trees on the same features, with the labels, and measure them."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = list(dict.fromkeys(feature.column for feature in list_features(config)))

    def matrix(path: Path) -> pd.DataFrame:
        frame = pq.read_table(path, columns=columns).to_pandas()
        for feature in list_features(config):
            if feature.kind == "category":
                frame[feature.column] = frame[feature.column].astype("category")
        return frame

    labels = Labels(config).known(pq.read_table(week.train), week.as_of)
    known = ~np.isnan(labels)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_leaf_nodes=15, categorical_features="from_dtype", random_state=seed
    )
    trees.fit(matrix(week.train)[known], labels[known])
    return measure(week.test, trees.predict_proba(matrix(week.test))[:, 1], config)


def record(week: Week, model: str, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return a row of the table: means over the seeds, and their standard deviations."""
    figures: dict[str, Any] = {name: float(np.mean([item[name] for item in found])) for name in METRICS}
    figures |= {f"{name}_std": float(np.std([item[name] for item in found])) for name in METRICS}
    labels = pq.read_table(week.test, columns=[LABEL])[LABEL].to_numpy()
    return {
        "model": model,
        "source": "measured",
        "week": str(week.first),
        "test_week": str(week.first + 14 * DAY),
        **figures,
        "seeds": len(found),
        "test_rows": len(labels),
        "test_frauds": int(labels.sum()),
    }


def ablations(config: Config) -> list[tuple[str, Config]]:
    """Return the configurations with one family left out, in turn."""
    declared: list[str] = []
    for item in config.features.families:
        spread = item in ENTITY_FAMILIES and len(config.contract.entities) > 1
        declared += [f"{item}:{entity}" for entity in config.contract.entities] if spread else [item]
    made = [(f"  without {item}", [other for other in declared if other != item]) for item in declared]
    return [(name, with_families(config, families)) for name, families in made if families]


def with_families(config: Config, families: Sequence[str]) -> Config:
    """Return the configuration with other families of features."""
    return config.model_copy(update={"features": config.features.model_copy(update={"families": tuple(families)})})


def note(text: str) -> None:
    """Say on the error stream how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(data: Path, weeks: Sequence[date], config: Config, *, seeds: int, ablation: bool) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        note("reading")
        accepted = accept(data, config, folder / "accepted.parquet")
        for first in weeks:
            note(f"{first}: features")
            week = prepare(accepted, first, config, folder)
            for name, chosen in [("assay", config), *(ablations(config) if ablation else [])]:
                note(f"{first}: {name.strip()}, {seeds} seeds")
                records.append(record(week, name, [assay(week, chosen, seed) for seed in range(seeds)]))
            note(f"{first}: boosted trees, {seeds} seeds")
            trees = [boosted_trees(week, config, seed) for seed in range(seeds)]
            records.append(record(week, "boosted trees, supervised, same features", trees))
            for model, day, *figures in PUBLISHED:
                if day == str(first):
                    shown = {"model": model, "source": "published", "week": day, "test_week": str(first + 14 * DAY)}
                    records.append(shown | dict(zip(METRICS, figures, strict=True)))
    return records


def show(records: list[dict[str, Any]], config: Config) -> None:
    """Print the table, the published rows beside ours, and whether the test sets are the book's."""
    print("features: " + ", ".join(feature.name for feature in list_features(config)))
    print(f"\n{'test week':11}{'model':44}{'AUROC':>8}{'AP':>8}{'CP@100':>8}  source")
    for item in records:
        values = "".join(f"{item[name]:8.3f}" for name in METRICS)
        source = item["source"] if "seeds" not in item else f"mean of {item['seeds']} seeds"
        print(f"{item['test_week']:11}{item['model']:44}{values}  {source}")
    print()
    for day, rows, frauds in sorted({(i["week"], i["test_rows"], i["test_frauds"]) for i in records if "seeds" in i}):
        line = f"week {day}: {rows:,} test rows with {frauds:,} frauds"
        if date.fromisoformat(day) in TEST_SETS:
            expected = TEST_SETS[date.fromisoformat(day)]
            same = "the same" if (rows, frauds) == expected else "DIFFERENT, so the published rows do not compare"
            line += f"; the book's has {expected[0]:,} with {expected[1]:,}: {same}"
        print(line)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="file or folder with the handbook's columns")
    parser.add_argument("--week", type=date.fromisoformat, action="append", required=True, help="D; may be repeated")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the model, 0 and up")
    parser.add_argument("--config", type=Path, help="assay.toml; without it, what `assay init` would write")
    parser.add_argument(
        "--ablation", action=argparse.BooleanOptionalAction, default=True, help="leave out each family in turn"
    )
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    config = read_config(arguments.config) if arguments.config else configuration(arguments.data)
    records = run(arguments.data, arguments.week, config, seeds=arguments.seeds, ablation=arguments.ablation)
    show(records, config)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
