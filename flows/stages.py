"""The stages that training and scoring share, as Prefect tasks, and what happens when a flow fails."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows import console
from pipeline import features as behaviour
from pipeline.errors import AssayError, BatchRefused
from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches, span
from pipeline.tables.period import Period
from pipeline.tables.reading import Table
from pipeline.tracking.store import StoreError
from pipeline.validation import validate as validation
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.history import History


def worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """Return whether a failed task may do better the next time: bad input stays bad."""
    try:
        state.result()
    except StoreError:
        return True
    except AssayError:
        return False
    except Exception:  # noqa: BLE001 - whatever else failed (a server, a network disk) may have recovered
        return True
    return False


stage: Callable[..., Any] = partial(task, cache_policy=NO_CACHE, persist_result=False)
retried: Callable[..., Any] = partial(
    stage, retries=2, retry_delay_seconds=[2, 10], retry_jitter_factor=0.5, retry_condition_fn=worth_a_retry
)


@stage(name="validate")
def validate(
    table: Table,
    config: Config,
    folder: Path,
    batch: str,
    period: Period,
    elsewhere: Sequence[Path] = (),
) -> validation.Validated:
    """Split a table into accepted and quarantined rows, or refuse it."""
    with console.step("validate") as on_rows:
        found = validation.validate(
            table,
            config,
            folder=folder / ".validated",
            batch_id=batch,
            period=period,
            elsewhere=elsewhere,
            docs=folder / "data-docs",
            on_rows=on_rows,
        )
    return replace(found, quarantine=found.quarantine.rename(folder / "quarantine.parquet"))


@stage(name="features")
def features(
    validated: validation.Validated, config: Config, folder: Path, batch: str, reviewed: Sequence[Path]
) -> Path:
    """Append the accepted rows to the history, and compute what each entity had been doing."""
    with console.step("features"):
        history = History(WorkFolder(config).history, config)
        history.append(validated.lookback, f"{batch}-before")
        history.append(validated.accepted, batch)
        files = history.behind(*span(validated.accepted, config.contract.timestamp))
        return behaviour.compute(validated.accepted, files, config, folder / ".features.parquet", reviewed)


def gap(validated: validation.Validated, config: Config) -> list[str]:
    """Return a note about the days that features look back to and neither the history nor the table holds."""
    first, _ = span(validated.accepted, config.contract.timestamp)
    days = config.features.max_window_days
    missing = History(WorkFolder(config).history, config).missing_days(first - timedelta(days=days), first)
    own: set[date] = set()
    for batch in read_batches(validated.lookback, columns=[config.contract.timestamp]):
        own.update(pc.unique(batch.column(0).cast(pa.date32())).to_pylist())
    missing = [day for day in missing if day not in own]
    if not missing:
        return []
    note = (
        f"The history lacks {len(missing)} of the {days} days before these rows that features look back to, the latest "
        f"of them {missing[-1]}: what entities did then is not known, so more rows may look unusual. Score the days in "
        "between first, or give a table that holds them too."
    )
    return [note]


def refuse_gap(notes: list[str], validated: validation.Validated, config: Config) -> None:
    """Refuse a batch whose history has a gap, where the configuration says so."""
    if notes and config.features.on_gap == "refuse":
        text = notes[0][0].lower() + notes[0][1:].rstrip(".")
        raise BatchRefused(f'{text}; or accept it with features.on_gap = "report"', read=validated.counts.read)


def forget(config: Config, batch: str) -> None:
    """Take a replaced batch's rows out of the history."""
    history = History(WorkFolder(config).history, config)
    history.remove(f"{batch}-before")
    history.remove(batch)


def say_what_to_do(flow: Any, flow_run: Any, state: Any) -> None:
    """Log, when a flow has failed, what it left behind and what to do next."""
    get_logger("assay").error(
        "%s failed: %s Nothing was published and nothing is half written. Mend what the message names and run it "
        "again: the same command is safe to repeat.",
        flow.name,
        (state.message or "").strip(),
    )
