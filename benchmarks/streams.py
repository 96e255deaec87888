"""Streams of transactions that several simulators wrote: assay as `init` sets it up, beside rivals, with intervals.

    python benchmarks/streams.py --data FOLDER --seeds 3 [--stream NAME ...] --json out.json

A stream is a table NAME.parquet and a NAME.json beside it (benchmarks/make_streams.py writes both):

    {"id": "tx", "label": "is_fraud", "ignored": ["how"], "cards": "card", "scenario": "how", "role": "choosing",
     "train": ["2026-01-12", "2026-01-25"], "test": ["2026-02-02", "2026-02-11"], "note": "where it is from"}

The days are inclusive. `ignored` are the columns that give the label away. `cards` is what a team reviews, else the
first entity; `scenario` says how a row came to be a fraud, where the table knows; `role` says whether defaults were
chosen on the stream or are only reported on it. For each stream: the configuration is the one that `assay init`
writes, all earlier rows are history, the training is as of the first test day, and rows that validation keeps out are
counted and not measured. No card is left out. The rivals, all as of that day:

- isolation forest (normal rows of the training days) and boosted trees (their labels), each on the same features, on
  all families of all entities, and on the columns as they are with the hour of day
- rows sorted by amount, by their rarest category, by the number of rows that the same entity had just before

Where twice ten frauds of the training days are known, a further line is the one-class score raised by what ten of them
have in common, drawn at random ten times.

Intervals hold nine of ten bootstrap draws: of whole cards, or of days for card precision@100. A difference is that of
assay, or of its one-class score alone, to a rival, both on the same draws. The last lines are geometric means over the
streams, of average precision.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.calibration.intervals import rank_for_rate, realised_count
from pipeline.detector.artefact import Detector
from pipeline.detector.feedback import FRAUDS_TO_WEIGH, ROWS_TO_WEIGH
from pipeline.detector.parts import EARLY_STOPPING, split
from pipeline.detector.traits import Traits
from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import Interval, bootstrap, bootstrap_all
from pipeline.evaluation.cards import card_precision_by_day
from pipeline.evaluation.ranking import Ranking
from pipeline.features import Feature, compute, list_features
from pipeline.inference.roles import infer
from pipeline.labels.known import Labels
from pipeline.settings.config import FAMILIES, Config, TableConfig
from pipeline.tables.parquet import read_batches
from pipeline.tables.reading import open_table
from pipeline.validation.validate import Validated, validate

DAY = timedelta(days=1)
K = 100
SLOW = ("rank", "robust")
"""Families that cost more time than all others together, and that are left out of "all features"."""
MOST_VALUES = 250
"""Of a category with more values, the rarer ones are one."""
OURS, ALONE = "assay", "assay, no labels but in risks"
"""With what the labels of the training days add, and the one-class score alone."""
FEW, FEW_DRAWS = "assay, ten known frauds", 10
HOUR, RAW = "hour of day", "columns and hour"
MEMORY = "6GB"


@dataclass(frozen=True)
class Stream:
    """A stream: a table, and what its JSON says of it."""

    name: str
    table: Path
    id: str
    label: str
    train: tuple[date, date]
    test: tuple[date, date]
    ignored: tuple[str, ...] = ()
    cards: str = ""
    scenario: str = ""
    role: str = ""
    note: str = ""

    @classmethod
    def read(cls, path: Path) -> "Stream":
        """Read the JSON file beside a table."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        try:
            raw |= {part: tuple(map(date.fromisoformat, raw[part])) for part in ("train", "test")}
            raw |= {"ignored": tuple(raw.get("ignored", ())), "name": path.stem, "table": path.with_suffix(".parquet")}
            return cls(**raw)
        except (KeyError, TypeError, ValueError) as error:
            raise SystemExit(f"{path} is no description of a stream ({error}); see --help for its fields") from None

    @property
    def as_of(self) -> datetime:
        """When the training happens: the first moment of the test."""
        return midnight(self.test[0])


@dataclass(frozen=True)
class Part:
    """Feature tables of the training and the test days, and the features in them."""

    train: pa.Table
    test: pa.Table
    features: list[Feature]


