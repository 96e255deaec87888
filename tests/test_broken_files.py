"""Files that are broken by chance, by a seed: each a quarantined row, one sentence, or the same cells as the good file.

`tests/broken.py` makes them; a spread of them is tried, and all where SOAK is set (make soak).
"""

import os
import random
import shutil
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.score import Champion, score_intake, take_in_batch
from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.validation.validate import Validated, validate
from pipeline.workspace.draft import drafting
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace
from tests.broken import KEYS, ROWS, BrokenFile, Row, as_csv, broken_file, good_sheet
from tests.pipeline.fitted import config, detector_of, feature_table, transactions

LOT = 50
FILES = 1_000
# A lot is a test, and the time limit of a test ends one that hangs.
LOTS = range(FILES // LOT) if os.environ.get("SOAK") else range(1)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    """A version with the rows in its history that it was trained on; half of a batch may be rejected."""
    folder = tmp_path_factory.mktemp("champion")
    families = ("amount", "calendar", "columns", "change", "recency", "activity")
    settings = config(
        validation={"max_rejected": 0.5},
        features={"families": families, "windows_days": (7,)},
        report={"tsne": False},
        work_dir=str(folder / "work"),
    )
    rows = transactions(start=datetime(2025, 3, 5))
    detector = detector_of(feature_table(folder, rows, settings), settings)
    workspace = Workspace(settings)
    workspace.folder.make(workspace.folder.history)
    workspace.history.append(folder / "features-rows.parquet", "training")
    return Champion(detector=detector, version="1", workspace=workspace, candidate=None)


def is_told(refusal: str, path: Path) -> bool:
    """Return whether a refusal, if there is one, is a sentence that names the file, in letters that nothing acts on."""
    return not refusal or (str(path) in refusal and refusal.isprintable())


def rows_of(parquet: Path) -> dict[int, Row]:
    """Return the rows of a file by their ids, each of its own."""
    columns = pq.read_table(parquet).select(KEYS).to_pydict()
    rows = {row[0]: row for row in zip(*columns.values(), strict=True)}
    assert len(rows) == len(columns["tx"])
    return rows


def held(validated: Validated, file: BrokenFile) -> dict[int, Row]:
    """Hold what was accepted against what the file says, and return it."""
    counts, accepted = validated.counts, rows_of(validated.accepted)
    assert counts.read == counts.accepted + counts.quarantined + counts.outside + counts.refused
    assert counts.read == file.count
    assert counts.accepted == len(accepted)
    assert counts.quarantined == pq.read_metadata(validated.quarantine).num_rows
    assert set(accepted.values()) <= file.rows
    return accepted


def validate_file(path: Path, file: BrokenFile, config: Config) -> str:
    """Validate a file of which any number of rows may be rejected, and hold what comes of it; return its refusal."""
    lenient = config.model_copy(update={"validation": config.validation.model_copy(update={"max_rejected": 1.0})})
    batch = Batch.of(path, lenient)
    try:
        validated = validate(batch.open(), lenient, folder=path.parent / "validated", batch_id=batch.id)
    except AssayError as error:
        return str(error)
    held(validated, file)
    return ""


def score_file(path: Path, file: BrokenFile, champion: Champion) -> tuple[str, dict[int, tuple[Row, float]]]:
    """Score a file as `assay score` does, up to its page, and hold what comes of it.

    Returns its refusal, and by id the rows with their scores.
    """
    workspace, now = champion.workspace, datetime(2025, 4, 6)
    batch = Batch.of(path, workspace.config)
    marks = {"batch_id": batch.id, "digest": batch.digest, "model_name": "t", "model_version": "1", "scored_at": now}
    entry = Entry(**marks, source=str(path), period_start=None, period_end=None)
    try:
        with drafting(workspace, workspace.folder.batches / "any") as draft:
            champion = replace(champion, workspace=draft.workspace)
            intake = take_in_batch(batch, champion, [], draft.results, entry=entry)
            result = score_intake(intake, champion, entry, draft.results)
            accepted = held(intake.validated, file)
            scores = pq.read_table(result.scored.scores).to_pydict()
    except AssayError as error:
        return str(error), {}
    assert sorted(scores["tx"]) == sorted(accepted)
    assert np.isfinite(scores["anomaly_score"]).all()
    return "", {tx: (accepted[tx], score) for tx, score in zip(scores["tx"], scores["anomaly_score"], strict=True)}


def hold(path: Path, file: BrokenFile, champion: Champion, best: dict[int, tuple[Row, float]]) -> str:
    """Validate and score a file, hold what comes of it, and return what that is: scored, quarantined or refused."""
    refusals = [validate_file(path, file, champion.workspace.config)]
    refusal, scores = score_file(path, file, champion)
    refusals.append(refusal)
    assert all(is_told(text, path) for text in refusals), refusals
    assert not (refusals[0] and scores)
    if not scores:
        return "refused"
    if {tx: row for tx, (row, _) in scores.items()} != {tx: row for tx, (row, _) in best.items()}:
        return "some rows quarantined"
    assert scores == best
    return "scored"


@pytest.mark.parametrize("lot", LOTS)
def test_a_broken_file_is_told_or_read_as_it_stands(tmp_path: Path, champion: Champion, lot: int) -> None:
    whole = tmp_path / "good.csv"
    whole.write_text(as_csv(good_sheet(), random.Random(0)), newline="")
    good = BrokenFile("good.csv", b"", good_sheet().meaning(), ROWS, ())
    _, best = score_file(whole, good, champion)
    assert len(best) == ROWS
    outcomes, failures = Counter[tuple[str, str]](), list[str]()
    for seed in range(lot * LOT, lot * LOT + LOT):
        file, folder = broken_file(seed), tmp_path / str(seed)
        path = folder / file.name
        folder.mkdir()
        path.write_bytes(file.data)
        try:
            outcome = hold(path, file, replace(champion, is_strict=bool(seed % 2)), best)
        except Exception as error:  # noqa: BLE001 - the other files of the lot are tried all the same
            outcome = "failed"
            failures.append(f"{seed} {file.faults}: {type(error).__name__}: {error}")
        outcomes.update({("any", outcome): 1, **{(fault, outcome): 1 for fault in file.faults}})
        shutil.rmtree(folder)
    print(*(f"{count:3} {fault}: {outcome}" for (fault, outcome), count in sorted(outcomes.items())), sep="\n")
    assert not failures
    assert {"scored", "some rows quarantined", "refused"} <= {outcome for _, outcome in outcomes}
