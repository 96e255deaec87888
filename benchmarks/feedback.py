"""Weeks of a stream replayed with a team that reviews a queue: does the next week get better by what it labels?

    python benchmarks/feedback.py --data FOLDER --weeks 4 --seeds 5 [--stream NAME ...] --json out.json

A stream is described as for benchmarks/streams.py. The replay begins on the day after its training days, with a model
of the `--train-days` days before. Each day is scored, the `--capacity` customers with the highest scores are reviewed,
and at midnight every row that they had that day has its true label. After a week the model is trained again, on the
last `--train-days` days, as of that midnight. Configuration, features, labels, training and scores are the pipeline's
own. Nothing in it sees another label than these:

- never: what review said, and nothing else; the table has no column of labels
- delay: what review said at once, and the label of every other row after `features.label_delay_days`

Beside each other, each with a queue, and so with labels, of its own:

- no labels: the one-class score, no label at all
- one-class: labels in the risks and in what counts as normal, `[feedback] enabled = false`
- second stage: known frauds count beside the one-class score, as they do by default
- random review: the same, but as many customers drawn by chance are reviewed
- no review: the second stage where every label comes after the delay (delay only)
- trees: supervised, fitted on every label that is known after the delay, the upper mark

Average precision is over all rows of a week, by their true labels. Card precision is that of the `--capacity` highest
customers a day. Money is what the frauds of a day's queue were worth, less ten for each review, a day. Intervals
hold nine of ten bootstrap draws, of cards or, for the latter two, of days; differences are on the same draws.

What a risk is before the first labels, when it is looked at, and which frauds judge were chosen with simulation and
synccfd in view, and one replay of the handbook's stream; sparkov is a report.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from streams import Part, Stream, accept, card_column, find_streams, midnight, note, trees

from pipeline.detector.artefact import Detector
from pipeline.evaluation.bootstrap import bootstrap_all
from pipeline.evaluation.cards import card_precision_by_day
from pipeline.evaluation.ranking import Ranking
from pipeline.features import compute, list_features
from pipeline.labels.known import Labels
from pipeline.settings.config import Config

DAY, WEEK = timedelta(days=1), 7
REVIEW_COST = 10.0
NO_LABELS, TREES = "no labels", "trees on all labels"
ENDS = ("value", "low", "high")
METRICS = ("average_precision", "card_precision", "money")


@dataclass(frozen=True)
class Arm:
    """A way of working: who is reviewed, which labels come without review, and what is made of them."""

    name: str
    review: str = "top"
    rest: str = "never"
    is_second_stage: bool = False

    @property
    def title(self) -> str:
        """Its name, and what becomes of the rows that nobody reviews."""
        return self.name if self.name in (NO_LABELS, TREES) else f"{self.name}, {self.rest}"


BASE, UPPER = Arm(NO_LABELS, review="none"), Arm(TREES, review="none", rest="delay")
ARMS = (
    BASE,
    *(
        arm
        for rest in ("never", "delay")
        for arm in (
            Arm("one-class", rest=rest),
            Arm("second stage", rest=rest, is_second_stage=True),
            Arm("random review", review="random", rest=rest, is_second_stage=True),
        )
    ),
    Arm("no review", review="none", rest="delay", is_second_stage=True),
    UPPER,
)


@dataclass(frozen=True)
class Setting:
    """How a replay goes."""

    weeks: int
    train_days: int
    capacity: int


@dataclass(frozen=True)
class Ready:
    """A stream's rows with their true labels, and all of their features but the risks.

    Parameters
    ----------
    stream : Stream
    config : Config
    folder : Path
        With accepted.parquet (with labels) and unlabelled.parquet, whole.
    features : pa.Table
        From the first training day to the last replayed one, in the order of time.
    """

    stream: Stream
    config: Config
    folder: Path
    features: pa.Table
    setting: Setting

    @cached_property
    def day(self) -> np.ndarray:
        """Of each row, days since the replay began; below zero before."""
        at = self.features[self.config.contract.timestamp].to_numpy().astype("datetime64[D]")
        return (at - np.datetime64(first_day(self.stream))).astype(np.int64)

    @cached_property
    def fraud(self) -> np.ndarray:
        """Which rows are fraud."""
        return self.features[self.stream.label].to_numpy() == 1

    @cached_property
    def cards(self) -> np.ndarray:
        """Whose each row is, as a number."""
        return np.asarray(pd.factorize(self.features[card_column(self.stream, self.config)].to_pandas())[0])

    @cached_property
    def amounts(self) -> np.ndarray:
        """The amount of each row, without its sign."""
        return np.abs(self.features[self.config.contract.amount].to_numpy().astype(np.float64))


def first_day(stream: Stream) -> Any:
    """Return the day on which the replay begins."""
    return stream.train[1] + DAY


def prepare(stream: Stream, folder: Path, setting: Setting, *, customers: int = 0, few_features: bool = False) -> Ready:
    """Infer the configuration of a stream, validate its rows, and compute what no label changes.

    Parameters
    ----------
    stream : Stream
    folder : Path
        For the rows.
    setting : Setting
    customers : int
        How many cards are drawn by chance, with all their rows; 0 for all.
    few_features : bool
        As `assay init --few-features` sets it up.
    """
    config, _, validated = accept(stream, folder, few_features=few_features)
    accepted = pq.read_table(validated.accepted)
    if customers:
        cards = accepted[card_column(stream, config)]
        names = np.random.default_rng(0).permutation(pc.unique(cards).drop_null().sort().to_numpy(zero_copy_only=False))
        accepted = accepted.filter(pc.is_in(cards, pa.array(names[:customers], cards.type)))
    return ready_of(accepted, stream, config, setting, folder=folder)


def ready_of(accepted: pa.Table, stream: Stream, config: Config, setting: Setting, *, folder: Path) -> Ready:
    """Compute what no label changes of accepted rows that have their true labels."""
    pq.write_table(accepted, folder / "accepted.parquet")
    pq.write_table(accepted.drop_columns(stream.label), folder / "unlabelled.parquet")
    at, begin = accepted[config.contract.timestamp], midnight(first_day(stream))
    start, end = begin - setting.train_days * DAY, begin + setting.weeks * WEEK * DAY
    if pc.max(at).as_py() < end - DAY:
        raise SystemExit(f"{stream.name}: it ends on {pc.max(at).as_py():%Y-%m-%d}; replay fewer --weeks")
    inside = pc.and_(pc.greater_equal(at, pa.scalar(start, at.type)), pc.less(at, pa.scalar(end, at.type)))
    pq.write_table(accepted.filter(inside), folder / "needed.parquet")
    settings = with_families(config, [name for name in config.features.families if not is_risk(name)])
    path = compute(folder / "needed.parquet", [folder / "accepted.parquet"], settings, folder / "features.parquet")
    return Ready(stream, config, folder, pq.read_table(path), setting)


def is_risk(family: str) -> bool:
    """Return whether a family of a configuration is that of the risks."""
    return family.partition(":")[0] == "risk"


def with_families(config: Config, families: Sequence[str]) -> Config:
    """Return the configuration with other families of features."""
    features = config.features.model_copy(update={"families": tuple(families), "core": ()})
    return config.model_copy(update={"features": features})


class Replay:
    """One way of working, week after week, with one seed.

    Parameters
    ----------
    ready : Ready
    arm : Arm
    seed : int
        Of the model, and of the customers that random review draws.
    folder : Path
        For its files.
    """

    def __init__(self, ready: Ready, arm: Arm, seed: int, folder: Path) -> None:
        self.ready, self.arm, self.seed, self.folder = ready, arm, seed, folder
        folder.mkdir(parents=True, exist_ok=True)
        config = ready.config
        self.config = config.model_copy(
            update={
                "model": config.model.model_copy(update={"seed": seed}),
                "feedback": config.feedback.model_copy(update={"enabled": arm.is_second_stage}),
            }
        )
        label = ready.stream.label
        self.columns = [name for name in ready.features.column_names if name != label or arm.rest != "never"]
        self.history = ready.folder / ("unlabelled.parquet" if arm.rest == "never" else "accepted.parquet")
        self.reviewed: list[pa.Table] = []
        self.generator = np.random.default_rng(seed)
        self.past = self.features(ready.day < 0)
        self.notes: list[str] = []

    def run(self) -> "Run":
        """Return the score of each replayed row, and whether its customer was in the day's queue."""
        ready = self.ready
        scores, queue = np.full(len(ready.day), np.nan), np.zeros(len(ready.day), dtype=bool)
        for week in range(ready.setting.weeks):
            score, days = self.train(week), np.arange(week * WEEK, (week + 1) * WEEK)
            # What nobody reviews changes no later day.
            for part in np.split(days, WEEK) if self.arm.review != "none" else [days]:
                rows = np.flatnonzero(np.isin(ready.day, part))
                if not len(rows):
                    continue
                table = self.features(rows)
                self.past = pa.concat_tables([self.past, table])
                scores[rows] = score(table)
                for day in part:
                    today = rows[ready.day[rows] == day]
                    queue[today] = top(ready.cards[today], self._worth(scores[today]), ready.setting.capacity)
                    if self.arm.review != "none" and queue[today].any():
                        self.label(today[queue[today]], int(day))
        return Run(scores[ready.day >= 0], queue[ready.day >= 0], self.notes)

    def _worth(self, scores: np.ndarray) -> np.ndarray:
        return self.generator.random(len(scores)) if self.arm.review == "random" else scores

    def features(self, rows: np.ndarray) -> pa.Table:
        """Return the whole feature table of some rows, by a mask or by places: risks by the labels known so far."""
        table = self.ready.features.select(self.columns)
        table = table.filter(pa.array(rows)) if rows.dtype == bool else table.take(pa.array(rows))
        families = [name for name in self.config.features.families if is_risk(name)]
        if not families:
            return table
        pq.write_table(table.select(self._contract(table)), self.folder / "rows.parquet")
        settings = with_families(self.config, families)
        files = self.files()
        path = compute(
            self.folder / "rows.parquet", [self.history], settings, self.folder / "risks.parquet", reviewed=files
        )
        risks = pq.read_table(path)
        assert risks[self.config.contract.id].equals(table[self.config.contract.id])
        for name in dict.fromkeys(feature.column for feature in list_features(settings)):
            table = table.append_column(name, risks[name])
        return table

    def _contract(self, table: pa.Table) -> list[str]:
        contract = self.config.contract
        names = {contract.id, contract.timestamp, contract.amount, contract.label, contract.labelled_at}
        names |= {*contract.entities, *contract.categorical, *contract.numeric}
        return [name for name in table.column_names if name in names]

    def files(self) -> list[Path]:
        """Return the file of what review said so far; none where it said nothing."""
        if not self.reviewed:
            return []
        pq.write_table(pa.concat_tables(self.reviewed), self.folder / "reviewed.parquet")
        return [self.folder / "reviewed.parquet"]

    def label(self, rows: np.ndarray, day: int) -> None:
        """Take in the true labels of some rows, known from the next midnight on."""
        ready, moment = self.ready, midnight(first_day(self.ready.stream)) + (day + 1) * DAY
        ids = ready.features[ready.config.contract.id].take(pa.array(rows)).combine_chunks()
        moments = pa.array(np.full(len(rows), np.datetime64(moment, "us")), pa.timestamp("us"))
        labels = pa.array(ready.fraud[rows].astype(np.int8))
        self.reviewed.append(pa.table({"id": ids, "label": labels, "labelled_at": moments}))

    def train(self, week: int) -> Any:
        """Return what scores a feature table in a week: fitted on the days before it."""
        ready, as_of = self.ready, midnight(first_day(self.ready.stream)) + week * WEEK * DAY
        at = self.past[ready.config.contract.timestamp]
        since = pa.scalar(as_of - ready.setting.train_days * DAY, at.type)
        past = self.past.filter(pc.greater_equal(at, since))
        labels = Labels(self.config, tuple(self.files()))
        if self.arm.name == TREES:
            features = list_features(self.config)
            known = labels.known(past, as_of)
            return lambda table: trees(Part(past, table, features), known, self.seed)
        pq.write_table(past, self.folder / "train.parquet")
        detector = Detector.fit(self.folder / "train.parquet", self.config, labels, as_of)
        self.notes.append(f"week {week + 1}: {detector.summary.get('feedback', '')}")
        return detector.anomaly_scores


