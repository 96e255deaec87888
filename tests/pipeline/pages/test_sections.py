"""The words of a model document, for what is kept about a version and for what is not."""

import json
from dataclasses import replace
from datetime import date, datetime

import pytest

from pipeline.calibration.threshold import Threshold
from pipeline.detector.artefact import Detector
from pipeline.evaluation.results import summarise
from pipeline.monitoring.checks import look_at
from pipeline.monitoring.profile import Profiler
from pipeline.monitoring.volume import Expected
from pipeline.numbers import metric
from pipeline.pages.document import markdown_of, render_document
from pipeline.pages.sections import model_document
from pipeline.selection.dossier import Dossier
from pipeline.selection.records import AliasChange
from pipeline.settings.sensitive import MASK
from pipeline.tables.parquet import read_batches
from pipeline.tracking.aliases import Version
from pipeline.tracking.runs import Compared, Run
from pipeline.workspace.ledger import Entry
from pipeline.workspace.watch import WatchEvent
from tests.pipeline.pages.page import Page

AT = datetime(2025, 5, 1, 9, 30)
BAD = "<img src=x>\x1b[31m"
MEASURES = {
    "average_precision": 0.4567,
    "average_precision_low": 0.4012,
    "average_precision_high": 0.5,
    "recall": 0.8765,
}


def bare(detector: Detector) -> Dossier:
    """A version of which nothing is kept but its files."""
    version = Version("3", "r3", ("champion",), AT, "m", {})
    return Dossier(
        version=version, detector=detector, run=Run("r3"), training=Run("r3"), compared=None, backtest={}, changes=[],
        events=[], batches=[], seen=None,
    )  # fmt: skip


def words(dossier: Dossier) -> str:
    return Page(render_document(model_document(dossier, AT))).text


@pytest.fixture(scope="module")
def detector(two):
    return two[1][0][0]


def test_the_headings_are_those_of_the_guidance(detector):
    titles = [section.title for section in model_document(bare(detector), AT).sections]
    assert titles == [
        "Overview",
        "Model development and use",
        "Model validation and monitoring",
        "Governance and controls",
        "Vendor and other third-party products",
    ]


def test_what_is_not_kept_is_said_to_be_not_known(detector):
    text = words(bare(detector))
    for part in (
        "How well frauds are found is not known",
        "Not known: no backtest has the settings of this version",
        "Not known: no comparison with a version before it was logged",
        "This version has scored no batch yet.",
        "Who gave it which alias, and why, is not known.",
        "The packages that the model was made with are not known",
        "SHA-256 of the table not known",
        "What becomes of anomalies made from normal rows is not known",
    ):
        assert part in text


def test_what_is_kept_stands_there(detector):
    run = Run(
        "r3",
        tags={"batch_id": "0123"},
        measures=MEASURES | {"injected_plus_recall": 0.123, "injected_plus_top_reason": 0.987},
        table={"uri": "/data/march.parquet", "sha256": "ab" * 32, "num_rows": 9, "read": 9000, "accepted": 8000},
        packages=["torch==2.13.0"],
        python="3.11.7",
    )
    measured = {"compared_rows": 777, "queue_overlap": 0.625, "recall": 0.9, "recall_less_baseline": 0.05}
    change = AliasChange(
        alias="champion",
        version="3",
        replaced="2",
        action="force",
        why="urgent",
        who="ann",
        at=AT,
        failed_gates=("gate",),
    )
    text = words(
        replace(
            bare(detector),
            run=run,
            training=run,
            compared=Compared(AT, ["2", "3"], "Version 3 is promoted", measured),
            changes=[change],
        )
    )
    for part in (
        "0.457 (0.401 to 0.500)",
        "0.876",
        "march.parquet",
        "ab" * 32,
        "read 9,000, accepted 8,000",
        "12.3 % 98.7 %",
        "torch 2.13.0",
        "Python 3.11.7",
        "Compared with version 2 on 2025-05-01 09:30 UTC, on 777 rows that neither learned from.",
        "Version 3 is promoted.",
        "62.5 %",
        "0.900 +0.050",
        "champion given (force) ann urgent (failed gates: gate)",
        detector.promise,
    ):
        assert part in text
    assert all(feature.name in text for feature in detector.features)


def test_a_version_with_another_threshold_has_no_figures_of_the_old_one(detector):
    derived = replace(bare(detector), run=Run("r9", tags={"weights_of": "2"}), training=Run("r2", measures=MEASURES))
    text = words(derived)
    assert "Measured for version 2, which has the same weights; at this threshold: not known." in text
    assert "0.457" in text
    assert "0.876" not in text


