"""Data frames through the pipeline, held against the way of files."""

import dataclasses
import tempfile
import warnings
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.detector.artefact import Detector
from pipeline.errors import BatchRefused, InputError, TrainingError
from pipeline.features import compute
from pipeline.inference.roles import infer
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.scoring.frames import fit_frame, infer_frame, score_frame, transform_frame
from pipeline.scoring.score import score_table
from pipeline.settings.config import TableConfig
from pipeline.settings.file import with_settings
from tests.pipeline.fitted import AFTER, START, config, detector_of, feature_table, replace, transactions

SETTINGS = config(
    contract={"numeric": ("age",)},
    features={"families": ("amount", "columns", "change", "risk")},
    threshold={"false_alert_rate": 0.05},
    training={"allow_giveaway": ("eur",)},  # frauds are of 20 times the amount
)
CASES = with_settings(SETTINGS, contract={"numeric": ("case",)})
LATER = START + timedelta(days=30)
SCORES = ["anomaly_score", "p_value", "tail_p_value", "one_class_p_value", "is_flagged"]


def table(rows, seed, **place):
    """Transactions with an age that is missing in one row of five, and a channel that is in one of ten."""
    generator = np.random.default_rng(seed)
    made = transactions(rows, seed=seed, **place)
    age = np.where(generator.random(rows) < 0.2, np.nan, generator.integers(18, 80, rows))
    made = made.append_column("age", pa.array(age, from_pandas=True))
    channel = made["channel"].to_numpy(zero_copy_only=False)
    return replace(made, "channel", np.where(generator.random(rows) < 0.1, None, channel))


@pytest.fixture(scope="module")
def past() -> pa.Table:
    return table(1500, seed=0)


@pytest.fixture(scope="module")
def new() -> pa.Table:
    return table(300, seed=1, first_id=90_000, start=LATER, days=2)


@pytest.fixture(scope="module")
def files(past, new, tmp_path_factory):
    """The way of files: a Detector, and the feature table, scores and alerts of the new rows."""
    folder = tmp_path_factory.mktemp("files")
    detector = detector_of(feature_table(folder, past, SETTINGS, "past"), SETTINGS)
    features = feature_table(folder, new, SETTINGS, "new", history=[folder / "past-rows.parquet"])
    scored = score_table(features, detector, folder, batch_id="b", model_version="1", scored_at=AFTER)
    return detector, features, scored


@pytest.fixture(scope="module")
def detector(files) -> Detector:
    return files[0]


