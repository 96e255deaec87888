"""A comparison of real detectors, and its page."""

import dataclasses
from datetime import date, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.pages import comparison as page
from pipeline.selection.compared_rows import ComparedRows, choose_rows, period_after
from pipeline.selection.comparison import Contender, compare
from pipeline.selection.gates import gates
from pipeline.tables.period import Period
from pipeline.tracking.aliases import Version
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import START, config, detector_of, feature_table, replace, transactions

LATER = datetime(2025, 4, 1)


def version(number, detector, **figures):
    return Contender(Version(str(number), f"run-{number}", (), START, "", figures), detector, detector.config)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two versions, trained on one month each with other features, on hostile rows of the month after."""
    folder = tmp_path_factory.mktemp("compared")
    base = {"work_dir": str(folder / "work"), "name": "cards", "promotion": {"draws": 100}}
    settings = [config(**base), config(**base, features={"families": ("amount",)}, model={"code_size": 2})]
    table = transactions(rows=3000)
    pq.write_table(table, folder / "trained.parquet")
    Workspace(settings[0]).history.append(folder / "trained.parquet", "b")
    early = table.filter(np.asarray(table["at"]).astype("datetime64[D]") < np.datetime64("2025-03-16"))
    found = [
        detector_of(feature_table(folder, rows, each, name=f"f{number}"), each)
        for number, (rows, each) in enumerate(zip((table, early), settings, strict=True))
    ]
    later = transactions(rows=1200, seed=4, first_id=90_000, start=LATER)
    later = replace(later, "channel", ["<script>alert(1)</script>"] * 1200)
    pq.write_table(later, folder / "later.parquet")
    rows = ComparedRows(folder / "later.parquet", [folder / "trained.parquet"], "<b>later</b>", (date(2025, 4, 1),) * 2)
    contenders = [version(1, found[0], fit_seconds=2.5), version(2, found[1])]
    (folder / "scratch").mkdir()
    return compare(contenders, rows, Workspace(settings[0]), folder / "scratch"), found, settings


def test_both_score_the_same_rows_each_with_its_own_features(compared):
    made, detectors, _ = compared
    assert len(made.labels) == 1200
    assert np.array_equal(made.outcomes[0].labels, made.outcomes[1].labels, equal_nan=True)
    assert len(detectors[0].features) > len(detectors[1].features)
    for outcome, detector in zip(made.outcomes, detectors, strict=True):
        assert np.array_equal(outcome.flagged, outcome.scores > detector.threshold)
    assert [figure.name for figure in made.figures][:2] == ["average_precision", "card_precision_at_100"]
    assert made.settings["features.families"] == ['["amount", "calendar", "columns", "change"]', '["amount"]']
    assert made.settings["model.code_size"] == ["6", "2"]
    assert not any(name.startswith(("promotion.", "tuning.", "tracking.")) for name in made.settings)


def test_what_is_logged_is_what_is_shown_and_the_second_one_has_differences(compared):
    made, _, _ = compared
    one, two = made.metrics_of(0), made.metrics_of(1)
    assert one["fit_seconds"] == 2.5
    assert "fit_seconds" not in two
    assert "average_precision_less_baseline" not in one
    less = two["average_precision"] - one["average_precision"]
    assert two["average_precision_less_baseline"] == pytest.approx(less)
    assert two["alerts_enter"] == made.changes[0].enter
    assert two["queue_overlap"] == made.changes[0].overlap
    assert made.contenders[1].cost["Seconds to fit"] == "not measured"
    assert made.contenders[0].cost["Trained on"] == "2025-03-01 to 2025-03-30"
    series = page.series_of(made, 0)
    assert sum(value for _, value in series["alerts_on_day"]) == made.outcomes[0].flagged.sum()
    assert [step for step, _ in series["precision_at_recall"]] == list(range(1, 101))


def test_drift_is_between_the_training_periods_in_the_first_ones_features(compared):
    made, detectors, _ = compared
    (found,) = made.drifts
    assert {drift.feature for drift in found} == {feature.name for feature in detectors[0].features}
    assert max(drift.index for drift in found) < 0.5
    assert made.notes == []


def test_the_page_holds_everything_and_text_from_data_is_harmless(compared):
    made, _, _ = compared
    text = page.render_comparison(made, gates(made), "Version 2 is not promoted")
    assert "<script" not in text
    assert "<b>later</b>" not in text
    assert "&lt;b&gt;later&lt;/b&gt;" in text
    assert "://" not in text
    for part in (
        "Version 2 is not promoted",
        "Drift of the data",
        "Alerts that leave",
        "Recall by amount",
        "denoising",
    ):
        assert part in text
    header, rows = page.table_of(made)
    assert header == ["", "version 1", "version 2"]
    assert len(rows) == 2 * len(made.figures)


def test_a_period_that_a_training_saw_is_refused_and_the_default_begins_after_all(compared):
    _, (late, early), _ = compared
    both = {"version 1": late, "version 2": early}
    period, is_asked = period_after(both, None, None, "UTC")
    assert (period.start, period.end, is_asked) == (datetime(2025, 3, 31), None, False)
    assert period_after(both, date(2025, 4, 2), date(2025, 4, 3), "UTC")[0].end == datetime(2025, 4, 4)
    for first, last in ((date(2025, 3, 30), None), (None, date(2025, 3, 20))):
        with pytest.raises(InputError, match="version 1 was trained on rows up to 2025-03-30"):
            period_after(both, first, last, "UTC")


def test_a_day_that_begins_with_the_last_moment_of_a_training_is_refused(compared):
    _, (late, _), _ = compared
    midnight = dataclasses.replace(late, summary={**late.summary, "last_timestamp": "2025-03-30T00:00:00.000000"})
    with pytest.raises(InputError, match="version 1 was trained on rows up to 2025-03-30"):
        period_after({"version 1": midnight}, date(2025, 3, 30), None, "UTC")
    before = dataclasses.replace(late, summary={**late.summary, "last_timestamp": "2025-03-29T23:59:59.999999"})
    period, _ = period_after({"version 1": before}, date(2025, 3, 30), None, "UTC")
    assert period.start == datetime(2025, 3, 30)


def test_the_latest_labelled_days_are_chosen_unless_days_are_named(compared, tmp_path):
    _, (late, early), (settings, _) = compared
    settings = settings.model_copy(update={"promotion": settings.promotion.model_copy(update={"days": 5})})
    rows = transactions(rows=1200, seed=4, first_id=90_000, start=LATER)
    unknown = np.asarray(rows["at"]).astype("datetime64[D]") > np.datetime64("2025-04-20")
    rows = replace(
        rows, "fraud", [None if hide else value for hide, value in zip(unknown, rows["fraud"].to_pylist(), strict=True)]
    )
    pq.write_table(rows, tmp_path / "later.parquet")
    period, _ = period_after({"version 1": late, "version 2": early}, None, None, "UTC")
    for all_days, days in (
        (False, (date(2025, 4, 16), date(2025, 4, 20))),
        (True, (date(2025, 4, 1), date(2025, 4, 30))),
    ):
        folder = tmp_path / str(all_days)
        folder.mkdir()
        chosen = choose_rows([settings], period, str(tmp_path / "later.parquet"), folder, all_days=all_days)
        assert chosen.days == days
        assert chosen.source == "later.parquet"


def test_rows_are_kept_for_the_version_that_looks_back_furthest(tmp_path):
    short, long = (
        config(
            work_dir=str(tmp_path / "work"),
            features={"history_days": days, "windows_days": (1,), "label_delay_days": 1, "recent_days": 1},
        )
        for days in (2, 20)
    )
    assert (short.features.max_window_days, long.features.max_window_days) == (2, 20)
    pq.write_table(transactions(days=30), tmp_path / "rows.parquet")
    period = Period(datetime(2025, 3, 25), None)
    for number, configs in enumerate(([short, long], [long, short])):
        folder = tmp_path / str(number)
        folder.mkdir()
        chosen = choose_rows(configs, period, str(tmp_path / "rows.parquet"), folder, all_days=True)
        past = pq.read_table(chosen.past[0])["at"].to_numpy()
        assert past.min().astype("datetime64[D]") == np.datetime64("2025-03-05")
