"""Everything that is kept about a version, from a real store and a real ledger."""

from datetime import date, datetime

import pytest

from pipeline.errors import AssayError
from pipeline.selection.dossier import dossier
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.watch import Stand, WatchEvents
from tests.pipeline.tracking.small_training import Trained

AT = datetime(2025, 5, 1)


def test_what_is_of_the_version_is_there_and_what_is_of_another_is_not(trained: Trained) -> None:
    config = trained.named("kept")
    trained.log(config)
    trained.log(config, dataset=None, metrics={"threshold": 1.0}, tags={"weights_of": "1"})
    changes = [
        AliasChange(alias="champion", version="1", replaced=None, action="register", why="first"),
        AliasChange(alias="champion", version="2", replaced="1", action="promote", why="better"),
    ]
    with AliasRecords(config).recording(changes):
        pass
    ledger, watch = Ledger(config), WatchEvents(config)
    for version in ("1", "2"):
        ledger.record(
            Entry(
                batch_id=f"b{version}", source=f"/in/{version}", digest=version, period_start=None, period_end=None,
                model_name="kept", model_version=version, scored_at=AT, folder=str(trained.folder / "no-batch"),
            )
        )  # fmt: skip
        watch.note(
            [Stand(f"check of {version}", "warn", "odd")], day=date(2025, 5, 1), batch_id="b", model_version=version
        )
    today = config.model_copy(update={"contract": config.contract.model_copy(update={"sensitive": ("channel",)})})
    first, second = dossier(today, "1"), dossier(today, "2")
    assert [change.why for change in first.changes] == ["first", "better"]
    assert [change.why for change in second.changes] == ["better"]
    assert [event.check for event in second.events] == ["check of 2"]
    assert [entry.batch_id for entry in second.batches] == ["b2"]
    assert second.seen is None
    assert second.detector.config.contract.sensitive == ("card", "channel")
    assert second.detector.threshold == trained.detector.threshold
    assert (first.is_derived, second.is_derived) == (False, True)
    assert second.training == first.run
    # Of the weights' run, what another threshold leaves as it is.
    assert second.measures == {"average_precision": 0.25, "card_precision_at_100": 0.5}
    with pytest.raises(AssayError, match="has no version or alias '7'"):
        dossier(today, "7")