@dataclass(frozen=True)
class Prepared:
    """A stream, its configuration, and its feature tables by what they hold: the same features, all, the columns."""

    stream: Stream
    config: Config
    warnings: list[str]
    parts: dict[str, Part]
    quarantined: int
    quarantined_frauds: int

    @property
    def train_labels(self) -> np.ndarray:
        """Labels of the training rows as of the first test day; nan where not known."""
        return Labels(self.config).known(self.parts["same features"].train, self.stream.as_of)

    @property
    def fraud(self) -> np.ndarray:
        """Which test rows are fraud."""
        return np.asarray(Labels(self.config).known(self.parts["same features"].test, datetime(9000, 1, 1)) == 1)

    @property
    def cards(self) -> np.ndarray:
        """What a team reviews, for each test row; the row itself where the table has no entity."""
        test = self.parts["same features"].test
        return np.asarray(test[card_column(self.stream, self.config)].to_pandas().to_numpy())

    @property
    def days(self) -> np.ndarray:
        """The day of each test row."""
        at = self.parts["same features"].test[self.config.contract.timestamp]
        return at.to_numpy().astype("datetime64[D]")


def midnight(day: date) -> datetime:
    """Return the first moment of a day."""
    return datetime(day.year, day.month, day.day)


def note(text: str) -> None:
    """Say on the error stream how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def find_streams(folder: Path, names: Sequence[str] | None) -> list[Stream]:
    """Return the streams of a folder, or those that are named."""
    there = {path.stem: path for path in sorted(folder.glob("*.json")) if path.with_suffix(".parquet").exists()}
    absent = [name for name in names or () if name not in there]
    if absent or not there:
        what = f"no stream {absent[0]!r}" if absent else "no NAME.parquet with a NAME.json beside it"
        raise SystemExit(f"{folder} has {what}; it has {', '.join(there) or 'none'}")
    return [Stream.read(there[name]) for name in names or there]


def all_families(config: Config) -> Config:
    """Return the configuration with every family of every entity that yields a feature, but the slow ones."""

    def with_families(families: Sequence[str]) -> Config:
        return config.model_copy(
            update={
                "features": config.features.model_copy(
                    update={
                        "families": tuple(families),
                        "aggregates": ("count", "mean", "distinct"),
                        "memory_limit": MEMORY,
                    }
                )
            }
        )

    useful = [name for name in FAMILIES if name not in SLOW and list_features(with_families([name]))]
    return with_families(useful)


def card_column(stream: Stream, config: Config) -> str:
    """Return the column that says whom a team reviews; the id where the table has no entity."""
    return stream.cards or (config.contract.entities or (config.contract.id,))[0]


def accept(stream: Stream, folder: Path, *, few_features: bool) -> tuple[Config, list[str], Validated]:
    """Infer the configuration of a stream, with what `init` warns of, and validate its rows."""
    table = open_table(stream.table, TableConfig())
    config, _, warnings = infer(
        table,
        settings=TableConfig(),
        id=stream.id,
        label=stream.label,
        ignore=list(stream.ignored),
        few_features=few_features,
    )
    now = midnight(stream.test[1]) + 366 * DAY
    return config, warnings, validate(table, config, folder=folder / "rows", batch_id=stream.name, now=now)


def prepare(stream: Stream, folder: Path, *, few_features: bool = False) -> Prepared:
    """Infer the configuration of a stream, validate its rows, and compute its features."""
    config, warnings, validated = accept(stream, folder, few_features=few_features)
    rows = between(validated.accepted, stream.train[0], stream.test[1], config)
    pq.write_table(rows, folder / "needed.parquet")
    parts = {}
    for name, settings in (("same features", config), ("all features", all_families(config))):
        path = compute(folder / "needed.parquet", [validated.accepted], settings, folder / f"{name}.parquet")
        train, test = (between(path, *days, config) for days in (stream.train, stream.test))
        parts[name] = Part(train, test, list_features(settings))
    if not parts["same features"].train.num_rows or not parts["same features"].test.num_rows:
        raise SystemExit(f"{stream.name}: no row in its training or its test days; look at {stream.table}")
    parts[RAW] = raw_columns(parts["same features"], stream, config, rows.schema.names)
    left_out = _left_out(validated.quarantine, stream, config)
    return Prepared(stream, config, warnings, parts, len(left_out), int(left_out.sum()))


def between(rows: Path, first: date, last: date, config: Config) -> pa.Table:
    """Return the rows of some days, both inclusive."""
    at = config.contract.timestamp
    return pq.read_table(rows, filters=[(at, ">=", midnight(first)), (at, "<", midnight(last) + DAY)])


def _left_out(quarantine: Path, stream: Stream, config: Config) -> np.ndarray:
    """Return, for each quarantined row of the test days, whether it is fraud."""
    frame = pq.read_table(quarantine, columns=[config.contract.timestamp, stream.label]).to_pandas()
    moment = pd.to_datetime(frame[config.contract.timestamp], errors="coerce")
    inside = (moment >= midnight(stream.test[0])) & (moment < midnight(stream.test[1]) + DAY)
    return frame.loc[inside, stream.label].astype(str).isin(["1", "1.0", "True", "true"]).to_numpy()


def raw_columns(part: Part, stream: Stream, config: Config, columns: Sequence[str]) -> Part:
    """Return the table's columns as they are, those that `init` ignores included, and the hour of day."""
    contract = config.contract
    others = {contract.id, contract.timestamp, stream.label, *stream.ignored, *contract.entities, HOUR}
    features = [Feature(HOUR, "number", "cycle", HOUR, "", period=24.0)]
    for field in part.train.schema:
        if field.name in others or field.name not in columns:
            continue
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            scale = "log" if field.name == contract.amount else "linear"
            features.append(Feature(field.name, "number", scale, field.name, ""))  # type: ignore[arg-type]
        elif len(pc.unique(part.train[field.name])) <= 4 * MOST_VALUES and not pa.types.is_timestamp(field.type):
            features.append(Feature(field.name, "category", "linear", field.name, ""))
    names = [feature.column for feature in features if feature.column != HOUR]

    def with_hour(rows: pa.Table) -> pa.Table:
        at = rows[contract.timestamp]
        return rows.select(names).append_column(HOUR, pc.add(pc.hour(at), pc.divide(pc.minute(at), 60.0)))

    return Part(with_hour(part.train), with_hour(part.test), features)


