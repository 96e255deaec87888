"""The work folder: where everything that Assay keeps lies, and how a folder of results appears all at once."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ResourceError
from pipeline.settings.config import Config
from pipeline.tables.scratch import hidden
from pipeline.tables.writing import flush


class WorkFolder:
    """Paths inside ``config.work_dir``.

    Attributes
    ----------
    history : Path
        Store of accepted rows that features look back into, one folder a table name.
    labels : Path
        Labels from review, one folder a table name.
    decisions : Path
        Decisions of the desk, as labels.
    batches, runs : Path
        One folder of results a scored batch, and a training run.
    backtests : Path
        One folder of results a backtest.
    backfills : Path
        Scores of past days beside what was published, one folder a version and day.
    replaced : Path
        Results of batches whose file was replaced by a changed one.
    checkpoints : Path
        What a killed training of this table goes on from.
    comparisons : Path
        One page a comparison of versions.
    documents : Path
        One folder of model documents a table name.
    searches : Path
        A lock a search over models, held by the command that runs it.
    nightly : Path
        What the last run over the incoming folder came to, and when the next one is due.
    monitoring : Path
        The page of the watch over time.
    lineage : Path
        Events on what training and scoring read and wrote, a file a month.
    landed : Path
        Copies of the files of a store, each while it is scored.
    draft : Path
        Rows for the history that the run at work on this table has written and no record owns yet.
    """

    def __init__(self, config: Config) -> None:
        self.root = Path(config.work_dir)
        self.history = self.root / "history" / config.name
        self.labels = self.root / "labels" / config.name
        self.decisions = self.root / "decisions" / config.name
        self.batches = self.root / "batches"
        self.runs = self.root / "runs"
        self.backtests = self.root / "backtests"
        self.backfills = self.root / "backfills" / config.name
        self.replaced = self.root / "replaced"
        self.checkpoints = self.root / "checkpoints" / config.name
        self.comparisons = self.root / "comparisons"
        self.documents = self.root / "documents" / config.name
        self.searches = self.root / "searches"
        self.nightly = self.root / "nightly" / config.name
        self.monitoring = self.root / "monitoring" / config.name
        self.lineage = self.root / "lineage"
        self.landed = self.root / "landed" / config.name
        self.draft = self.history / ".draft"

    @contextmanager
    def staged(self, final: Path) -> Iterator[Path]:
        """Give a temporary folder that becomes ``final`` when the block ends well, and vanishes when it doesn't.

        A folder that is already at ``final`` is replaced. Names that begin with a dot inside the temporary
        folder are scratch and do not move along.
        """
        self.make(final.parent)
        with hidden(final.parent, final.name) as folder:
            yield folder
            for scratch in folder.glob(".*"):
                shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()
            folder.chmod(_usual_mode(folder))
            if final.exists():
                self._set_aside(final)
            flush(folder, *folder.rglob("*"))
            folder.rename(final)
            flush(final.parent)

    def retire(self, folder: Path) -> None:
        """Move the results of a replaced batch out of the way; they are kept under ``replaced``."""
        if folder.exists():
            self.make(self.replaced)
            target = self.replaced / folder.name
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)

    def make(self, folder: Path) -> None:
        """Make a folder, or say in a sentence why it can't be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"the work folder {folder} can't be made ({error.strerror}); name another one as work_dir"
            ) from None
        if not os.access(folder, os.W_OK):
            raise ResourceError(
                f"the work folder {folder} can't be written to; change its rights, or name another one as work_dir"
            )

    def _set_aside(self, final: Path) -> None:
        """Take the old results away in one step, so that no reader meets a folder that is half old and half new."""
        with hidden(final.parent, f"old-{final.name}") as old:
            final.rename(old / "results")


def _usual_mode(folder: Path) -> int:
    """Return the rights that a folder made in this one has, as the process's umask says: temporary ones have fewer."""
    trial = folder / ".rights"
    trial.mkdir()
    mode = stat.S_IMODE(trial.stat().st_mode)
    trial.rmdir()
    return mode
