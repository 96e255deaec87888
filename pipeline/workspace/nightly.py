"""What the last run over the incoming folder came to, and when the next one is due: small files in the work folder.

Nothing depends on them but what people are told: a run whose word could not be written has scored all the same.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipeline.settings.config import Config
from pipeline.tables.writing import write_text
from pipeline.workspace.folder import WorkFolder

Outcome = Literal["done", "refused", "failed", "stopped"]
NO_STEPS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The last run over the incoming folder.

    Attributes
    ----------
    at : datetime
        When it ended, UTC.
    outcome : {"done", "refused", "failed", "stopped"}
        ``refused``: files were refused. ``failed``: files were not scored for a reason outside of them, and are tried
        again. ``stopped``: the run itself came to nothing.
    message : str
        What went wrong, with the remedy; empty for a run that is done.
    seconds : float or None
        How long the run took, with what it waited for; None where an older Assay has noted it.
    steps : mapping of str to float
        Seconds in each step that the terminal shows, all files together.
    """

    at: datetime
    outcome: Outcome
    message: str = ""
    seconds: float | None = None
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule that ``assay schedule`` serves.

    Attributes
    ----------
    cron, time_zone : str
    due : datetime
        The first moment, UTC, for which nothing has run yet.
    missed : int
        Moments of late that went by while nobody served it; told until the run after the next one has ended.
    missed_since : datetime or None
        The first of them, UTC.
    cut : datetime or None
        The next run leaves out files that came earlier, UTC; by ``schedule.catch_up``.
    is_fresh : bool
        Whether nothing has run since they were missed.
    """

    cron: str
    time_zone: str
    due: datetime
    missed: int = 0
    missed_since: datetime | None = None
    cut: datetime | None = None
    is_fresh: bool = False


class Nightly:
    """What is known of the runs over one table's incoming folder (``config.name``).

    Parameters
    ----------
    config : Config

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> with TemporaryDirectory() as folder:
    ...     nightly = Nightly(Config.model_validate({"contract": contract, "work_dir": folder}))
    ...     nightly.end("refused", "day.csv is empty")
    ...     nightly.last_run.message, nightly.schedule
    ('day.csv is empty', None)
    """

    def __init__(self, config: Config) -> None:
        folder = WorkFolder(config).nightly
        self._last_run, self._schedule = folder / "last-run.json", folder / "schedule.json"
        self._state = folder / "state.json"

    @property
    def last_run(self) -> LastRun | None:
        """The last run; None where there was none."""
        raw = _read(self._last_run)
        return LastRun(**{**raw, "at": datetime.fromisoformat(raw["at"])}) if raw else None

    @property
    def schedule(self) -> Schedule | None:
        """The schedule; None where ``assay schedule`` never served one."""
        raw = _read(self._schedule)
        if not raw:
            return None
        moments = {name: raw[name] for name in ("due", "missed_since", "cut") if raw.get(name)}
        return Schedule(**{**raw, **{name: datetime.fromisoformat(text) for name, text in moments.items()}})

    @property
    def state(self) -> str:
        """How scoring stood when `stand` was called last; fine where it never was."""
        return str((_read(self._state) or {}).get("state", "fine"))

    def end(
        self,
        outcome: Outcome,
        message: str = "",
        *,
        seconds: float | None = None,
        steps: Mapping[str, float] = NO_STEPS,
    ) -> None:
        """Note that a run has ended."""
        at = datetime.now(UTC).replace(tzinfo=None)
        run = LastRun(at=at, outcome=outcome, message=message, seconds=seconds, steps=dict(steps))
        _write(self._last_run, asdict(run))

    def stand(self, state: str) -> None:
        """Note how scoring stands, by which a change is known."""
        _write(self._state, {"state": state})

    def plan(self, schedule: Schedule) -> None:
        """Note when the next run is due."""
        _write(self._schedule, asdict(schedule))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return raw


def _write(path: Path, values: dict[str, Any]) -> None:
    with suppress(OSError):  # a full disk, which the run itself says
        write_text(path, json.dumps(values, default=str))