def top(cards: np.ndarray, scores: np.ndarray, capacity: int) -> np.ndarray:
    """Return which rows are of the customers with the highest scores; of equal ones the first comes first.

    Examples
    --------
    >>> top(np.array([7, 8, 7, 9]), np.array([0.1, 0.5, 0.9, 0.2]), 2).tolist()
    [True, True, True, False]
    """
    return np.isin(cards, pd.unique(cards[np.argsort(-scores, kind="stable")])[:capacity])


@dataclass(frozen=True)
class Run:
    """What one seed of an arm came to, arrays of shape (n_replayed_rows,); what became of known frauds, by week."""

    scores: np.ndarray
    queue: np.ndarray
    notes: list[str]


def measure(ready: Ready, runs: Mapping[str, Sequence[Run]], draws: int) -> list[dict[str, Any]]:
    """Return the metrics of each arm in each week, means over the seeds, and how far each is ahead of no labels.

    Parameters
    ----------
    ready : Ready
    runs : mapping of str to sequence of Run
        By the arm's title; no labels among them.
    draws : int
        Of the bootstrap.
    """
    replayed = ready.day >= 0
    fraud, cards, amounts, day = (each[replayed] for each in (ready.fraud, ready.cards, ready.amounts, ready.day))
    base, records = list(runs).index(NO_LABELS), []
    for week in range(ready.setting.weeks):
        rows = day // WEEK == week
        rankings = [[Ranking(run.scores[rows], fraud[rows]) for run in by_seed] for by_seed in runs.values()]

        def precisions(draw: np.ndarray, rankings: list[list[Ranking]] = rankings) -> np.ndarray:
            values = np.array([np.mean([each.auroc_and_ap(draw)[1] for each in by_seed]) for by_seed in rankings])
            return np.concatenate([values, values - values[base]])

        ends = {"average_precision": np.array(bootstrap_all(precisions, cards[rows], draws=draws))}
        by_day = [
            _by_day(ready, by_seed, rows, fraud=fraud, cards=cards, amounts=amounts, day=day)
            for by_seed in runs.values()
        ]
        for name, values in zip(METRICS[1:], np.swapaxes(np.array(by_day), 0, 1), strict=True):
            both = np.concatenate([values, values - values[base]])
            ends[name] = np.array(bootstrap_all(_means_of(both), np.arange(both.shape[1]), draws=draws))
        for name, three in ends.items():
            value, ahead = np.split(three, 2, axis=1)
            for place, title in enumerate(runs):
                record: dict[str, Any] = {"stream": ready.stream.name, "week": week + 1, "arm": title, "metric": name}
                for what, numbers in (("", value[:, place]), ("ahead_", ahead[:, place])):
                    record |= {f"{what}{end}": float(number) for end, number in zip(ENDS, numbers, strict=True)}
                records.append(record | {"frauds": int(fraud[rows].sum()), "rows": int(rows.sum())})
    return records


