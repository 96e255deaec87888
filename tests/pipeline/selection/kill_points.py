"""A promotion and a registration that fail or are killed at every point, and what the next command makes of it.

A process of its own, in which nothing runs beside the one thread, so that it can be forked: ``python -m
tests.pipeline.selection.kill_points WORK_DIR ACTION FIRST STEP`` prints, as JSON, two lines a point: killed, and
failed in one of the ways of `FAULTS`, each point in the next one.
"""

import errno
import importlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError
from pipeline.selection.promotion import check_promotable, promote, roll_back
from pipeline.selection.records import AliasRecords
from pipeline.selection.recovery import recover
from pipeline.settings.config import Config
from pipeline.tracking.aliases import find_aliases
from pipeline.tracking.client import experiment_id, start
from pipeline.workspace.intents import Intents
from tests.faults import settle_locks
from tests.pipeline.selection.small_registration import register
from tests.pipeline.tracking.small_training import Trained, make_rows

WRITING = ("set_", "create_", "delete_", "log_", "update_", "transition_")
DATABASES = ("mlflow.db", "ledger.db")
ERRNO = {"no space left on device": errno.ENOSPC, "permission denied": errno.EACCES}
FAULTS = (*ERRNO, "database is locked", "the server is gone", "interrupted")


def fail_at(point: int, fault: str) -> None:
    """Fail before or after the so-manieth write to MLflow, or before a commit to the ledger, or kill this process."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    passed = count(1)

    def hit(error: Callable[[str], Exception] = MlflowException) -> None:
        if next(passed) != point:
            return
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "interrupted":
            raise KeyboardInterrupt
        if fault in ERRNO and error is MlflowException:
            raise OSError(ERRNO[fault], fault)
        raise error(fault)

    def around(write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **options: Any) -> Any:
            hit()
            result = write(*words, **options)
            hit()
            return result

        return wrapped

    for name in dir(MlflowClient):
        if name.startswith(WRITING):
            setattr(MlflowClient, name, around(getattr(MlflowClient, name)))

    @sa.event.listens_for(sa.Engine, "commit")
    def commit(connection: sa.Connection) -> None:
        if str(connection.engine.url.database).endswith("ledger.db"):
            hit(lambda text: sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(text)))


def promote_second(config: Config, trained: Trained) -> None:
    """Promote version 2, unless it is the champion by now."""
    if find_aliases(config)["champion"] != "2":
        promote(config, *check_promotable(config, "2")[:1], "better", over="1")


def roll_back_to_first(config: Config, trained: Trained) -> None:
    """Roll back to version 1, unless it is the champion by now."""
    if find_aliases(config)["champion"] != "1":
        roll_back(config, "worse")


ACTIONS: dict[str, Callable[[Config, Trained], object]] = {
    "promote": promote_second,
    "rollback": roll_back_to_first,
    "register": lambda config, trained: register(trained, config),
}


def in_a_child(job: Callable[[], object], errors: Path) -> int:
    """Run a job in a fork of this process; return its exit status, minus the signal that ended it.

    What is said of an error for users is written to a file.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        job()
        status = 0
    except (AssayError, KeyboardInterrupt) as error:
        errors.write_text(str(error) or "interrupted")
    finally:
        sys.stdout.flush()
        os._exit(status)


def state(config: Config) -> dict[str, object]:
    """Return what there is after all."""
    client = start(config)
    held = {change.alias: change.version for change in AliasRecords(config).all()}
    runs = client.search_runs([experiment_id(client, config)])
    models = client.search_logged_models([experiment_id(client, config)])
    return {
        "aliases": find_aliases(config),
        "records": {alias: version for alias, version in held.items() if version},
        "changes": [[change.action, change.alias] for change in AliasRecords(config).all()],
        "versions": len(client.search_model_versions(f"name = '{config.name}'")),
        "models": len(models),
        "running": sum(run.info.status == "RUNNING" for run in runs),
        "finished": sum(run.info.status == "FINISHED" for run in runs),
        "pending": len(Intents(config).pending()),
        "hidden": sorted(path.name for path in (Path(config.work_dir) / "runs").glob(".*")),
    }


def main(folder: Path, action: str, first: int, step: int) -> None:
    """Fail the action at each point, let the next command recover and do it again, and print what comes of it."""
    trained_folder = Path((folder / "trained.txt").read_text())
    config = Config.model_validate_json((folder / "config.json").read_text())
    trained = Trained(config, make_rows(), Detector.load(trained_folder / "detector"), trained_folder)
    for module in ("pyfunc", "store.tracking.sqlalchemy_store", "store.model_registry.sqlalchemy_store"):
        importlib.import_module(f"mlflow.{module}")  # once, and not in every child
    for name in DATABASES:
        shutil.copy(folder / name, folder / f"{name}.before")

    errors = folder / "errors"

    def again(fault: str, status: int, error: str) -> None:
        sentences = recover(config)
        after = state(config)
        ACTIONS[action](config, trained)
        said = {"fault": fault, "status": status, "error": error, "said": sentences}
        print(json.dumps({**said, "recovered": after, "again": state(config)}))

    def once(point: int, fault: str) -> None:
        fail_at(point, fault)
        ACTIONS[action](config, trained)

    for place, point in enumerate(count(first, step)):
        for fault in ("killed", FAULTS[place % len(FAULTS)]):
            shutil.rmtree(folder / "runs", ignore_errors=True)
            for name in DATABASES:
                shutil.copy(folder / f"{name}.before", folder / name)
            errors.write_text("")
            status = in_a_child(partial(once, point, fault), errors)
            if status == 0 and fault == "killed":
                return
            settle_locks(folder)
            error = errors.read_text()
            assert in_a_child(partial(again, fault, status, error), errors) == 0, (point, fault, errors.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
