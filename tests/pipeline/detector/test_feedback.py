import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from pipeline.calibration.held_out import ScoredRows
from pipeline.detector.artefact import Detector
from pipeline.detector.feedback import FOLDS, LEAST_FRAUDS, WEIGHTS, Feedback, choose, crossed_margins
from pipeline.detector.parts import CALIBRATION, split
from pipeline.detector.traits import Traits
from pipeline.labels.known import Labels
from tests.pipeline.fitted import (
    AFTER,
    config,
    contents,
    detector_of,
    feature_table,
    quiet_frauds,
    replace,
    transactions,
)

ROWS = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def features(folder):
    return feature_table(folder, quiet_frauds(), config())


@pytest.fixture(scope="module")
def later(folder):
    """Rows of the next weeks, that no fit has seen."""
    return pq.read_table(feature_table(folder, quiet_frauds(seed=1, first_id=ROWS), config(), "later"))


@pytest.fixture(scope="module")
def detector(features):
    return detector_of(features, config())


@pytest.fixture(scope="module")
def alone(features):
    return detector_of(features, config(feedback={"enabled": False}))


def precision(detector, rows, scores=None):
    scores = detector.anomaly_scores(rows) if scores is None else scores
    return average_precision_score(rows["fraud"].to_numpy(), scores)


def test_known_frauds_raise_what_is_found_among_later_rows(detector, alone, later):
    assert detector.feedback.weight > 0
    assert precision(alone, later) < 0.3
    assert precision(detector, later) > 0.7
    summary = detector.summary
    assert summary["feedback_average_precision"] > summary["feedback_average_precision_alone"]
    assert f"count {detector.feedback.weight:g}" in summary["feedback"]


def test_the_one_class_model_is_the_same_with_known_frauds_and_without(detector, alone, later, tmp_path):
    matrix = detector.encoder.transform(later)
    assert (detector.model.anomaly_score(matrix) == alone.anomaly_scores(later)).all()
    assert (detector.one_class.scores == alone.calibration.scores).all()
    assert alone.one_class is alone.calibration
    assert alone.feedback is None
    assert "feedback" not in alone.summary
    alone.save(tmp_path)
    assert not (tmp_path / "feedback").exists()


def test_the_blend_is_the_weighted_mean_of_what_both_say_of_normal_rows(detector, features):
    block = pq.read_table(features).slice(3000)
    stage, scores = detector.feedback, detector.model.anomaly_score(detector.encoder.transform(block))
    normal = block["fraud"].to_numpy() == 0
    # Among the lower nine tenths -log p is by rank; equal margins share one.
    level = -np.log1p(-(rankdata(scores[normal], "min") - 1) / normal.sum())
    body = level < -np.log(0.15)
    model = dataclasses.replace(stage, weight=0.0).blend(scores[normal], np.zeros(normal.sum()))
    np.testing.assert_allclose(model[body], level[body], atol=0.02)
    margins = stage.trees.margin(detector.encoder.transform(block))
    trees = dataclasses.replace(stage, weight=1.0).blend(scores, margins)
    both = dataclasses.replace(stage, weight=0.25).blend(scores, margins)
    model = dataclasses.replace(stage, weight=0.0).blend(scores, margins)
    np.testing.assert_allclose(both, 0.25 * trees + 0.75 * model)
    assert (np.diff(trees[np.argsort(margins)]) >= 0).all()


def test_the_block_is_scored_by_trees_that_never_saw_it(detector, features, folder):
    table = pq.read_table(features)
    flipped = table["fraud"].to_numpy().copy()
    flipped[3000:] = np.random.default_rng(5).permutation(flipped[3000:])
    pq.write_table(replace(table, "fraud", flipped), folder / "flipped.parquet")
    other = detector_of(folder / "flipped.parquet", config())
    # With labels at random in the block, trees are worth nothing there.
    assert other.feedback is None
    assert other.summary["feedback_weight"] == 0
    assert "count nothing" in other.summary["feedback"]
    scores = other.model.anomaly_score(other.encoder.transform(table.slice(3000)))
    assert (other.held_out.scores == scores).all()