def _means_of(values: np.ndarray) -> Any:
    return lambda draw: np.average(values, axis=1, weights=draw)


def _by_day(
    ready: Ready, by_seed: Sequence[Run], rows: np.ndarray, **columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the card precision and the money of each day of a week, means over the seeds."""
    fraud, cards, amounts, day = (columns[name][rows] for name in ("fraud", "cards", "amounts", "day"))
    precision, money = [], []
    for run in by_seed:
        scores, queue = run.scores[rows], run.queue[rows]
        precision.append(card_precision_by_day(day, cards, scores, fraud, k=ready.setting.capacity).precision)
        frame = pd.DataFrame({"day": day, "card": cards, "worth": np.where(fraud, amounts, 0.0)})
        frame["queue"] = queue
        worth = frame["worth"].where(frame["queue"], 0.0).groupby(frame["day"]).sum()
        reviews = frame["card"].where(frame["queue"]).groupby(frame["day"]).nunique()
        money.append((worth - REVIEW_COST * reviews).to_numpy())
    return np.mean(precision, axis=0), np.mean(money, axis=0)


def show(records: Sequence[Mapping[str, Any]]) -> None:
    """Print a table for each metric of a stream: a line an arm, a column a week, and how far it is ahead."""
    frame = pd.DataFrame(records)
    for name in METRICS:
        part = frame[frame["metric"] == name]
        weeks = sorted(part["week"].unique())
        print(f"\n{part['stream'].iloc[0]}: {name.replace('_', ' ')}, and how far ahead of no labels")
        print(f"  {'':24}" + "".join(f"{f'week {week}':34}" for week in weeks).rstrip())
        for title in part["arm"].unique():
            cells = part[part["arm"] == title].sort_values("week").to_dict("records")
            print(f"  {title:24}" + "".join(f"{_cell(cell):34}" for cell in cells).rstrip())
    sys.stdout.flush()


def _cell(record: Mapping[str, Any]) -> str:
    places = 0 if record["metric"] == "money" else 3
    value = f"{record['value']:,.{places}f}"
    if record["arm"] == NO_LABELS:
        return value
    three = [f"{record[f'ahead_{end}']:+,.{places}f}" for end in ENDS]
    return f"{value}  {three[0]} ({three[1]} to {three[2]})"


def run(streams: Sequence[Stream], arms: Sequence[Arm], setting: Setting, **options: Any) -> list[dict[str, Any]]:
    """Return the records of all streams, and print the tables of each when they are complete.

    Parameters
    ----------
    streams : sequence of Stream
    arms : sequence of Arm
        No labels among them.
    setting : Setting
    seeds, draws, customers, few_features
        As on the command line.
    """
    records: list[dict[str, Any]] = []
    for stream in streams:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            note(f"{stream.name}: rows and features")
            rows = {name: options[name] for name in ("customers", "few_features")}
            ready = prepare(stream, folder, setting, **rows)
            runs: dict[str, list[Run]] = {}
            for arm in arms:
                note(f"{stream.name}: {arm.title}, {options['seeds']} seeds")
                runs[arm.title] = [Replay(ready, arm, seed, folder / "arm").run() for seed in range(options["seeds"])]
                for text in runs[arm.title][0].notes:
                    note(f"  {text}")
            of_stream = measure(ready, runs, options["draws"])
        show(of_stream)
        records += of_stream
    return records


def _is_asked(arm: Arm, arguments: argparse.Namespace) -> bool:
    return arguments.rest in (None, arm.rest) and (arguments.arm is None or arm.name in arguments.arm)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of streams")
    parser.add_argument("--stream", action="append", help="name of one; may be repeated; all by default")
    parser.add_argument("--weeks", type=int, default=4, help="weeks to replay")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of the models, 0 and up")
    parser.add_argument("--train-days", type=int, default=28, help="days that a model is trained on")
    parser.add_argument("--capacity", type=int, default=100, help="customers that are reviewed a day")
    parser.add_argument("--customers", type=int, default=0, help="cards drawn by chance, with all rows; 0 for all")
    parser.add_argument("--arm", action="append", help="name of one beside no labels and the trees; all by default")
    parser.add_argument("--rest", choices=("never", "delay"), help="when labels come without review; both by default")
    parser.add_argument("--draws", type=int, default=300, help="bootstrap draws of each interval")
    parser.add_argument("--few-features", action="store_true", help="as `assay init --few-features` sets it up")
    parser.add_argument("--json", type=Path, help="write the tables as a list of records")
    arguments = parser.parse_args()
    records = run(
        find_streams(arguments.data, arguments.stream),
        [arm for arm in ARMS if arm in (BASE, UPPER) or _is_asked(arm, arguments)],
        Setting(arguments.weeks, arguments.train_days, arguments.capacity),
        seeds=arguments.seeds,
        draws=arguments.draws,
        customers=arguments.customers,
        few_features=arguments.few_features,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