def matrices(part: Part) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the training and the test rows as numbers, and which columns are codes of categories.

    A code is the place of a value among the most frequent ones of the training rows.
    """
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    codes = []
    for feature in part.features:
        train, test = (rows[feature.column].to_pandas() for rows in (part.train, part.test))
        if feature.kind == "category":
            places = {value: place for place, value in enumerate(train.value_counts().index[: MOST_VALUES - 1])}
            codes.append(len(columns))
            columns.append(tuple(each.map(places).fillna(len(places)).to_numpy(np.float64) for each in (train, test)))
            continue
        numbers = [pd.to_numeric(each).to_numpy(np.float64, na_value=np.nan) for each in (train, test)]
        columns += [(scale(numbers[0]), scale(numbers[1])) for scale in _scales(feature)]
    return np.column_stack([pair[0] for pair in columns]), np.column_stack([pair[1] for pair in columns]), codes


def _scales(feature: Feature) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return what the encoder does to a number, too; a cycle has two columns."""
    if feature.scale == "log":
        return [lambda values: np.sign(values) * np.log1p(np.abs(values))]
    if feature.scale == "cycle":
        turn = 2 * np.pi / feature.period
        return [lambda values: np.sin(values * turn), lambda values: np.cos(values * turn)]
    return [lambda values: values]


