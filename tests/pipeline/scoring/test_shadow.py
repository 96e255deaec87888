"""The candidate in the champion's shadow: how the two differ, and that no failure of its own reaches the batch."""

from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from pipeline.intake import TakenIn
from pipeline.labels.known import Labels
from pipeline.scoring.queue import queue_change
from pipeline.scoring.score import score_table
from pipeline.scoring.shadow import Candidate, load_candidate, score_in_shadow
from pipeline.tracking.aliases import move_aliases
from pipeline.validation.validate import Counts, Validated
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import START, config, detector_of, feature_table, transactions
from tests.pipeline.tracking.small_training import train

MARKS = {"batch_id": "b", "model_version": "2", "scored_at": datetime(2025, 5, 1)}
TITLES = ("the champion", "version 2")


def taken_in(features):
    """A batch whose accepted rows lie beside its features."""
    rows = features.parent / "later-rows.parquet"
    counts = Counts(read=600, accepted=600, quarantined=0, outside=0, refused=0)
    validated = Validated(accepted=rows, lookback=rows, quarantine=rows, counts=counts, rules={}, docs=None)
    moments = {"first": START, "last": START + timedelta(days=30)}
    workspace = Workspace(config())
    return TakenIn(
        validated=validated, features=features, workspace=workspace, labels=Labels(config()), notes=(), **moments
    )


def test_how_the_queue_would_change_is_all_that_is_published(two, tmp_path):
    later, ((champion, scored), (other, alone)) = two
    labels, done, before = pq.read_table(later)["fraud"].to_numpy().astype(float), [], datetime.now(UTC)
    shadow = score_in_shadow(
        Candidate("version 2", other),
        champion,
        scored,
        taken_in(later),
        folder=tmp_path,
        known=labels,
        on_rows=done.append,
    )
    expected = queue_change(scored, alone, champion.config, titles=TITLES, labels=labels)
    assert (shadow.title, shadow.change, shadow.failure) == ("version 2", expected, "")
    assert shadow.sentence == f"In the champion's shadow, version 2 scored this batch. {expected.sentence}"
    assert sum(done) == 600
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["shadow.parquet"]
    differences = pq.read_table(tmp_path / "shadow.parquet").to_pandas()
    enters = differences[differences.change == "enters"]
    assert len(enters) == expected.enter > 0
    assert set(enters.model_version) == {"version 2"}
    assert set(enters.batch_id) == {"shadow"}
    assert enters.scored_at.between(before, datetime.now(UTC)).all()
    again = score_in_shadow(Candidate("version 2", other), champion, scored, taken_in(later), folder=tmp_path)
    assert again.change == queue_change(scored, alone, champion.config, titles=TITLES)


def test_a_candidate_of_other_features_is_given_its_own(two, tmp_path):
    later, ((champion, scored), _) = two
    settings = config(work_dir=str(tmp_path / "work"), features={"families": ("amount", "recency")})
    candidate = detector_of(feature_table(tmp_path, transactions(), settings), settings)
    own = feature_table(tmp_path, pq.read_table(later.parent / "later-rows.parquet"), settings, name="own")
    alone = score_table(own, candidate, tmp_path / "alone", **MARKS)
    shadow = score_in_shadow(Candidate("version 2", candidate), champion, scored, taken_in(later), folder=tmp_path)
    assert shadow.failure == ""
    assert shadow.change == queue_change(scored, alone, champion.config, titles=TITLES)


def test_a_candidate_that_cannot_be_loaded_or_cannot_score_is_told_in_a_sentence(two, tmp_path):
    later, ((champion, scored), (other, _)) = two
    gone = score_in_shadow(
        Candidate("version 2", failure="it is gone"), champion, scored, taken_in(later), folder=tmp_path
    )
    assert (gone.title, gone.change) == ("version 2", None)
    assert gone.sentence == "In the champion's shadow, version 2 did not score this batch: it is gone"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "shadow.parquet").write_text("of an earlier run")
    missing = taken_in(tmp_path / "nowhere.parquet")
    failed = score_in_shadow(Candidate("version 2", other), champion, scored, missing, folder=tmp_path)
    assert (failed.title, failed.change) == ("version 2", None)
    assert "nowhere.parquet" in failed.failure
    assert not (tmp_path / "shadow.parquet").exists()


@pytest.mark.parametrize(("error", "failure"), [(ValueError("\n of one line\nor two"), "of one line"),
                                                (ValueError(), "ValueError")])  # fmt: skip
def test_of_what_went_wrong_the_first_line_is_told(two, tmp_path, error, failure):
    later, ((champion, scored), (other, _)) = two

    def fail(rows):
        raise error

    shadow = score_in_shadow(
        Candidate("version 2", other), champion, scored, taken_in(later), folder=tmp_path, on_rows=fail
    )
    assert shadow.failure == failure


def test_the_candidate_is_loaded_where_it_is_asked_for_and_another_than_the_champion(tmp_path):
    trained = train(tmp_path)
    asked = {"promotion": trained.config.promotion.model_copy(update={"shadow": True})}
    settings = trained.config.model_copy(update=asked)
    for _ in range(2):
        trained.log()  # the first version is the champion, the second the candidate
    assert load_candidate(trained.config, "champion") is None
    assert load_candidate(settings, "1") is None
    candidate = load_candidate(settings, "champion")
    assert (candidate.title, candidate.failure) == ("version 2", "")
    assert candidate.detector.threshold == trained.detector.threshold
    assert candidate.detector.config == settings
    contract = settings.contract.model_copy(update={"categorical": ()})
    changed = load_candidate(settings.model_copy(update={"contract": contract}), "champion")
    assert (changed.title, changed.detector) == ("version 2", None)
    assert changed.failure == (
        "the contract of 'cards' differs from the one that its model was trained with, in categorical; train again, "
        "or put it back"
    )
    move_aliases(settings, {"champion": "2"}, {})
    assert load_candidate(settings, "champion") is None
    move_aliases(settings, {"champion": "1", "candidate": None}, {})
    assert load_candidate(settings, "champion") is None


def test_a_store_that_does_not_answer_fails_no_batch(tmp_path):
    (tmp_path / "store.db").write_text("no database")
    tracking = {"uri": f"sqlite:///{tmp_path}/store.db"}
    candidate = load_candidate(
        config(work_dir=str(tmp_path), promotion={"shadow": True}, tracking=tracking), "champion"
    )
    assert (candidate.title, candidate.detector) == ("the candidate", None)
    assert candidate.failure
