import dataclasses
import json
import signal
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.registry import MODELS
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.detector.artefact import Detector
from pipeline.detector.files import FORMAT, seal, unseal
from pipeline.errors import ConfigError, ResourceError, TrainingError
from pipeline.settings.config import ThresholdConfig, TrackingConfig
from pipeline.tables.parquet import read_batches
from tests.pipeline.fitted import (
    AFTER,
    DAYS,
    START,
    contents,
    detector_of,
    feature_table,
    replace,
    transactions,
)
from tests.pipeline.fitted import config as settings_of
from tests.processes import run

ROOT = Path(__file__).parents[3]


def config(**changes):
    """The settings of a model that known frauds add nothing to: what they add has tests of its own."""
    return settings_of(**{"feedback": {"enabled": False}} | changes)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return feature_table(tmp_path_factory.mktemp("features"), transactions(), config())


@pytest.fixture(scope="module")
def detector(features):
    return detector_of(features, config())


def saved(detector, folder):
    detector.save(folder)
    return contents(folder)


def refit(table, folder, settings=None, as_of=AFTER):
    pq.write_table(table, folder / "again.parquet")
    return saved(
        detector_of(folder / "again.parquet", settings or config(), as_of),
        folder / "again",
    )


def test_p_values_are_of_the_normal_rows_of_the_last_block_in_time(detector, features):
    block = pq.read_table(features).slice(1125)
    normal = block.filter(pc.equal(block["fraud"], 0))
    scores = detector.model.anomaly_score(detector.encoder.transform(normal))
    assert (detector.calibration.scores == np.sort(scores)).all()
    everything = detector.model.anomaly_score(detector.encoder.transform(block))
    assert (np.sort(detector.held_out.scores) == np.sort(everything)).all()
    assert detector.held_out.days == detector.summary["calibration_days"]
    assert detector.threshold == np.sort(scores)[::-1][int(0.01 * (len(scores) + 1)) - 1]
    assert detector.promise == FalseAlertRate(rate=0.01).solve(detector.held_out).promise


def test_batches_are_scored_in_order_and_alike_whatever_their_size(detector, features):
    whole = pa.Table.from_batches(detector.score(read_batches(features)))
    pieces = pa.Table.from_batches(detector.score(read_batches(features, rows=77)))
    assert whole.schema.names == ["tx", "anomaly_score", "p_value", "tail_p_value", "one_class_p_value"]
    assert whole["tx"].equals(pq.read_table(features)["tx"])
    assert pieces.equals(whole)
    assert (whole["p_value"].to_numpy() == detector.calibration.p_value(whole["anomaly_score"].to_numpy())).all()
    assert whole["tail_p_value"].null_count == whole.num_rows  # 37 scores in the top tenth are too few for a tail


def test_frauds_far_from_every_habit_score_higher_than_normal_rows(detector, features):
    from sklearn.metrics import roc_auc_score

    labels = pq.read_table(features)["fraud"].to_numpy()
    scores = pa.Table.from_batches(detector.score(read_batches(features)))["anomaly_score"].to_numpy()
    assert roc_auc_score(labels, scores) > 0.95


def test_an_empty_batch_gives_an_empty_batch_of_the_same_columns(detector, features):
    empty = next(read_batches(features)).slice(0, 0)
    first, second = detector.score([empty, next(read_batches(features))])
    assert first.num_rows == 0
    assert first.schema == second.schema


def test_flagged_is_strictly_above_the_threshold_and_ranks_count_from_the_highest(detector):
    cut = detector.threshold
    flags, ranks = detector.flag(np.array([cut + 1, cut, cut + 3, cut - 1, cut + 2]))
    assert flags.tolist() == [True, False, True, False, True]
    assert ranks.tolist() == [3, 0, 1, 0, 2]


def test_rows_that_score_alike_are_ranked_by_id(detector):
    high = detector.threshold + np.array([1.0, 1.0, 5.0, 1.0])
    assert detector.flag(high, pa.array(["c", "a", "z", "b"]))[1].tolist() == [4, 2, 1, 3]
    assert detector.flag(high, pa.chunked_array([[30, 4], [9, 11]]))[1].tolist() == [4, 2, 1, 3]