def by_id(path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas().set_index("tx")


def test_a_fitted_frame_gives_the_detector_of_the_same_file(past, detector):
    fitted = fit_frame(past.to_pandas().sample(frac=1, random_state=0), SETTINGS, as_of=AFTER)
    assert fitted.encoder.to_dict() == detector.encoder.to_dict()
    assert fitted.threshold == detector.threshold
    assert (fitted.held_out.scores == detector.held_out.scores).all()


def test_labels_count_as_known_by_now_where_no_moment_is_named(past, detector):
    fitted = fit_frame(past.to_pandas(), SETTINGS)
    # The last row's label is available 7 days after it: then all are, and the fit is that as of later.
    assert fitted.as_of == past["at"].to_numpy()[-1].astype("datetime64[us]").item() + timedelta(days=7)
    assert fitted.threshold == detector.threshold


def test_scores_are_those_of_the_file_in_the_order_and_index_of_the_frame(past, new, files):
    frame = new.to_pandas().sample(frac=1, random_state=1)
    frame.index = pd.Index([f"row {place}" for place in range(len(frame))])
    scored = score_frame(files[0], frame, history=past.to_pandas())
    assert list(scored.scores.columns) == ["tx", *SCORES]
    assert scored.scores.index.equals(frame.index)
    assert (scored.scores["tx"] == frame["tx"]).all()
    expected = by_id(files[2].scores).loc[frame["tx"], SCORES]
    pd.testing.assert_frame_equal(scored.scores[SCORES], expected.set_axis(frame.index))
    assert scored.quarantine.empty
    assert scored.quarantine.columns.tolist() == [*frame.columns, "rules"]


def test_alerts_are_those_of_the_file_by_rank_with_their_reasons(past, new, files):
    frame = new.to_pandas().set_axis(range(500, 800))
    scored = score_frame(files[0], frame, history=past.to_pandas())
    expected = pq.read_table(files[2].alerts)
    assert scored.alerts["tx"].tolist() == expected["tx"].to_pylist()
    assert len(scored.alerts) == scored.scores["is_flagged"].sum() > 3
    assert scored.alerts["rank"].tolist() == list(range(1, len(scored.alerts) + 1))
    assert scored.alerts["reason"].tolist() == expected["reason"].to_pylist()
    assert scored.alerts["reasons"].tolist() == expected["reasons"].to_pylist()
    assert (frame.loc[scored.alerts.index, "tx"] == scored.alerts["tx"]).all()
    assert scored.alerts.columns.tolist() == [
        *("tx", "at", "card", "eur", "channel", "note", "fraud", "age"),
        *(*SCORES, "picked", "threshold", "rank", "like_frauds", "reasons", "unflagged_at", "reason"),
    ]


def test_without_a_history_entities_have_no_past_and_a_note_says_so(new, detector, tmp_path):
    features = feature_table(tmp_path, new, SETTINGS)
    scored = score_frame(detector, new.to_pandas())
    expected = pa.Table.from_batches(detector.score(pq.read_table(features).to_batches())).to_pandas()
    assert scored.scores["anomaly_score"].tolist() == expected.set_index("tx")["anomaly_score"][new["tx"]].tolist()
    assert [note.partition(" of the ")[0] for note in scored.notes] == ["The history lacks 60"]


def test_a_gap_in_the_history_refuses_the_frame_where_the_configuration_says_so(new, detector):
    strict = dataclasses.replace(detector, config=with_settings(SETTINGS, features={"on_gap": "refuse"}))
    with pytest.raises(BatchRefused, match=r"^the history lacks 60 of the 60 days before these rows"):
        score_frame(strict, new.to_pandas())


def test_a_refused_row_comes_back_as_it_came_with_the_rules_it_broke(new, detector):
    frame = new.to_pandas().set_index(pd.Index(range(1000, 1300), name="line"))
    frame["eur"] = frame["eur"].astype(object)
    frame.loc[1003, "eur"] = "a lot"
    frame.loc[1004, "at"] = pd.NaT
    frame["rules"] = "of their own"
    scored = score_frame(detector, frame)
    assert scored.quarantine.index.tolist() == [1003, 1004]
    assert scored.quarantine["eur"].tolist() == ["a lot", frame.loc[1004, "eur"]]
    assert scored.quarantine["rules"].tolist() == [["eur: is a number"], ["at: not missing"]]
    assert scored.quarantine["rules (as delivered)"].tolist() == ["of their own"] * 2
    assert scored.scores.index.equals(frame.index.drop([1003, 1004]))


def test_of_a_row_that_comes_twice_the_one_that_passes_is_scored(new, detector):
    frame = pd.concat([new.slice(0, 1).to_pandas(), new.to_pandas(), new.slice(9, 1).to_pandas()])
    frame = frame.set_axis([f"{place}" for place in range(302)])
    frame.iloc[0, frame.columns.get_loc("eur")] = -1.0
    scored = score_frame(detector, frame)
    # The first row was delivered before itself with an amount below zero; its tenth again at the end.
    assert scored.quarantine.index.tolist() == ["0", "301"]
    assert scored.scores.index.tolist() == [f"{place}" for place in range(1, 301)]
    assert scored.scores["tx"].tolist() == new["tx"].to_pylist()


def test_rows_may_share_an_index(new, detector):
    frame = new.to_pandas().set_axis([7] * 300)
    scored = score_frame(detector, frame)
    assert scored.scores["tx"].tolist() == frame["tx"].tolist()
    assert set(scored.scores.index) == set(scored.alerts.index) == {7}


WAYS = {
    "float keys": lambda frame: frame.assign(tx=frame["tx"].astype("float64")),
    "nullable": lambda frame: frame.convert_dtypes(),
    "pyarrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "objects": lambda frame: frame.astype(object),
    "objects with NaN": lambda frame: frame.astype(object).where(frame.notna(), np.nan),
    "objects with pandas.NA": lambda frame: frame.astype(object).where(frame.notna(), pd.NA),
    "objects with NaT": lambda frame: frame.astype(object).where(frame.notna(), pd.NaT),
    "categories": lambda frame: frame.assign(
        **{name: frame[name].astype("category") for name in ("card", "channel", "age")}
    ),
    "text": lambda frame: frame.map(lambda cell: str(cell) if pd.notna(cell) else None),
    "a zone": lambda frame: frame.assign(at=frame["at"].dt.tz_localize("UTC").dt.tz_convert("Asia/Kathmandu")),
    "nanoseconds": lambda frame: frame.assign(at=frame["at"].astype("datetime64[ns]")),
    "keys in the index": lambda frame: frame.set_index(["tx", "at"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_cell_is_the_same_in_whatever_way_pandas_stores_it(past, new, files, way):
    scored = score_frame(files[0], WAYS[way](new.to_pandas()), history=past.to_pandas())
    assert scored.quarantine.empty
    expected = by_id(files[2].scores).loc[scored.scores["tx"], SCORES]
    pd.testing.assert_frame_equal(scored.scores[SCORES].reset_index(drop=True), expected.reset_index(drop=True))


def test_the_matrix_is_that_of_the_encoder_under_its_names(past, new, files):
    detector, features, _ = files
    frame = new.to_pandas().sample(frac=1, random_state=2)
    with pytest.warns(UserWarning, match="^The history lacks 30 of the 60 days before these rows"):
        matrix = transform_frame(detector, frame, history=past.to_pandas())
    rows = pq.read_table(features)
    expected = pd.DataFrame(detector.encoder.transform(rows), index=rows["tx"].to_pylist()).loc[frame["tx"]]
    assert (matrix.to_numpy() == expected.to_numpy()).all()
    assert matrix.index.equals(frame.index)
    assert matrix.columns.tolist() == [column.name for column in detector.encoder.columns]
    assert matrix.dtypes.unique().tolist() == [np.float32]


def test_the_matrix_lacks_a_refused_row_and_a_warning_says_so(new, detector):
    frame = new.to_pandas()
    frame.loc[5, "eur"] = np.nan
    with pytest.warns(UserWarning, match=r"^1 of 300 rows of the frame are left out: 1 broke 'eur: not missing'\.$"):
        matrix = transform_frame(detector, frame)
    assert matrix.index.equals(frame.index.drop(5))


def test_labels_from_review_count_from_their_moment(past, new, detector, tmp_path):
    labels = pd.DataFrame({"tx": range(600), "fraud": 1, "labelled_at": START + timedelta(days=25)})
    labels.to_parquet(tmp_path / "labels.parquet")
    store = ReviewedLabels(tmp_path / "labels", SETTINGS)
    store.append(tmp_path / "labels.parquet")
    pq.write_table(past, tmp_path / "past.parquet")
    pq.write_table(new, tmp_path / "new.parquet")
    features = tmp_path / "features.parquet"
    compute(tmp_path / "new.parquet", [tmp_path / "past.parquet"], SETTINGS, features, reviewed=store.files())
    expected = pa.Table.from_batches(detector.score(pq.read_table(features).to_batches())).to_pandas()
    scored = score_frame(detector, new.to_pandas(), history=past.to_pandas(), labels=labels).scores
    assert scored["anomaly_score"].tolist() == expected.set_index("tx")["anomaly_score"][new["tx"]].tolist()
    with pytest.warns(UserWarning, match="^The history lacks 30"):
        matrix = transform_frame(detector, new.to_pandas(), history=past.to_pandas(), labels=labels)
    assert (matrix.to_numpy() == detector.encoder.transform(pq.read_table(features).sort_by("tx"))).all()
    without = score_frame(detector, new.to_pandas(), history=past.to_pandas()).scores
    assert (without["anomaly_score"] != scored["anomaly_score"]).any()


def test_a_configuration_is_inferred_as_of_a_file(past, tmp_path):
    pq.write_table(past, tmp_path / "past.parquet")
    expected, reasons, _ = infer(tmp_path / "past.parquet", settings=TableConfig(), label="fraud", ignore=["note"])
    found, why, _ = infer_frame(past.to_pandas().set_index("tx"), label="fraud", ignore=["note"], name="past")
    assert found.contract.model_dump(exclude={"id"}) | {"id": "tx"} == expected.contract.model_dump()
    assert (found.name, found.table.path) == ("past", "")
    assert why.keys() == reasons.keys()
    assert infer_frame(past.to_pandas())[0].name == "assay"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="eur"), "^the frame does not fit the contract, missing: eur; "),
        (lambda frame: frame.head(0), "^the frame is empty"),
        (lambda frame: pd.concat([frame, frame[["eur"]]], axis=1), "^the frame has two columns named 'eur'"),
        (lambda frame: frame.assign(eur=np.nan), "^the frame.*'eur'"),
        (lambda frame: "new.parquet", "^the frame is of type str, not a pandas.DataFrame; read a file into one"),
    ],
)
def test_a_frame_that_cannot_be_scored_is_refused_in_one_sentence(new, detector, change, message):
    with pytest.raises(InputError, match=message) as refused:
        score_frame(detector, change(new.to_pandas()))
    assert "/" not in str(refused.value)
    assert "parquet" not in str(refused.value)