def forest(part: Part, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the scores of an isolation forest that the normal training rows grew; the median where not known."""
    from sklearn.ensemble import IsolationForest

    train, test, _ = matrices(part)
    with np.errstate(all="ignore"):
        middle = np.nan_to_num(np.nanmedian(np.where(np.isfinite(train), train, np.nan), axis=0))
    train, test = (np.where(np.isfinite(rows), rows, middle) for rows in (train, test))
    return -np.asarray(IsolationForest(random_state=seed).fit(train[labels == 0]).score_samples(test))


def trees(part: Part, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the probabilities of gradient-boosted trees that saw the labels of the training rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    train, test, codes = matrices(part)
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_leaf_nodes=15, categorical_features=codes, random_state=seed
    )
    rows = ~np.isnan(labels)
    if len(np.unique(labels[rows])) < 2:
        return np.zeros(len(test))
    return np.asarray(model.fit(train[rows], labels[rows]).predict_proba(test)[:, 1])


def rarest_category(part: Part) -> np.ndarray | None:
    """Return how rare each row's rarest category was in the training days, as a negative logarithm."""
    rarity = []
    for feature in part.features:
        if feature.kind == "category":
            share = part.train[feature.column].to_pandas().value_counts(normalize=True, dropna=False)
            values = part.test[feature.column].to_pandas().map(share).astype(float)
            rarity.append(-np.log(values.fillna(0.5 / part.train.num_rows).to_numpy()))
    return np.max(rarity, axis=0) if rarity else None


def velocity(part: Part) -> np.ndarray | None:
    """Return the highest pace of the last hour that a row's entities had."""
    names = [feature.column for feature in part.features if feature.name.endswith("pace of the last hour")]
    if not names:
        return None
    return np.nan_to_num(np.column_stack([part.test[name].to_numpy() for name in names]), nan=0.0).max(axis=1)


def rivals(ready: Prepared, seeds: int) -> dict[str, list[np.ndarray]]:
    """Return the scores of each rival, one array a seed; rivals without chance have one."""
    labels, scores = ready.train_labels, {}
    for name, part in ready.parts.items():
        scores[f"isolation forest, {name}"] = [forest(part, labels, seed) for seed in range(seeds)]
    for name, part in ready.parts.items():
        scores[f"boosted trees (labels), {name}"] = [trees(part, labels, seed) for seed in range(seeds)]
    plain = {
        "sort by amount": np.abs(ready.parts[RAW].test[ready.config.contract.amount].to_numpy().astype(np.float64)),
        "sort by rarest category": rarest_category(ready.parts[RAW]),
        "sort by velocity": velocity(ready.parts["all features"]),
    }
    return scores | {name: [np.nan_to_num(each)] for name, each in plain.items() if each is not None}


@dataclass(frozen=True)
class Run:
    """What one seed of assay said of the test rows."""

    scores: np.ndarray
    alone: np.ndarray
    few: list[np.ndarray]
    flags: np.ndarray
    promise: float
    calibration_rows: int
    labels: str


def assay(ready: Prepared, seed: int, folder: Path) -> Run:
    """Train on the training days and score the test days."""
    config = ready.config.model_copy(update={"model": ready.config.model.model_copy(update={"seed": seed})})
    part = ready.parts["same features"]
    for name, rows in (("train", part.train), ("test", part.test)):
        pq.write_table(rows, folder / f"{name}.parquet")
    detector = Detector.fit(folder / "train.parquet", config, Labels(config), ready.stream.as_of)
    scored = detector.score(read_batches(folder / "test.parquet"))
    scores = np.concatenate([batch.column("anomaly_score").to_numpy() for batch in scored])
    flags, _ = detector.flag(scores)
    return Run(
        scores=scores,
        alone=np.asarray(detector.model.anomaly_score(detector.encoder.transform(part.test)), np.float64),
        few=with_few_frauds(detector, folder / "train.parquet", part.test, ready.stream.as_of),
        flags=flags,
        promise=config.threshold.false_alert_rate,
        calibration_rows=int(detector.held_out.normal.sum()),
        labels=str(detector.summary.get("feedback", "")),
    )


def with_few_frauds(detector: Detector, train: Path, test: pa.Table, as_of: datetime) -> list[np.ndarray]:
    """Return the scores of the test rows if only ten frauds of the training days were known, for ten draws of them."""
    parts, rows = split(train, detector.config, Labels(detector.config), as_of), pq.read_table(train)
    if np.count_nonzero(parts.labels == 1) < 2 * FRAUDS_TO_WEIGH:
        return []
    tables = rows.filter(pa.array(parts.labels == 1)), rows.filter(pa.array(parts.role == EARLY_STOPPING)), test
    frauds, normal, matrix = (detector.encoder.transform(table) for table in tables)
    normal, random = normal[:: -(-len(normal) // ROWS_TO_WEIGH)], np.random.default_rng(detector.config.model.seed)
    scores = []
    for _ in range(FEW_DRAWS):
        some = frauds[random.choice(len(frauds), FRAUDS_TO_WEIGH, replace=False)]
        scores.append(Traits.fit(detector.model, normal, some, detector.one_class).both(detector.model, matrix)[0])
    return scores


def measure(ready: Prepared, scores: Mapping[str, list[np.ndarray]], draws: int) -> list[dict[str, Any]]:
    """Return AUROC, average precision and card precision of each model, and how far the two of ours are ahead."""
    fraud, cards, days = ready.fraud, ready.cards, ready.days
    rankings = [[Ranking(each, fraud) for each in by_seed] for by_seed in scores.values()]

    def metrics(draw: np.ndarray) -> np.ndarray:
        values = np.array([np.mean([each.auroc_and_ap(draw) for each in by_seed], axis=0) for by_seed in rankings])
        precision = values[:, 1]
        return np.concatenate([values[:, 0], precision, *(precision[place] - precision for place in ours)])

    ours = [list(scores).index(name) for name in (OURS, ALONE)]
    ends = np.array(bootstrap_all(metrics, cards, draws=draws)).T.reshape(4, len(scores), 3)
    records = []
    for place, (name, by_seed) in enumerate(scores.items()):
        daily = [card_precision_by_day(days, cards, each, fraud, k=K) for each in by_seed]
        precision = np.mean([each.precision for each in daily], axis=0)
        queue = bootstrap(_mean_of(precision), daily[0].days, draws=draws)
        record: dict[str, Any] = {"stream": ready.stream.name, "role": ready.stream.role, "model": name}
        names = ("auroc", "average_precision", "assay_ahead", "alone_ahead")
        named = {each: ends[row, place] for row, each in enumerate(names)}
        named[f"card_precision_at_{K}"] = np.array([queue.value, queue.low, queue.high])
        for metric, (value, low, high) in named.items():
            record |= {metric: float(value), f"{metric}_low": float(low), f"{metric}_high": float(high)}
        records.append(record | {"seeds": len(by_seed), "test_rows": len(fraud), "test_frauds": int(fraud.sum())})
    return records


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda draw: float(np.average(values, weights=draw))


def alerts(ready: Prepared, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the share of rows flagged: of normal rows beside the promise, then of each scenario."""
    fraud, shared = ready.fraud, {"stream": ready.stream.name, "model": OURS}
    flags = np.mean([run.flags for run in runs], axis=0)
    n, normal = runs[0].calibration_rows, int((~fraud).sum())
    k = rank_for_rate(n, runs[0].promise)
    low, high = realised_count(n, k, normal) if k else (math.nan, math.nan)
    records: list[dict[str, Any]] = [
        shared
        | {
            "false_alert_rate": float(flags[~fraud].mean()),
            "promised": runs[0].promise,
            "promised_low": low / normal,
            "promised_high": high / normal,
            "normal_rows": normal,
        }
    ]
    test = ready.parts["same features"].test
    kinds = test[ready.stream.scenario].to_pandas().astype(str) if ready.stream.scenario else pd.Series(fraud)
    names = kinds.where(pd.Series(fraud), "") if ready.stream.scenario else kinds.map({True: "fraud", False: ""})
    for name in sorted(set(names) - {""}):
        rows = (names == name).to_numpy()
        records.append(shared | {"scenario": name, "rows": int(rows.sum()), "flagged": float(flags[rows].mean())})
    return records


def setup(ready: Prepared) -> dict[str, Any]:
    """Return what `init` made of the table."""
    contract = ready.config.contract
    return {
        "stream": ready.stream.name,
        "role": ready.stream.role,
        "note": ready.stream.note,
        "train": [str(day) for day in ready.stream.train],
        "test": [str(day) for day in ready.stream.test],
        "entities": list(contract.entities),
        "categorical": list(contract.categorical),
        "numeric": list(contract.numeric),
        "families": list(ready.config.features.families),
        "quarantined": ready.quarantined,
        "quarantined_frauds": ready.quarantined_frauds,
    }


def run(streams: Sequence[Stream], *, seeds: int, draws: int, few_features: bool = False) -> list[dict[str, Any]]:
    """Return the records of all streams, and print the table of each when it is complete."""
    records: list[dict[str, Any]] = []
    for stream in streams:
        with tempfile.TemporaryDirectory() as scratch:
            note(f"{stream.name}: rows and features")
            try:
                ready = prepare(stream, Path(scratch), few_features=few_features)
                note(f"{stream.name}: assay, {seeds} seeds")
                runs = [assay(ready, seed, Path(scratch)) for seed in range(seeds)]
            except InputError as error:
                raise SystemExit(f"{stream.name}: {error}") from None
            note(f"{stream.name}: rivals, {seeds} seeds")
            ours = {OURS: [each.scores for each in runs], ALONE: [each.alone for each in runs]}
            few = [scores for each in runs for scores in each.few]
            scores = {**ours, **({FEW: few} if few else {}), **rivals(ready, seeds)}
            note(f"{stream.name}: measures")
            of_stream = [setup(ready), *measure(ready, scores, draws), *alerts(ready, runs)]
        show(of_stream, runs[0].labels)
        records += of_stream
    means = geometric_means(records)
    show_means(means, [stream.name for stream in streams])
    return records + means


def interval(record: Mapping[str, Any], metric: str) -> str:
    """Write a metric of a record with its interval."""
    return str(Interval(*(record[f"{metric}{end}"] for end in ("", "_low", "_high"))))


def show(records: Sequence[Mapping[str, Any]], labels: str) -> None:
    """Print what became of one stream, and what its labels bought."""
    first, models = records[0], [record for record in records if "auroc" in record]
    role = f", for {first['role']}" if first["role"] else ""
    print(f"\n{first['stream']}{role}: train {' to '.join(first['train'])}, test {' to '.join(first['test'])}")
    print(f"  {models[0]['test_rows']:,} test rows, {models[0]['test_frauds']:,} frauds; {first['note']}")
    for name in ("entities", "categorical", "numeric", "families"):
        print(f"  {name}: {', '.join(first[name]) or 'none'}")
    if first["quarantined"]:
        print(f"  kept out by validation: {first['quarantined']:,} test rows, {first['quarantined_frauds']:,} frauds")
    if labels:
        print(f"  labels: {labels}")
    heads = ("AUROC", "average precision", f"card precision@{K}", "ahead of it in AP:", "without labels:")
    print(f"\n  {'':42}{''.join(f'{head:24}' for head in heads)}".rstrip())
    for record in models:
        figures = [interval(record, name) for name in ("auroc", "average_precision", f"card_precision_at_{K}")]
        if record["model"] not in (OURS, ALONE):
            figures += [interval(record, name) for name in ("assay_ahead", "alone_ahead")]
        print(f"  {record['model']:42}{''.join(f'{figure:24}' for figure in figures)}".rstrip())
    for record in records:
        if "false_alert_rate" in record:
            print(
                f"\n  false alerts: {record['false_alert_rate']:.2%} of {record['normal_rows']:,} normal rows, "
                f"promised {record['promised']:.2%} ({record['promised_low']:.2%} to {record['promised_high']:.2%})"
            )
        elif "scenario" in record:
            print(f"  flagged of {record['scenario']:30}{record['flagged']:8.1%} of {record['rows']:,}")
    sys.stdout.flush()


def geometric_means(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each model's geometric mean of average precision over the streams that it scored."""
    values: dict[str, list[float]] = {}
    for record in records:
        if "average_precision" in record:
            values.setdefault(record["model"], []).append(record["average_precision"])
    return [
        {
            "stream": "geometric mean",
            "model": model,
            "average_precision": math.exp(sum(math.log(max(value, 1e-6)) for value in each) / len(each)),
            "streams": len(each),
        }
        for model, each in values.items()
    ]


def show_means(means: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Print the geometric means."""
    print(f"\ngeometric mean of average precision over {', '.join(names)}")
    for record in means:
        fewer = f"  (of {record['streams']})" if record["streams"] < len(names) else ""
        print(f"  {record['model']:42}{record['average_precision']:.3f}{fewer}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of streams")
    parser.add_argument("--stream", action="append", help="name of one; may be repeated; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of assay and of the rivals, 0 and up")
    parser.add_argument("--draws", type=int, default=300, help="bootstrap draws of each interval")
    parser.add_argument("--few-features", action="store_true", help="as `assay init --few-features` sets it up")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    records = run(
        find_streams(arguments.data, arguments.stream),
        seeds=arguments.seeds,
        draws=arguments.draws,
        few_features=arguments.few_features,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