def test_a_saved_detector_scores_bit_for_bit_as_before(detector, features, tmp_path):
    detector.save(tmp_path / "artefact")
    again = Detector.load(tmp_path / "artefact")
    batches = list(read_batches(features))
    assert list(again.score(batches)) == list(detector.score(batches))
    for name in ("config", "as_of", "threshold", "promise", "summary", "epochs", "calibration_start", "features"):
        assert getattr(again, name) == getattr(detector, name), name
    assert saved(again, tmp_path / "again") == contents(tmp_path / "artefact")


def test_an_artefact_holds_no_pickle_and_names_its_format(detector, tmp_path):
    files = saved(detector, tmp_path / "artefact")
    assert {name.rpartition(".")[2] for name in files} == {"json", "parquet", "safetensors"}
    assert json.loads(files["detector.json"])["format"] == FORMAT


def test_an_artefact_of_other_settings_of_the_desk_and_of_notices_is_read(detector, tmp_path):
    detector.save(tmp_path)
    content = unseal(tmp_path)
    sections = {"columns", "incoming", "schedule", "review", "notify", "metrics", "lineage", "tracking"}
    assert not sections & set(content["config"])
    content["config"] |= {"review": {"a_setting_of_then": 4.0}, "notify": {"gone": []}}
    seal(tmp_path, content)
    assert Detector.load(tmp_path).config == detector.config


def test_an_artefact_holds_no_password_of_the_tracking_section(detector, tmp_path):
    urls = {"uri": "postgresql://assay:first-word@db/mlflow", "ledger_url": "postgresql://assay:second-word@db/assay"}
    settings = config(tracking=urls)
    files = saved(dataclasses.replace(detector, config=settings), tmp_path)
    assert not [name for name, content in files.items() if b"-word" in content]
    assert Detector.load(tmp_path).config == settings.model_copy(update={"tracking": TrackingConfig()})


def test_a_configuration_to_score_with_is_todays_but_for_the_features_that_were_trained(detector):
    today = config(
        contract={"sensitive": ["card"]},
        features={"families": ("amount",), "memory_limit": "1GB", "on_gap": "refuse"},
        threshold={"false_alert_rate": 0.2},
    )
    settled = detector.settle(today)
    assert settled.features.families == detector.config.features.families
    assert (settled.features.memory_limit, settled.features.on_gap) == ("1GB", "refuse")
    assert settled == today.model_copy(update={"features": settled.features})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"table": {"time_zone": "Europe/Berlin"}}, r"table\.time_zone"),
        ({"contract": {"categorical": ()}}, "categorical"),
        ({"contract": {"entities": ()}, "table": {"time_zone": "Europe/Berlin"}}, r"entities, table\.time_zone"),
    ],
)
def test_a_contract_or_a_time_zone_that_the_model_was_not_trained_with_is_refused(detector, changes, names):
    with pytest.raises(ConfigError, match=f"was trained with, in {names}; train again, or put it back"):
        detector.settle(config(**changes))


