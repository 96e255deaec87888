"""A training that is due, on real parts: trained on the history, held against the champion, promoted, told, once."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from flows.retrain import decide
from flows.run import run_flow
from flows.train import Anew
from pipeline.monitoring.checks import CHECKS
from pipeline.selection.gates import Gate
from pipeline.selection.records import AliasRecords
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tracking.aliases import find_aliases
from pipeline.tracking.store import load_detector
from pipeline.workspace.retraining import last_retraining
from pipeline.workspace.watch import Stand, WatchEvents
from tests.flows.assay import client_of, run, said, with_model

FIRST, LAST = date(2025, 2, 22), date(2025, 3, 1)
RETRAIN = "flows.retrain:retrain"


def with_settings(path: Path, **values: str) -> None:
    """Write a configuration with other settings of [retrain]."""
    head, title, rest = path.read_text().partition("[retrain]\n")
    section, next_title, tail = rest.partition("\n[")
    for name, value in values.items():
        section, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", section, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(head + title + section + next_title + tail)


def warn(config: Config) -> None:
    """Let the watch warn of the champion's scores, and of nothing else."""
    event: dict[str, Any] = {"day": LAST, "batch_id": "b", "model_version": "1"}
    WatchEvents(config).note([Stand(check, "ok", "Fine.") for check in CHECKS], **event)
    WatchEvents(config).note([Stand("scores", "warn", "Higher.")], **event)


def test_a_training_that_is_due_is_done_once_and_becomes_champion_through_the_gates(fresh: Path) -> None:
    nothing = run("retrain", "--config", fresh)
    assert nothing.exit_code == 0, nothing.output
    assert "No training is due: [retrain] asks for nothing." in said(nothing)

    with_settings(fresh, when='["warn"]', every_days="30", compare_days="5", promote="true")
    config = read_config(fresh)
    warn(config)
    early = run("retrain", "--config", fresh)
    assert early.exit_code == 0, early.output
    assert "the watch says warn of scores since 2025-03-01), and it is too early for one: the champion" in said(early)
    assert find_aliases(config) == {"champion": "1", "candidate": "2"}

    run_flow(fresh, "flows.score:score", table="", first=FIRST, last=LAST)
    warn(config)
    status = said(run("status", "--config", fresh))
    assert "due: the watch says warn of scores since 2025-03-01" in status
    result = run_flow(fresh, RETRAIN)
    assert (result.last.outcome, result.last.version) == ("promoted", "3")
    assert result.reasons == ("the watch says warn of scores since 2025-03-01",)
    assert "the days 2025-02-03 to 2025-02-24 of the history, and was compared with the champion on 2025-02-25 to" in (
        result.screen.text
    )
    assert result.screen.commands[0] == f"assay rollback --config {fresh}"
    assert "alias" not in result.screen.text  # it has become another since it was registered
    assert {"Rows", "Model", "Gates", "Where"} == result.screen.tables.keys()
    assert find_aliases(config) == {"champion": "3", "previous": "1"}
    (change,) = [each for each in AliasRecords(config).all() if each.action == "promote" and each.alias == "champion"]
    assert change.why == f"retrained, for {result.reasons[0]}; passed all gates"
    client = client_of(fresh.parent)
    version = client.get_model_version(config.name, "3")
    trained = client.get_run(version.run_id)
    assert trained.data.tags["trained_because"] == result.reasons[0]
    assert datetime.fromisoformat(trained.data.params["as_of"]).date() == datetime.now(UTC).date()
    detector, _ = load_detector(config, "champion")
    own = detector.reference.types
    assert Anew(types={"note": "text", "TX_AMOUNT": "text"}).known_to(detector).reference.types == {
        "note": "text",  # no column of the history, and none that the watch may take for new
        **own,
    }
    assert own["TX_AMOUNT"] == "number"
    assert not [path for path in (fresh.parent / "assay-data" / "runs").iterdir() if path.name.startswith(".")]

    again = run("retrain", "--config", fresh)
    assert again.exit_code == 0, again.output
    assert "No training is due: version 3 is the champion, and the last training was less than a day ago" in said(again)
    assert len(client.search_model_versions(f"name='{config.name}'")) == 3

    soon = run("retrain", "--now", "--config", fresh)
    assert soon.exit_code == 1
    assert "the champion has learned from days up to 2025-02-24" in said(soon)
    assert run("status", "--config", fresh).output.count("retraining") == 0

    with_settings(fresh, compare_days="4")
    wrong = with_model(fresh.parent, 'name = "varational"')
    failed = run("retrain", "--now", "--why", "a new fleet", "--config", wrong)
    assert failed.exit_code == 1
    assert "did you mean 'variational'" in said(failed)
    told = said(run("status", "--config", wrong))
    assert "the last retraining, due for a new fleet, failed: model.name = 'varational' is no family" in told


def test_without_a_champion_and_with_a_reason_alone_it_says_what_to_do(new_table: Path) -> None:
    result = run("retrain", "--config", new_table / "assay.toml")
    assert result.exit_code == 1
    assert "has no champion to train anew; train the first one with: assay train" in said(result)
    alone = run("retrain", "--why", "a new fleet", "--config", new_table / "assay.toml")
    assert alone.exit_code == 2
    assert "add --now" in said(alone)


def test_a_version_waits_where_it_may_not_be_promoted_or_fails_a_gate_and_a_person_is_told(fresh: Path) -> None:
    with_settings(fresh, every_days="30", compare_days="5")
    run_flow(fresh, "flows.score:score", table="", first=FIRST, last=LAST)
    result = run_flow(fresh, RETRAIN, now=True, why="a new fleet")
    assert (result.last.outcome, result.last.version) == ("waits", "3")
    config = read_config(fresh)
    assert find_aliases(config) == {"champion": "1", "candidate": "3"}
    assert last_retraining(config) == result.last
    status = run("status", "--config", fresh)
    assert status.exit_code == 1
    assert "for a new fleet, and waits: it passes every gate" in said(status)

    with_settings(fresh, promote="true")
    gate = Gate("alerts_per_day_most", "too many alerts", "Too many.", 9.0, 5.0, at_least=False)
    assert result.last.reasons == ("a new fleet",)
    last = decide(read_config(fresh), [gate], "3", over="1", reasons=result.last.reasons)
    assert (last.outcome, last.message) == ("waits", "it fails 1 of 1 gates (too many alerts)")
    assert find_aliases(config) == {"champion": "1", "candidate": "3"}