def test_a_history_that_cannot_be_used_is_named(new, past, detector):
    with pytest.raises(BatchRefused, match=r"^the history does not fit the contract, missing: card; "):
        score_frame(detector, new.to_pandas(), history=past.to_pandas().drop(columns="card"))


def test_a_column_that_gives_the_label_away_is_refused(past):
    with pytest.raises(TrainingError, match=r"^case nearly gives the label away"):
        fit_frame(past.to_pandas().assign(case=past["fraud"].to_numpy() * 7.0), CASES)


def test_a_fit_that_fails_says_why(past):
    with pytest.raises(TrainingError, match="normal rows to fit on"):
        fit_frame(past.to_pandas().head(60), SETTINGS)


def test_a_fit_warns_of_rows_that_are_left_out(past):
    frame = past.to_pandas()
    frame.loc[[3, 4], "eur"] = np.nan
    with pytest.warns(UserWarning, match=r"^2 of 1,500 rows of the frame are left out: 2 broke 'eur: not missing'\.$"):
        fit_frame(frame, SETTINGS)


def test_the_rows_and_days_that_a_history_lacks_are_named_in_warnings_and_in_notes(past, new, detector):
    history = past.to_pandas()
    history.loc[[3, 4], "eur"] = np.nan
    # First, for Great Expectations hands warnings to logging from its import on until a block of warnings ends.
    notes = score_frame(detector, new.to_pandas(), history=history).notes
    with warnings.catch_warnings(record=True) as every:
        warnings.simplefilter("always", UserWarning)
        transform_frame(detector, new.to_pandas(), history=history)
    texts = [str(each.message) for each in every if "history" in str(each.message)]
    assert texts[0] == "2 of 1,500 rows of the history are left out: 2 broke 'eur: not missing'."
    assert texts[1].startswith("The history lacks 30")
    assert notes == texts