def test_another_format_or_folder_is_refused_in_a_sentence(detector, tmp_path):
    detector.save(tmp_path)
    described = json.loads((tmp_path / "detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps({**described, "format": 99}))
    with pytest.raises(ResourceError, match=r"detector\.json has format version 99 and this version of Assay reads 5"):
        Detector.load(tmp_path)
    (tmp_path / "detector.json").unlink()
    with pytest.raises(ResourceError, match=r"holds no detector, for detector\.json is missing"):
        Detector.load(tmp_path)


def test_no_file_of_an_artefact_is_believed_but_as_it_was_written(detector, tmp_path):
    for name, content in saved(detector, tmp_path).items():
        path = tmp_path / name
        middle = len(content) // 2
        for change in (
            b"",
            content[:middle],
            content + b"\0",
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        ):
            path.write_bytes(change)
            with pytest.raises(ResourceError, match=rf"file \S+{name} is damaged: .+; bring the whole folder back"):
                Detector.load(tmp_path)
        path.unlink()
        with pytest.raises(ResourceError, match=rf"{name} is missing; "):
            Detector.load(tmp_path)
        path.write_bytes(content)
    assert Detector.load(tmp_path).threshold == detector.threshold


@pytest.mark.parametrize("cut", ["NaN", "1e300", "Infinity", "1e999", "null", '"high"'])
def test_a_cut_that_somebody_changed_is_refused_and_never_flags_nothing(detector, tmp_path, cut):
    detector.save(tmp_path)
    path = tmp_path / "detector.json"
    text = path.read_text()
    changed = text.replace(f'"value": {detector.threshold!r}', f'"value": {cut}')
    assert changed != text
    path.write_text(changed)
    with pytest.raises(ResourceError, match=r"detector\.json is damaged"):
        Detector.load(tmp_path)


def test_an_artefact_whose_scores_are_not_finite_is_refused(detector, tmp_path):
    scores = detector.held_out.scores.copy()
    scores[3] = np.nan
    broken = dataclasses.replace(detector, held_out=dataclasses.replace(detector.held_out, scores=scores))
    broken.save(tmp_path)
    with pytest.raises(ResourceError, match=r"calibration\.parquet holds numbers that are not finite"):
        Detector.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["config"]["contract"].update(of_a_later_version=1),
        lambda content: content["threshold"].update(of_a_later_version=1),
        lambda content: content.pop("calibration_days"),
        lambda content: content.update(calibration=[]),
        lambda content: content.update(summary=None, as_of=7),
    ],
)
def test_an_artefact_of_another_version_is_told_from_a_damaged_one(detector, tmp_path, change):
    detector.save(tmp_path)
    content = unseal(tmp_path)
    content.pop("format")
    change(content)
    seal(tmp_path, content)
    with pytest.raises(ResourceError, match="was written by another version of Assay, and this one cannot read it"):
        Detector.load(tmp_path)


def test_the_same_seed_gives_the_same_artefact_and_another_seed_another(detector, features, tmp_path):
    files = saved(detector, tmp_path / "one")
    assert refit(pq.read_table(features), tmp_path) == files
    other = refit(pq.read_table(features), tmp_path, config(model={"seed": 1}))
    assert other["model/model.safetensors"] != files["model/model.safetensors"]


def test_the_order_of_the_rows_does_not_matter(detector, features, tmp_path):
    table = pq.read_table(features)
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    assert refit(shuffled, tmp_path) == saved(detector, tmp_path / "one")


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_are_not_available_yet_leave_no_trace(tmp_path, seed):
    settings = config(features={"families": ("amount", "change", "risk")})
    as_of = START + timedelta(days=DAYS + 3)
    table = transactions()
    delay = timedelta(days=settings.features.label_delay_days)
    late = pc.greater(pc.add(table["at"], pa.scalar(delay)), pa.scalar(as_of, pa.timestamp("us"))).to_numpy()
    assert 150 < late.sum() < 375
    made_up = np.random.default_rng(seed).choice([0.0, 1.0, np.nan], table.num_rows)
    labels = np.where(late, made_up, table["fraud"].to_numpy())
    changed = replace(table, "fraud", [None if np.isnan(label) else int(label) for label in labels])
    files = []
    for name, rows in (("before", table), ("after", changed)):
        detector = detector_of(feature_table(tmp_path, rows, settings, name), settings, as_of)
        files.append(saved(detector, tmp_path / name))
    assert files[0] == files[1]
    assert json.loads(files[0]["detector.json"])["summary"]["unknown_label_rows"] == late.sum()


