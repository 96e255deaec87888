"""What came of scoring: one batch, and every new file of the incoming folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.console import Screen
from pipeline.workspace.nightly import Outcome


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What came of scoring one batch.

    Parameters
    ----------
    folder : Path
        Where its outputs lie.
    screen : Screen
    counts : mapping of str to int
        Rows, in the words that people read; empty where the batch was scored before.
    shadow : str
        What the candidate would have flagged instead, in a sentence; empty without one.
    outdated : str
        Which batches scored before saw another history than there is now, in a sentence; empty without one. The
        commands that score them again are those of the screen.
    """

    folder: Path
    screen: Screen
    counts: Mapping[str, int] = field(default_factory=dict)
    shadow: str = ""
    outdated: str = ""


@dataclass(frozen=True, kw_only=True)
class IncomingResult:
    """What came of the incoming folder: the result of each new file, by its name, and what is wrong with others."""

    screen: Screen
    batches: Mapping[str, BatchResult] = field(default_factory=dict)
    outcome: Outcome = "done"
