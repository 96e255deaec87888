"""The candidate scores a batch beside the champion: nothing of it is published but how the two differ."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.detector.artefact import Detector
from pipeline.intake import TakenIn, features_of
from pipeline.scoring.queue import QueueChange, queue_change, write_differences
from pipeline.scoring.score import Scored, score_table
from pipeline.settings.config import Config
from pipeline.tracking.aliases import find_aliases
from pipeline.tracking.client import CANDIDATE, CHAMPION
from pipeline.tracking.store import load_detector


@dataclass(frozen=True)
class Candidate:
    """The version that scores in the champion's shadow.

    Parameters
    ----------
    title : str
        How people call it.
    detector : Detector or None
        With the settings to score with; None where it cannot be loaded.
    failure : str
        Why it cannot be loaded.
    """

    title: str
    detector: Detector | None = None
    failure: str = ""


@dataclass(frozen=True)
class Shadow:
    """What came of it.

    Parameters
    ----------
    title : str
    change : QueueChange or None
        None where the candidate failed.
    failure : str
        Why it failed.
    """

    title: str
    change: QueueChange | None = None
    failure: str = ""

    @property
    def sentence(self) -> str:
        """What came of it, for the terminal and the report."""
        if self.change is None:
            return f"In the champion's shadow, {self.title} did not score this batch: {self.failure}"
        return f"In the champion's shadow, {self.title} scored this batch. {self.change.sentence}"


def load_candidate(config: Config, version: str) -> Candidate | None:
    """Return the candidate where ``promotion.shadow`` asks for it; one that cannot be loaded fails no batch.

    None where nothing asks for it: another version than the champion scores, or there is no candidate.
    """
    if not config.promotion.shadow or version != CHAMPION:
        return None
    title = "the candidate"
    try:
        aliases = find_aliases(config)
        if CANDIDATE not in aliases or aliases[CANDIDATE] == aliases.get(CHAMPION):
            return None
        title = f"version {aliases[CANDIDATE]}"
        detector, _ = load_detector(config, CANDIDATE)
        return Candidate(title, replace(detector, config=detector.settle(config)))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the candidate, the champion's batch goes on
        return Candidate(title, failure=_first_line(error))


def score_in_shadow(
    candidate: Candidate,
    champion: Detector,
    scored: Scored,
    intake: TakenIn,
    *,
    folder: Path,
    known: np.ndarray | None = None,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Shadow:
    """Score a batch that the champion has scored, and tell how the queue would change.

    Writes ``shadow.parquet`` into the folder: the alerts that would enter and leave.

    Parameters
    ----------
    candidate : Candidate
    champion : Detector
    scored : Scored
        The champion's.
    intake : TakenIn
        The batch, with the features as the champion sees them; the candidate gets its own where it was trained with
        others.
    folder : Path
        The batch's.
    known : array of shape (n_rows,), optional
        What is known of the rows' labels.
    """
    if candidate.detector is None:
        return Shadow(candidate.title, failure=candidate.failure)
    detector, scratch = candidate.detector, folder / ".shadow"
    try:
        scratch.mkdir(exist_ok=True)
        rows = intake.features
        if detector.config.features != champion.config.features:
            space, out = intake.workspace.under(detector.config), scratch / "features.parquet"
            rows = features_of(intake.validated.accepted, space, out, labels=intake.labels)
        candidate_scored = score_table(
            rows,
            detector,
            scratch,
            batch_id="shadow",
            model_version=candidate.title,
            scored_at=datetime.now(UTC),
            on_rows=on_rows,
        )
        titles = ("the champion", candidate.title)
        change = queue_change(scored, candidate_scored, champion.config, titles=titles, labels=known)
        write_differences(scored, candidate_scored, champion.config, folder / "shadow.parquet")
        return Shadow(candidate.title, change)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the candidate, the champion's batch goes on
        (folder / "shadow.parquet").unlink(missing_ok=True)
        return Shadow(candidate.title, failure=_first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