def test_p_values_and_the_cut_are_of_the_blended_scores(detector, later):
    held_out = detector.held_out
    assert (detector.calibration.scores == np.sort(held_out.scores[held_out.normal])).all()
    scores = detector.anomaly_scores(later)
    normal = later["fraud"].to_numpy() == 0
    assert 0 < (scores[normal] > detector.threshold).mean() < 0.03  # 1 % was promised
    assert (scores[~normal] > detector.threshold).mean() > 0.8


def test_a_saved_detector_scores_as_before(detector, later, tmp_path):
    detector.save(tmp_path / "artefact")
    again = Detector.load(tmp_path / "artefact")
    assert (again.anomaly_scores(later) == detector.anomaly_scores(later)).all()
    assert (again.one_class.scores == detector.one_class.scores).all()
    again.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "artefact")
    assert {name.rpartition(".")[2] for name in contents(tmp_path)} == {"json", "parquet", "safetensors"}


def test_rows_in_another_order_teach_the_same(detector, features, later, folder):
    table = pq.read_table(features)
    pq.write_table(table.take(np.random.default_rng(0).permutation(ROWS)), folder / "shuffled.parquet")
    other = detector_of(folder / "shuffled.parquet", config())
    assert (other.anomaly_scores(later) == detector.anomaly_scores(later)).all()


def test_labels_that_are_not_known_yet_teach_nothing(features, later, folder):
    table = pq.read_table(features)
    moments = table["at"].to_numpy()
    as_of = moments[3600]
    unknown = moments + np.timedelta64(7, "D") > as_of
    labels = np.where(unknown, 1 - table["fraud"].to_numpy(), table["fraud"].to_numpy())
    pq.write_table(replace(table, "fraud", labels), folder / "changed.parquet")
    ours, other = (detector_of(path, config(), as_of.astype(object)) for path in (features, folder / "changed.parquet"))
    assert ours.feedback is not None
    assert (ours.anomaly_scores(later) == other.anomaly_scores(later)).all()


def test_too_few_known_frauds_for_trees_raise_what_looks_like_them_and_are_told(features, folder, later, alone):
    settings = config(feedback={"min_frauds": 200})
    few = detector_of(features, settings)
    assert isinstance(few.feedback, Traits)
    assert few.summary["feedback_weight"] == 0
    assert "trees learn from 200" in few.summary["feedback"]
    assert precision(few, later) > precision(alone, later)
    # All of them early: none in the block says what trees are worth.
    table = pq.read_table(features)
    labels = np.where(np.arange(ROWS) < 3000, table["fraud"].to_numpy(), 0)
    pq.write_table(replace(table, "fraud", labels), folder / "early.parquet")
    assert f"{LEAST_FRAUDS} in it" in detector_of(folder / "early.parquet", config()).summary["feedback"]


def test_where_only_some_frauds_are_labelled_the_other_rows_are_normal(features, folder, later, detector):
    table = pq.read_table(features)
    labels, days = table["fraud"].to_numpy(), np.arange(ROWS)
    hidden = (days > 1000) & ((labels == 0) | (np.cumsum(labels) % 4 == 0))
    pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden)), folder / "partly.parquet")
    partly = detector_of(folder / "partly.parquet", config())
    assert partly.summary["taken_for_normal_rows"] == hidden.sum()
    assert partly.feedback is not None
    assert precision(partly, later) > 0.8 * precision(detector, later)