def test_a_warning_is_of_the_line_that_asked(new, detector):
    frame = new.to_pandas()
    frame.loc[5, "eur"] = np.nan
    assert score_frame(detector, frame).quarantine.index.tolist() == [5]
    with pytest.warns(UserWarning, match="are left out") as warned:
        transform_frame(detector, frame)
    assert warned[0].filename == __file__


def test_a_fit_looks_back_to_a_history_and_knows_labels_from_review(past, tmp_path):
    early, late = past.slice(0, 500), past.slice(500)
    labels = pd.DataFrame({"tx": range(500, 1000), "fraud": 0, "labelled_at": START + timedelta(days=25)})
    labels.to_parquet(tmp_path / "labels.parquet")
    store = ReviewedLabels(tmp_path / "labels", SETTINGS)
    store.append(tmp_path / "labels.parquet")
    pq.write_table(early, tmp_path / "early.parquet")
    pq.write_table(late, tmp_path / "late.parquet")
    features = tmp_path / "features.parquet"
    compute(tmp_path / "late.parquet", [tmp_path / "early.parquet"], SETTINGS, features, reviewed=store.files())
    expected = detector_of(features, SETTINGS, reviewed=store.files())
    with pytest.warns(UserWarning, match="^The history lacks"):
        fitted = fit_frame(late.to_pandas(), SETTINGS, as_of=AFTER, history=early.to_pandas(), labels=labels)
    assert fitted.encoder.to_dict() == expected.encoder.to_dict()
    assert fitted.threshold == expected.threshold
    assert fitted.summary == expected.summary


def test_a_good_frame_gives_no_warning(past):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit_frame(past.to_pandas(), SETTINGS)


def test_nothing_is_left_and_the_frame_is_as_it_was(past, new, detector, *, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    frame, before = new.to_pandas(), new.to_pandas()
    scored = score_frame(detector, frame, history=past.to_pandas())
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(InputError):
        score_frame(detector, frame.drop(columns="eur"))
    assert list(tmp_path.iterdir()) == []
    assert scored.alerts["reason"].notna().all()