def test_labels_from_review_are_learned_from_and_leave_no_trace_before_their_moment(detector, features, tmp_path):
    ids = pq.read_table(features)["tx"][:400]
    table = {"id": ids, "label": pa.array([1] * 400, pa.int8())}
    reviewed = [tmp_path / "review.parquet"]
    files = []
    for moment in (AFTER, AFTER + timedelta(microseconds=1)):
        moments = pa.array([moment] * 400, pa.timestamp("us"))
        pq.write_table(pa.table({**table, "labelled_at": moments}), reviewed[0])
        files.append(saved(detector_of(features, config(), reviewed=reviewed), tmp_path / str(moment)))
    before = saved(detector, tmp_path / "before")
    assert files[1] == before
    assert files[0]["encoder.json"] != before["encoder.json"]
    normal = pc.sum(pc.equal(pq.read_table(features)["fraud"][400:], 0)).as_py()
    summary = json.loads(files[0]["detector.json"])["summary"]
    assert summary["rows"] - summary["fraud_rows"] == normal


def test_known_frauds_before_the_calibration_block_are_not_learned_from(detector, features, tmp_path):
    table = pq.read_table(features)
    frauds = (table["fraud"].to_numpy() == 1) & (np.arange(1500) < 1125)
    assert frauds.sum() > 10
    for column in ("eur", "hour of day"):
        table = replace(table, column, np.where(frauds, 1e6, table[column].to_numpy()))
    assert refit(table, tmp_path) == saved(detector, tmp_path / "one")


def test_capacity_counts_frauds_too_on_the_whole_days_of_the_block(features):
    settings = config(threshold={"strategy": "capacity", "alerts_per_day": 2})
    detector = detector_of(features, settings)
    block = pq.read_table(features).slice(1125)
    days = block["at"].to_numpy().astype("datetime64[D]")
    assert pq.read_table(features)["at"].to_numpy()[1124].astype("datetime64[D]") == days[0]  # begun before the block
    scores = detector.model.anomaly_score(detector.encoder.transform(block))[days > days[0]]
    assert (scores > detector.threshold).sum() == 2 * len(np.unique(days[days > days[0]]))
    assert "alerts a day" in detector.promise


def test_the_label_delay_gap_is_part_of_the_block_and_of_capacity(features):
    as_of = START + timedelta(days=DAYS)
    settings = config(threshold={"strategy": "capacity", "alerts_per_day": 2})
    detector = detector_of(features, settings, as_of)
    moments = pq.read_table(features)["at"].to_numpy()
    old = moments <= np.datetime64(as_of - timedelta(days=7))
    block = np.ceil(0.25 * old.sum()) + (~old).sum()
    assert len(detector.held_out) == detector.summary["calibration_rows"] == block
    assert np.isnan(detector.held_out.labels).sum() == (~old).sum()
    assert (
        len(detector.calibration.scores)
        == detector.held_out.normal.sum()
        == detector.summary["calibration_normal_rows"]
    )
    whole = detector.held_out.take(detector.held_out.whole)
    assert (whole.scores > detector.threshold).sum() == 2 * len(np.unique(whole.day))
    assert len(np.unique(whole.day)) > 10  # the gap alone has seven


def test_a_row_at_its_cut_is_not_flagged(detector):
    at = detector.threshold
    scores = np.array([at, np.nextafter(at, np.inf), np.nextafter(at, 0), at + 1])
    flags, ranks = detector.flag(scores)
    assert flags.tolist() == [False, True, False, True]
    assert ranks.tolist() == [0, 2, 0, 1]
    assert detector.flag(scores, cuts=np.array([at, at + 1, 0, at + 1]))[0].tolist() == [False, False, True, False]


