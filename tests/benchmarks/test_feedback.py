"""benchmarks/feedback.py: what it measures, that it gives no label away, and the replay in a short form."""

import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from pipeline.settings.config import Config
from pipeline.simulation import SCENARIOS, simulate
from tests import processes

ROOT = Path(__file__).parents[2]
SEEDS, ROWS = 20, 12_000
SETTING = {"weeks": 2, "train_days": 21, "capacity": 40}
CONFIG = Config.model_validate(
    {
        "contract": {
            "id": "TRANSACTION_ID",
            "timestamp": "TX_DATETIME",
            "amount": "TX_AMOUNT",
            "entities": ("CUSTOMER_ID", "TERMINAL_ID"),
            "categorical": ("CHANNEL", "COUNTRY"),
            "label": "TX_FRAUD",
        },
        "features": {"families": ("amount", "columns", "change:CUSTOMER_ID", "hours:CUSTOMER_ID", "risk:TERMINAL_ID")},
        "model": {"name": "denoising", "hidden": (32,), "code_size": 8, "max_epochs": 5},
        "feedback": {"min_frauds": 20},
    }
)


@pytest.fixture(scope="module")
def feedback():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import feedback

        yield feedback


def ready(feedback, folder, seed=0, **changes):
    """A simulated stream of six weeks, of which the last two are replayed."""
    folder.mkdir(exist_ok=True)
    simulate(folder / "small.parquet", rows=ROWS, days=42, seed=seed, malformed=False, scenarios=SCENARIOS)
    first, train = date(2025, 1, 1), date(2025, 1, 28)
    stream = feedback.Stream(
        "small",
        folder / "small.parquet",
        id="TRANSACTION_ID",
        label="TX_FRAUD",
        train=(first, train),
        test=(train, train),
    )
    rows = pq.read_table(stream.table)
    return feedback.ready_of(rows, stream, CONFIG, feedback.Setting(**SETTING | changes), folder=folder)


def arm(feedback, title):
    return next(arm for arm in feedback.ARMS if arm.title == title)


@pytest.fixture(scope="module")
def small(feedback, tmp_path_factory):
    return ready(feedback, tmp_path_factory.mktemp("small"), weeks=2)


def relabelled(stream, fraud):
    """The stream with other true labels, in its rows and in the features that a replay reads."""
    column = pa.array(fraud, stream.features.schema.field("TX_FRAUD").type)
    place = stream.features.schema.get_field_index("TX_FRAUD")
    return replace(stream, features=stream.features.set_column(place, "TX_FRAUD", column))


def test_without_review_no_label_is_seen_and_with_it_those_of_the_queue_alone(feedback, small, tmp_path):
    of_nothing, of_queue = arm(feedback, feedback.NO_LABELS), arm(feedback, "second stage, never")
    first, other = (
        feedback.Replay(stream, of_nothing, 0, tmp_path).run() for stream in (small, relabelled(small, ~small.fraud))
    )
    assert (first.scores == other.scores).all()
    reviewed = feedback.Replay(small, of_queue, 0, tmp_path).run()
    assert not (reviewed.scores == first.scores).all()
    hidden = np.ones(len(small.day), dtype=bool)
    hidden[small.day >= 0] = ~reviewed.queue
    again = feedback.Replay(relabelled(small, small.fraud ^ hidden), of_queue, 0, tmp_path).run()
    assert (again.scores == reviewed.scores).all()
    assert (again.queue == reviewed.queue).all()
    days = small.day[small.day >= 0]
    cards = small.cards[small.day >= 0]
    assert {len(set(cards[reviewed.queue & (days == day)])) for day in range(14)} == {SETTING["capacity"]}