def test_risks_that_the_model_does_not_look_at_teach_what_they_are_worth(folder):
    # Whether a card had frauds tells its next ones, and nothing else does; review looks at two rows in five.
    generator, table = np.random.default_rng(0), transactions(ROWS)
    is_bad = np.isin(table["card"].to_pylist(), ["card-03", "card-17", "card-21", "card-30"])
    fraud = (is_bad & (generator.random(ROWS) < 0.8)).astype(np.int8)
    table = replace(table, "eur", generator.lognormal(3, 0.3, ROWS).round(2))
    settings = config(
        features={"families": ("amount", "columns", "risk"), "label_delay_days": 1.0},
        model={"name": "committee", "max_epochs": 3},
    )
    labels = pa.array(fraud, mask=generator.random(ROWS) > 0.4)
    features = feature_table(folder, replace(table, "fraud", labels), settings, "risky")
    detectors = [detector_of(features, with_feedback(settings, enabled)) for enabled in (True, False)]
    risks = [name for name in detectors[0].summary["ignored_features"].split(", ") if name]
    assert risks
    assert all("risk" in name for name in risks)
    assert detectors[1].summary["ignored_features"] == ""
    assert set(risks) <= set(detectors[1].summary["unused_features"].split(", "))
    rows = pq.read_table(features).slice(3 * ROWS // 4)
    one_class, without = (detector.model.anomaly_score(detector.encoder.transform(rows)) for detector in detectors)
    assert (one_class == without).all()
    later = fraud[3 * ROWS // 4 :]
    scores = [detector.anomaly_scores(rows) for detector in detectors]
    found = [average_precision_score(later, score) for score in scores]
    assert found[0] > 0.5 > 2 * found[1]


def with_feedback(settings, enabled):
    """Return the configuration with known frauds counting or not."""
    return settings.model_copy(update={"feedback": settings.feedback.model_copy(update={"enabled": enabled})})


@pytest.fixture(scope="module")
def begun(features, folder):
    """Fits of a period whose second half is the calibration block, and alone has labels: those given."""
    settings, table = config(training={"calibration_share": 0.5}), pq.read_table(features)

    def fit(labels):
        is_hidden = np.arange(ROWS) < ROWS // 2
        pq.write_table(replace(table, "fraud", pa.array(labels, mask=is_hidden)), folder / "begun.parquet")
        return detector_of(folder / "begun.parquet", settings)

    return fit


def test_where_review_has_only_begun_the_later_half_of_its_frauds_judges(begun, features, later, alone):
    labels, places = pq.read_table(features)["fraud"].to_numpy(), np.arange(ROWS)
    frauds = np.flatnonzero((labels == 1) & (places >= ROWS // 2))
    detector = begun(labels)
    assert detector.summary["fraud_rows"] == len(frauds)
    assert detector.feedback is not None
    assert precision(detector, later) > 2 * precision(alone, later)
    # Where frauds are drawn by chance in one half, those of the other half are told by nothing, or tell nothing.
    middle, random = frauds[len(frauds) // 2], np.random.default_rng(5)
    for part in (places >= middle, (places >= ROWS // 2) & (places < middle)):
        mixed = labels.copy()
        mixed[part] = random.permutation(labels[part])
        assert not isinstance(begun(mixed).feedback, Feedback)


def test_no_row_is_calibrated_by_trees_that_saw_it(begun, features):
    table = pq.read_table(features)
    detector = begun(table["fraud"].to_numpy())
    block = table.slice(ROWS // 2)
    is_fraud = block["fraud"].to_numpy() == 1
    # The trees of the artefact saw the whole block, and tell each half of its frauds better.
    gains = detector.anomaly_scores(block)[is_fraud] - detector.held_out.scores[is_fraud]
    half = len(gains) // 2
    assert np.median(gains[:half]) > 0
    assert np.median(gains[half:]) > 0


def test_trees_that_calibrate_a_row_saw_all_but_its_span_of_the_block(features):
    settings = config()
    parts = split(features, settings, Labels(settings), AFTER)
    of_block = parts.order[(parts.role == CALIBRATION)[parts.order]]
    masks = []

    def margins_without(unseen):
        masks.append(unseen)
        return np.where(unseen[of_block], of_block, np.nan)

    # Whoever scores a row has not seen it; and all that one of them has not seen are some of the block.
    assert (crossed_margins(margins_without, parts) == of_block).all()
    assert len(masks) == FOLDS
    assert (np.sum(masks, axis=0) == (parts.role == CALIBRATION)).all()
    spans = [np.flatnonzero(mask[of_block]) for mask in masks]
    assert all((np.diff(span) == 1).all() for span in spans)
    assert max(map(len, spans)) - min(map(len, spans)) <= 1


def test_many_normal_rows_are_thinned_and_weighted(features, monkeypatch, detector, later):
    monkeypatch.setattr("pipeline.detector.feedback.TREE_ROWS", 1000)
    thinned = detector_of(features, config())
    assert thinned.feedback is not None
    margins = [d.feedback.trees.margin(d.encoder.transform(later)) for d in (thinned, detector)]
    assert not (margins[0] == margins[1]).all()
    shares = [np.median(1 / (1 + np.exp(-margin))) for margin in margins]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_frauds_that_an_audit_slice_found_count_for_those_that_nobody_looked_at(features, detector, later, folder):
    table = pq.read_table(features)
    is_audit = (table["fraud"].to_numpy() == 1) & np.isin(table["channel"].to_pylist(), ["phone"])
    is_audit &= np.isin(table["card"].to_pylist(), [f"card-{number:02d}" for number in range(10)])
    audit = {"tx": table["tx"].filter(pa.array(is_audit)), "inclusion_probability": np.full(is_audit.sum(), 0.05)}
    pq.write_table(pa.table(audit), folder / "audit.parquet")
    weighted = Detector.fit(features, config(), Labels(config(), audits=(folder / "audit.parquet",)), AFTER)
    margins = [each.feedback.trees.margin(each.encoder.transform(later)) for each in (weighted, detector)]
    # More rows are frauds to trees that see each of these for several.
    assert margins[0].mean() > margins[1].mean() + 0.1
    assert (weighted.held_out.one_class == detector.held_out.one_class).all()


def scored(labels, customers=None):
    """Rows of one day with labels, in the order given."""
    n_rows = len(labels)
    settings = config()
    table = pa.table(
        {
            "at": pa.array(np.datetime64("2025-03-01", "us") + np.arange(n_rows)),
            "card": pa.array([f"card-{number}" for number in (range(n_rows) if customers is None else customers)]),
            "eur": np.ones(n_rows),
            "channel": pa.array(["web"] * n_rows),
        }
    )
    return ScoredRows.of(table, settings, scores=np.zeros(n_rows), labels=labels, normal=labels == 0)


def chosen(model, trees, rows, seed=0):
    return choose(model, trees, rows, seed=seed, weights=np.isfinite(rows.labels).astype(float))


def test_the_weight_is_the_best_on_the_known_rows():
    generator = np.random.default_rng(0)
    labels = (generator.random(5000) < 0.03).astype(float)
    model, trees = generator.exponential(size=(2, 5000)) + 3 * labels
    labels[::7] = np.nan  # what is not known counts for nothing
    choice = chosen(model, trees, scored(labels))
    known = ~np.isnan(labels)
    found = [average_precision_score(labels[known], (w * trees + (1 - w) * model)[known]) for w in WEIGHTS]
    assert choice.weight == WEIGHTS[int(np.argmax(found))]
    assert (choice.precision, choice.alone) == (pytest.approx(max(found)), pytest.approx(found[0]))
    assert 0 < choice.weight < 1
    assert choice.text.endswith(
        f"among the rows of the calibration block that were looked at, {choice.alone:.3f} without them"
    )


def test_of_a_few_frauds_the_weight_with_the_surest_gain_counts():
    generator, n_rows = np.random.default_rng(0), 1500
    labels, places = (np.arange(n_rows) < 15).astype(float), np.arange(n_rows)
    model, trees = generator.exponential(size=(2, n_rows))
    shows = generator.integers(0, 2, (2, n_rows)) * labels  # a fraud shows in one, in both or in neither
    model, trees = model + 2 * shows[0], trees + 4 * shows[1]
    customers = np.where(labels == 1, places // 3, places)

    def gains(times):
        values = [average_precision_score(labels, w * trees + (1 - w) * model, sample_weight=times) for w in WEIGHTS]
        return np.subtract(values, values[0])

    draws = [np.bincount(generator.integers(n_rows, size=n_rows), minlength=n_rows)[customers] for _ in range(200)]
    least = np.quantile([gains(times) for times in draws if times[:15].any()], 0.1, axis=0)
    assert (WEIGHTS[int(np.argmax(gains(np.ones(n_rows))))], WEIGHTS[int(np.argmax(least))]) == (0.75, 0.5)
    choice = chosen(model, trees, scored(labels, customers))
    assert choice.weight == 0.5
    assert choice.precision - choice.alone == pytest.approx(gains(np.ones(n_rows))[WEIGHTS.index(0.5)])


def test_the_weight_is_the_best_by_how_many_rows_each_stands_for():
    generator = np.random.default_rng(0)
    labels, is_rare = (generator.random(4000) < 0.05).astype(float), generator.random(4000) < 0.15
    # The one-class score alone finds the rare frauds, of which each stands for twelve.
    model = generator.exponential(size=4000) + 4 * labels * is_rare
    trees = generator.exponential(size=4000) + 4 * labels * ~is_rare
    weights = np.where(is_rare & (labels == 1), 12.0, 1.0)
    counted, weighted = (choose(model, trees, scored(labels), seed=0, weights=w) for w in (np.ones(4000), weights))
    assert weighted.weight < counted.weight
    assert f"{counted.precision:.3f} in the calibration block, " in counted.text
    score = weighted.weight * trees + (1 - weighted.weight) * model
    assert weighted.precision == pytest.approx(average_precision_score(labels, score, sample_weight=weights))


def test_of_weights_that_chance_explains_the_highest_counts():
    generator, labels = np.random.default_rng(3), np.zeros(3000)
    labels[:300] = 1
    trees = generator.exponential(size=3000) + 6 * labels
    model = trees + generator.normal(scale=0.01, size=3000) - 5 * (np.arange(3000) < 20)  # nearly the same, but worse
    assert chosen(model, trees, scored(labels)).weight == WEIGHTS[-1]
    assert chosen(trees, model, scored(labels)).weight == 0


def test_trees_that_are_no_better_count_nothing():
    generator = np.random.default_rng(1)
    labels = (generator.random(5000) < 0.02).astype(float)
    rows = scored(labels)
    choices = [
        chosen(generator.exponential(size=5000) + 2 * labels, generator.exponential(size=5000), rows, seed)
        for seed in range(10)
    ]
    assert [choice.weight for choice in choices] == [0] * 10
    assert all(choice.precision == choice.alone for choice in choices)


def test_what_one_customer_shows_is_an_accident():
    generator = np.random.default_rng(2)
    labels = np.zeros(2000)
    labels[:40] = 1
    model, trees = generator.exponential(size=(2, 2000)) + 2 * labels
    model[:8] -= 2  # eight frauds that the trees alone find
    trees[:8] += 4
    customers = np.arange(2000)
    apart = chosen(model, trees, scored(labels, customers))
    customers[:8] = 0
    assert apart.weight > 0
    customers[8:40] = np.arange(32) + 1
    together = chosen(model, trees - 2 * (np.arange(2000) >= 8) * labels, scored(labels, customers))
    assert together.weight == 0


def test_parts_of_the_block_are_in_the_order_of_time(features, folder, detector):
    table = pq.read_table(features)
    pq.write_table(table.take(np.arange(ROWS)[::-1]), folder / "backwards.parquet")
    parts = split(folder / "backwards.parquet", config(), Labels(config()), AFTER)
    places = parts.places(CALIBRATION)
    assert places[0] == len(places) - 1
    other = detector_of(folder / "backwards.parquet", config())
    assert (other.held_out.scores == detector.held_out.scores).all()


def test_the_p_value_of_the_model_alone_stays_beside(detector, alone, later):
    alone_p = alone.calibration.p_value(alone.anomaly_scores(later))
    for version in (detector, alone):
        figures = pa.Table.from_batches(version.score(later.to_batches()))
        assert (figures["one_class_p_value"].to_numpy() == alone_p).all()
        assert (figures["p_value"].to_numpy() == alone_p).all() == (version is alone)
    assert [scores.shape for scores in detector.both_scores(later.slice(0, 0))] == [(0,), (0,)]


def test_held_out_rows_keep_their_one_class_scores(detector, alone, tmp_path):
    assert (detector.held_out.one_class == alone.held_out.scores).all()
    assert alone.held_out.alone is None
    for version in (detector, alone):
        version.save(tmp_path)
        assert (Detector.load(tmp_path).held_out.one_class == alone.held_out.scores).all()


def test_frauds_are_like_the_known_ones_and_normal_rows_like_few(detector, alone, later, tmp_path):
    fraud = later["fraud"].to_numpy() == 1
    alike = detector.alike(later)
    assert np.median(alike[fraud]) > 10
    assert np.median(alike[~fraud]) <= 1
    assert alike.max() <= (detector.feedback.frauds.leaves.shape[0])
    assert not alone.alike(later).any()
    detector.save(tmp_path)
    assert (Detector.load(tmp_path).alike(later) == alike).all()


def test_a_row_is_like_no_fraud_where_the_one_class_score_makes_up_more(detector, later):
    least = dataclasses.replace(detector, feedback=dataclasses.replace(detector.feedback, weight=1e-9))
    scores = detector.both_scores(later)[1]
    assert not least.alike(later)[scores > np.median(detector.one_class.scores)].any()
    assert detector.alike(later.slice(0, 0)).shape == (0,)