def test_another_threshold_needs_no_fit_and_no_scoring_and_survives_saving(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(type(detector.model), "anomaly_score", lambda *_: pytest.fail("scored anew"))
    strategies = {"capacity": {"alerts_per_day": 3}, "fdr": {}, "cost": {}, "recall_at_least": {"min_recall": 0.2}}
    for number, (strategy, given) in enumerate(strategies.items()):
        other = detector.with_threshold(ThresholdConfig(strategy=strategy, **given))
        assert other.model is detector.model
        assert other.cut.strategy == other.config.threshold.strategy == strategy
        other.save(tmp_path / str(number))
        again = Detector.load(tmp_path / str(number))
        assert again.cut == other.cut
        assert again.with_threshold(detector.config.threshold).cut == detector.cut
        scores = np.random.default_rng(0).exponential(detector.threshold, 200)
        assert (again.flag(scores)[0] == other.flag(scores)[0]).all()
    back = {name: contents(tmp_path / str(name)) for name in range(2)}
    weights = [{name: file for name, file in files.items() if "model/" in name} for files in back.values()]
    assert weights[0] == weights[1] != {}


def test_nothing_sensitive_is_kept_with_the_rows_held_out(features, tmp_path):
    settings = config(contract={"sensitive": ("card", "eur", "channel")})
    detector = detector_of(features, settings)
    assert detector.held_out.amounts is None
    assert detector.held_out.segments == {}
    assert detector.held_out.customers.max() < 40
    detector.save(tmp_path)
    assert b"card-" not in (tmp_path / "calibration.parquet").read_bytes()
    kept = pq.read_schema(tmp_path / "calibration.parquet").names
    assert kept == ["anomaly_score", "label", "is_normal", "day", "is_whole_day", "customer"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"min_fit_rows": 1200}}, r"normal rows to fit on and training\.min_fit_rows asks for 1,200"),
        (
            {"training": {"min_calibration_rows": 400}},
            r"normal rows to calibrate on and training\.min_calibration_rows asks for 400",
        ),
        ({"threshold": {"false_alert_rate": 0.001}}, "needs at least 999 normal rows to calibrate on"),
        ({"threshold": {"strategy": "capacity", "alerts_per_day": 70}}, "every row would be flagged"),
    ],
)
def test_too_few_rows_are_refused_with_what_was_found_and_what_to_do(features, settings, message):
    with pytest.raises(TrainingError, match=message) as caught:
        detector_of(features, config(**settings))
    assert "; train on a longer" in str(caught.value) or "; lower threshold" in str(caught.value)


def test_rows_that_are_all_alike_are_refused(features, tmp_path):
    table = pq.read_table(features)
    alike = table.slice(0, 1).take(pa.array([0] * 600)).drop_columns(["tx", "fraud"])
    alike = alike.append_column("tx", pa.array(range(600))).append_column("fraud", pa.array([0] * 600, pa.int8()))
    moments = table["at"].slice(0, 600).combine_chunks()
    pq.write_table(replace(alike, "at", moments), tmp_path / "alike.parquet")
    with pytest.raises(TrainingError, match="no feature varies among the"):
        detector_of(tmp_path / "alike.parquet", config())


def test_a_calibration_block_without_variation_is_refused(features, tmp_path):
    table = pq.read_table(features)
    block = table.slice(1200, 1).take(pa.array([0] * 375)).drop_columns(["tx", "at", "fraud"])
    for name in ("tx", "at"):
        block = block.append_column(name, table[name].slice(1125))
    block = block.append_column("fraud", pa.array([0] * 375, pa.int8())).select(table.schema.names)
    pq.write_table(pa.concat_tables([table.slice(0, 1125), block]), tmp_path / "flat.parquet")
    with pytest.raises(TrainingError, match="all 375 normal rows of the calibration block have the same anomaly score"):
        detector_of(tmp_path / "flat.parquet", config())


def test_each_epoch_is_told(features):
    told = []
    detector = detector_of(features, config(), on_epoch=lambda *seen: told.append(seen))
    assert [(epoch, most) for epoch, most, _ in told] == [(number, 6) for number in range(1, len(told) + 1)]
    assert [item["train_loss"] for item in detector.epochs] == [losses["train_loss"] for *_, losses in told]


def test_a_category_never_seen_is_odd_but_not_beyond_all_measure(tmp_path):
    wide = {"hidden": (64,), "code_size": 32, "max_epochs": 20}
    settings = config(features={"families": ("amount", "columns")}, model=wide)
    path = feature_table(tmp_path, transactions(3000), settings)
    detector = detector_of(path, settings)
    normal = pq.read_table(path).filter(pc.equal(pq.read_table(path)["fraud"], 0))
    fax = replace(normal, "channel", ["fax"] * normal.num_rows)
    scores = [detector.model.anomaly_score(detector.encoder.transform(rows)) for rows in (normal, fax)]
    added = scores[1] - scores[0]
    # A cell in 100 of the fit rows is like it, so that some 1 / 0.01 is added; without them it is 40,000.
    assert 20 < np.median(added) < 1000
    assert np.median(scores[1]) > np.quantile(scores[0], 0.95)