def test_measures_are_those_of_each_week_beside_no_labels(feedback, small):
    replayed = small.day >= 0
    fraud, day, cards = small.fraud[replayed], small.day[replayed], small.cards[replayed]
    random = np.random.default_rng(3)
    runs = {}
    chance = random.random(len(fraud))
    for title, scores in ((feedback.NO_LABELS, chance), ("perfect", fraud + chance)):
        queue = np.zeros(len(fraud), dtype=bool)
        for each in range(14):
            rows = np.flatnonzero(day == each)
            queue[rows] = feedback.top(cards[rows], scores[rows], SETTING["capacity"])
        runs[title] = [feedback.Run(scores, queue, [])]
    records = feedback.measure(small, runs, draws=20)
    assert len(records) == 2 * 2 * 3  # weeks, arms, metrics
    for week in (0, 1):
        rows = day // 7 == week
        by_metric = {(each["arm"], each["metric"]): each for each in records if each["week"] == week + 1}
        least = average_precision_score(fraud[rows], chance[rows])
        base, best = by_metric[feedback.NO_LABELS, "average_precision"], by_metric["perfect", "average_precision"]
        assert (base["value"], best["value"]) == (pytest.approx(least), 1)
        assert best["ahead_value"] == pytest.approx(1 - least)
        assert best["ahead_low"] <= best["ahead_value"] <= best["ahead_high"]
        worth = small.amounts[replayed][rows & fraud & runs["perfect"][0].queue].sum()
        assert by_metric["perfect", "money"]["value"] == pytest.approx(worth / 7 - 10 * SETTING["capacity"])
        assert base["frauds"] == fraud[rows].sum()


def test_the_table_of_a_stream_is_printed_and_written(tmp_path):
    simulate(tmp_path / "small.parquet", rows=4_000, days=35, malformed=False)
    said = {"id": "TRANSACTION_ID", "label": "TX_FRAUD", "cards": "CUSTOMER_ID"}
    said |= {"train": ["2025-01-01", "2025-01-28"], "test": ["2025-01-29", "2025-02-04"]}
    (tmp_path / "small.json").write_text(json.dumps(said))
    words = ("--data", tmp_path, "--weeks", 1, "--capacity", 5, "--customers", 60, "--draws", 5)
    command = [
        sys.executable,
        "benchmarks/feedback.py",
        *map(str, words),
        "--rest",
        "never",
        "--json",
        tmp_path / "out",
    ]
    process = processes.run(*map(str, command), cwd=ROOT)
    assert process.status == 0, process
    titles = {record["arm"] for record in json.loads((tmp_path / "out").read_text())}
    names = {"one-class, never", "second stage, never", "random review, never"}
    assert titles == names | {"no labels", "trees on all labels"}
    for title in titles:
        assert f"  {title} " in process.output
    short = processes.run(*map(str, (*command[:2], "--data", tmp_path, "--weeks", 3, "--few-features")), cwd=ROOT)
    assert "small: it ends on 2025-02-04; replay fewer --weeks" in short.errors


def test_reviewed_labels_never_make_the_next_week_worse(feedback, tmp_path):
    """Twenty streams, each with and without what review said of the first week, on the same second week.

    The lower end may lie below zero by what the average precision of one such week moves by when a single fraud of its
    forty is ranked last: labels that are worth nothing must not fail by chance.
    """
    gains = []
    for seed in range(SEEDS):
        stream = ready(feedback, tmp_path / str(seed), seed)
        is_second = (stream.day >= feedback.WEEK)[stream.day >= 0]
        fraud = stream.fraud[stream.day >= feedback.WEEK]
        precision = [
            average_precision_score(
                fraud, feedback.Replay(stream, arm(feedback, title), seed, tmp_path).run().scores[is_second]
            )
            for title in ("second stage, never", feedback.NO_LABELS)
        ]
        gains.append(precision[0] - precision[1])
    draws = np.random.default_rng(0).choice(gains, (2000, SEEDS)).mean(axis=1)
    assert np.mean(gains) >= 0
    assert np.quantile(draws, 0.05) > -0.025
