"""Whether a training is due: by age, by the watch's state, by new labels; and what the last one came to."""

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipeline.labels.known import Labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.settings.config import Config
from pipeline.workspace.database import connect
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.retraining import (
    LastRetraining,
    Outlook,
    labels_at_hand,
    last_retraining,
    note_retraining,
    outlook,
)
from pipeline.workspace.schema import ALIAS_CHANGES
from pipeline.workspace.watch import CheckState, Stand, WatchEvents
from tests.pipeline.fitted import config

TRAINED = datetime(2025, 3, 1, 2)
DAY = timedelta(days=1)


def settings(folder: Path, **retrain: object) -> Config:
    return config(work_dir=str(folder / "work"), name="cards", retrain=retrain)


def register(config: Config, version: str, alias: str, at: datetime, *, action: str = "register") -> None:
    row = {"model_name": "cards", "alias": alias, "version": version, "replaced": None, "action": action, "why": "",
           "who": "ann", "at": at, "failed_gates": "[]"}  # fmt: skip
    with connect(config).begin() as connection:
        connection.execute(sa.insert(ALIAS_CHANGES), [row])


def note(config: Config, check: str, state: CheckState, at: datetime, *, version: str = "1") -> None:
    WatchEvents(config).note([Stand(check, state, "Odd.")], day=at.date(), batch_id="b", model_version=version, at=at)


def at(config: Config, now: datetime, labels: Labels | None = None) -> Outlook:
    seen = outlook(config, labels or Labels(config), now)
    assert seen is not None
    return seen


def test_without_a_champion_nothing_can_be_due(tmp_path: Path) -> None:
    assert outlook(settings(tmp_path, every_days=1), Labels(config()), TRAINED) is None


def test_by_age_it_is_due_from_the_very_moment_on_and_any_later_training_counts(tmp_path: Path) -> None:
    cards = settings(tmp_path, every_days=30)
    register(cards, "1", "champion", TRAINED)
    before = at(cards, TRAINED + 30 * DAY - timedelta(seconds=1))
    assert (before.reasons, before.champion, before.trained_at) == ((), "1", TRAINED)
    assert before.text == ("version 1 is the champion, and the last training was 29 days ago, with every_days = 30")
    assert at(cards, TRAINED + 30 * DAY).reasons == ("the last training was 30 days ago, with every_days = 30",)
    register(cards, "2", "candidate", TRAINED + 30 * DAY)
    assert at(cards, TRAINED + 31 * DAY).reasons == ()
    register(cards, "2", "champion", TRAINED + 40 * DAY, action="promote")  # trains nothing
    now = at(cards, TRAINED + 60 * DAY)
    assert (now.champion, len(now.reasons)) == ("2", 1)


def test_a_state_of_the_champions_days_makes_it_due_once_and_again_while_it_lasts(tmp_path: Path) -> None:
    cards = settings(tmp_path, when=["stop"], again_days=5)
    register(cards, "1", "champion", TRAINED)
    assert at(cards, TRAINED + DAY).text.endswith("the watch does not say stop of its days")
    note(cards, "rows", "warn", TRAINED + DAY)
    note(cards, "columns", "stop", TRAINED + DAY, version="0")
    assert at(cards, TRAINED + 2 * DAY).reasons == ()  # a state that was not asked for, and another version's
    note(cards, "scores", "stop", TRAINED + 2 * DAY)
    assert at(cards, TRAINED + 2 * DAY).reasons == ("the watch says stop of scores since 2025-03-03",)
    register(cards, "2", "candidate", TRAINED + 3 * DAY)
    last = TRAINED + 3 * DAY
    assert at(cards, last + 5 * DAY - timedelta(seconds=1)).reasons == ()
    (again,) = at(cards, last + 5 * DAY).reasons
    assert again == "the watch says stop of scores since 2025-03-03, and the last training was 5 days ago"
    note(cards, "scores", "ok", last + DAY)
    assert at(cards, last + 5 * DAY).reasons == ()


def test_a_state_from_before_the_champion_lasts_once_the_champion_has_scored_and_columns_are_no_reason(
    tmp_path: Path,
) -> None:
    cards = settings(tmp_path, when=["warn", "stop"], again_days=5)
    register(cards, "1", "champion", TRAINED)
    note(cards, "schema", "stop", TRAINED + DAY)
    assert at(cards, TRAINED + 9 * DAY).reasons == ()
    note(cards, "columns", "warn", TRAINED + DAY)
    register(cards, "2", "candidate", TRAINED + 2 * DAY)
    register(cards, "2", "champion", TRAINED + 2 * DAY, action="promote")
    assert at(cards, TRAINED + 9 * DAY).reasons == ()  # what the new one makes of the days is not known
    entry = Entry(
        batch_id="c", source="c.csv", digest="", period_start=None, period_end=None, model_name="cards",
        model_version="2", scored_at=TRAINED + 3 * DAY, folder="", last_timestamp=TRAINED,
    )  # fmt: skip
    Ledger(cards).record(entry)
    (reason,) = at(cards, TRAINED + 9 * DAY).reasons
    assert reason == "the watch says warn of columns since 2025-03-02, and the last training was 7 days ago"


def test_new_labels_of_different_rows_are_counted_from_the_last_training_on(tmp_path: Path) -> None:
    cards = settings(tmp_path, new_labels=3)
    register(cards, "1", "champion", TRAINED)
    store = ReviewedLabels(tmp_path / "work" / "labels" / "cards", cards)
    moments = [TRAINED, TRAINED + DAY, TRAINED + DAY, TRAINED + 2 * DAY, TRAINED + 3 * DAY]
    store.folder.mkdir(parents=True)
    columns = {"id": [1, 2, 2, 3, 4], "label": [1, 0, 1, 0, 1], "labelled_at": moments}
    pq.write_table(pa.table(columns, schema=store.schema), store.folder / "a.parquet")
    files = sorted(tmp_path.rglob("*"))
    labels = labels_at_hand(cards)
    assert sorted(tmp_path.rglob("*")) == files
    assert at(cards, TRAINED + 2 * DAY, labels).text.endswith(
        "review has given 2 rows a label since the last training, with new_labels = 3"
    )
    (reason,) = at(cards, TRAINED + 3 * DAY, labels).reasons
    assert reason == "review has given 3 rows a label since the last training, with new_labels = 3"
    register(cards, "2", "candidate", TRAINED + 3 * DAY)
    assert at(cards, TRAINED + 4 * DAY, labels).reasons == ()


def test_where_nothing_is_set_nothing_is_asked_for(tmp_path: Path) -> None:
    cards = settings(tmp_path)
    register(cards, "1", "champion", TRAINED, action="promote")
    assert not cards.retrain.is_set
    assert (at(cards, TRAINED + 999 * DAY).reasons, at(cards, TRAINED).text) == ((), "[retrain] asks for nothing")


def test_what_the_last_one_came_to_is_read_back(tmp_path: Path) -> None:
    cards = settings(tmp_path)
    assert last_retraining(cards) is None
    last = LastRetraining(outcome="waits", reasons=("a", "b"), version="7", message="it passes every gate", at=TRAINED)
    note_retraining(cards, last)
    assert last_retraining(cards) == last


@pytest.mark.parametrize(("setting", "fault"), [({"when": ["ok"]}, "warn"), ({"compare_days": 0}, "greater than")])
def test_a_setting_that_cannot_be_is_refused(setting: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        config(retrain=setting)