def test_a_training_that_diverges_is_refused(features):
    with pytest.raises(TrainingError, match=r"training failed: .* or lower learning_rate=1e\+30"):
        detector_of(features, config(model={"learning_rate": 1e30}))


@pytest.mark.parametrize("name", MODELS)
def test_every_family_fits_and_scores_the_same_after_save_and_load(features, tmp_path, name):
    model = {"name": name, "options": {"n_steps": 20} if name == "ensemble" else {}}
    detector = detector_of(features, config(model=model))
    detector.save(tmp_path)
    again = Detector.load(tmp_path)
    scores = [pa.Table.from_batches(one.score(read_batches(features))) for one in (detector, again)]
    assert scores[0].equals(scores[1])
    assert again.epochs == detector.epochs
    assert bool(detector.epochs) == (name not in ("memory", "pca", "knn", "isolation_forest", "one_class_svm"))
    assert detector.summary["model"] == name


def test_a_mixed_loss_reads_the_columns_as_the_encoder_made_them(features):
    detector = detector_of(features, config(model={"loss": "mixed"}))
    assert detector.model.column_groups_ == detector.encoder.column_groups
    assert ("category", 4) in detector.model.column_groups_  # three channels, and any other


def test_a_matrix_on_disk_gives_the_same_model_where_the_order_of_the_rows_is_the_models_own(
    features, tmp_path, monkeypatch
):
    in_memory = {name: detector_of(features, config(model={"name": name})) for name in ("knn", "memory")}
    monkeypatch.setattr("pipeline.detector.artefact.MATRIX_BYTES", 0)
    for name, detector in in_memory.items():
        on_disk = detector_of(features, config(model={"name": name}))
        assert saved(on_disk, tmp_path / name / "disk") == saved(detector, tmp_path / name / "memory")
    streamed = detector_of(features, config())
    assert len(streamed.epochs) == 6
    assert not list(features.parent.glob(".matrix-*"))


def test_a_second_fit_without_the_worst_rows_says_how_much_scores_moved(features):
    detector = detector_of(features, config(model={"trim": 0.05}))
    moved = {key: value for key, value in detector.summary.items() if key.startswith("trimmed_")}
    assert moved == {f"trimmed_{key}": value for key, value in detector.model.trimmed_.items()}
    assert moved["trimmed_rows"] == int(0.05 * detector.summary["fit_rows"])
    assert 0.5 < moved["trimmed_rank_correlation"] <= 1


def test_a_model_whose_code_collapsed_is_refused(features):
    model = {"name": "sparse", "options": {"penalty": "l1", "weight": 1e6}, "learning_rate": 0.01}
    with pytest.raises(TrainingError, match=r"the trained model is of no use: .* the same code: it has collapsed"):
        detector_of(features, config(model=model))


def test_a_killed_fit_goes_on_where_it_was_and_ends_the_same(detector, features, tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.pipeline.fitted import AFTER, config, detector_of
from pathlib import Path

def die(epoch, most, losses):
    if epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)

detector_of(Path({str(features)!r}), config(), on_epoch=die, checkpoint=Path({str(tmp_path / "checkpoint")!r}))
"""
    process = run(sys.executable, "-c", code)
    assert process.status == -signal.SIGKILL, process
    assert len(list((tmp_path / "checkpoint").iterdir())) == 1
    told = []
    again = detector_of(
        features, config(), on_epoch=lambda epoch, *rest: told.append(epoch), checkpoint=tmp_path / "checkpoint"
    )
    assert told == list(range(4, len(detector.epochs) + 1))
    assert saved(again, tmp_path / "again") == saved(detector, tmp_path / "never stopped")
    assert not (tmp_path / "checkpoint").exists()