def test_batches_states_and_promises_of_the_watch(two, detector):
    later, ((first, scored), _) = two
    profiler, [rows] = Profiler(later, first), read_batches(later)
    profiler.add(rows, scored.column("p_value"), scored.column("is_flagged"))
    days = profiler.days
    busiest = max(day.flagged for day in days.values())
    seen = replace(look_at(days, first), tested=list(days), alerts=Expected(1.0, 0.0, busiest - 1.0))
    inside = sum(day.flagged < busiest for day in days.values())
    assert 0 < inside < len(days)
    entry = Entry(
        batch_id="b", source="/in/a.parquet", digest="d", period_start=None, period_end=None, model_name="transactions",
        model_version="3", scored_at=AT, read=1000, accepted=900, quarantined=100, scored=900, flagged=45,
        first_timestamp=datetime(2025, 4, 1), last_timestamp=datetime(2025, 4, 2, 23, 59),
    )  # fmt: skip
    event = WatchEvent(
        check="scores", state="warn", previous="ok", reason=BAD, day=date(2025, 4, 2), batch_id="b", model_version="3",
        at=AT,
    )  # fmt: skip
    kept = replace(bare(first), batches=[entry, replace(entry, status="replaced")], events=[event], seen=seen)
    text = words(kept)
    assert "2, 1 of them replaced since" in text
    assert "2,000 read, 1,800 accepted, 200 quarantined, 1,800 scored" in text
    assert "90 (5 %)" in text
    assert "2025-04-01 00:00 to 2025-04-02 23:59 UTC" in text
    assert "2025-04-02 scores ok to warn <img src=x>" in text
    assert "Watch scores warn" in text
    said = f"{inside} of {len(days)} whole days have 0 to {busiest - 1} alerts"
    assert said in text
    assert all(check.text in text for check in seen.checks)


def test_values_of_a_sensitive_column_are_masked_and_text_of_data_is_escaped(detector):
    part = Threshold(2.0, "false_alert_rate", 3.0, 0.01, "Few of web.")
    cut = replace(detector.cut, segment="channel", parts={"secret-web": part})
    measures = {"recall": {"value": 0.5, "low": None, "high": None}}
    backtest = {
        "settings": {"segment": "channel", "from": BAD, "to": "2025-04-01", "train_days": 7},
        "intervals": "Nine of ten.",
        "all": measures,
        "blocks": [{"test": ["2025-03-01", "2025-03-07"], "measures": measures}],
        "segments": {"secret-web": measures, "secret-shop": {}},
    }
    shown = replace(bare(replace(detector, cut=cut)), backtest=backtest)
    open_text = words(shown)
    assert "channel secret-web 0.500" in open_text
    assert "channel secret-shop not known" in open_text
    assert "2025-03-01 to 2025-03-07 0.500" in open_text
    roles = detector.config.contract.model_copy(update={"sensitive": ("channel",)})
    config = detector.config.model_copy(update={"contract": roles})
    hidden = model_document(replace(shown, detector=replace(detector, cut=cut, config=config)), AT)
    for text in (render_document(hidden), markdown_of(hidden)):
        assert "secret" not in text
        assert MASK in text
        assert "<img" not in text
        assert "\x1b" not in text
    assert "Sensitive, and masked wherever people read: channel." in Page(render_document(hidden)).text


def test_a_backtest_stands_there_as_it_is_written(detector, backtest_results):
    result = summarise(backtest_results, k=3)
    settings = {"segment": "channel", "from": "2025-03-01", "to": "2025-03-31", "train_days": 14}
    text = words(replace(bare(detector), backtest=json.loads(result.to_json(settings))))
    assert {"web", "shop"} <= result.of_segments.keys()
    parts = {f"channel {name}": measures for name, measures in result.of_segments.items()}
    for name, measures in (("all tests", result.pooled), *parts.items()):
        assert f"{name} {metric(measures['average_precision'].value)}" in text
    assert "trained on 14 days before it" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": "none"}, "how much fraud is found, or missed, is not known"),
        ({"unknown_label_rows": 0}, "every row of the training had a label"),
        ({"unknown_label_rows": 5, "taken_for_normal_rows": 1234, "contamination": 0.25}, "1,234 rows whose label"),
        ({"unknown_label_rows": 5, "taken_for_normal_rows": 7}, "how many of them are fraud is not known"),
    ],
)  # fmt: skip
def test_limits_say_what_labels_and_contamination_do_to_the_promise(changes, said, detector):
    assert said in words(bare(replace(detector, summary=detector.summary | changes)))
