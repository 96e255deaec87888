"""From a batch to accepted rows and their features: the one way, for every caller."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BatchRefused, HistoryGap
from pipeline.features import compute
from pipeline.labels.known import Labels
from pipeline.tables.batch import Batch
from pipeline.tables.parquet import read_batches, span
from pipeline.validation.rules import not_delivered
from pipeline.validation.totals import check_totals
from pipeline.validation.validate import Validated, WriteDocs, validate
from pipeline.workspace.workspace import Workspace

ShowStep = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""``step(title)``: a context in which a step runs; its value is called with the number of rows done since the last."""


@contextmanager
def silent(title: str) -> Iterator[Callable[[int], None]]:
    """Run a step and show nothing of it."""
    yield lambda rows: None


@dataclass(frozen=True, kw_only=True)
class TakenIn:
    """A batch that was taken in.

    Parameters
    ----------
    validated : Validated
        Accepted and quarantined rows, and their counts.
    features : Path
        Feature table of the accepted rows.
    workspace : Workspace
        Whose history the features look back into, with the rows of this batch where they are remembered.
    labels : Labels
        What was known of rows when the batch was opened.
    notes : tuple of str
        What a reader has to know besides, such as days that the history lacks.
    first, last : datetime
        First and last timestamp of the accepted rows, UTC.
    """

    validated: Validated
    features: Path
    workspace: Workspace
    labels: Labels
    notes: tuple[str, ...]
    first: datetime
    last: datetime


def accept(
    batch: Batch,
    workspace: Workspace,
    scratch: Path,
    *,
    elsewhere: Sequence[Path] = (),
    docs: WriteDocs | None = None,
    step: ShowStep = silent,
) -> Validated:
    """Validate a batch; nothing is remembered.

    Parameters
    ----------
    batch : Batch
    workspace : Workspace
    scratch : Path
        Folder that gets ``quarantine.parquet`` and, in hidden files, the accepted rows.
    elsewhere : sequence of Path
        Parquet files whose ids may not come again.
    docs : callable, optional
        Writes the Data Docs, as `validate` calls it.
    step : callable
        Shows the progress of "validate".

    Raises
    ------
    InputError
        When the table can't be read, or is refused as a whole.
    """
    table = batch.open()
    with step("validate") as on_rows:
        check_totals(table, workspace.config)
        validated = validate(
            table,
            workspace.config,
            folder=scratch / ".validated",
            batch_id=batch.id,
            period=batch.period,
            elsewhere=elsewhere,
            stored=workspace.history.files,
            docs=docs,
            on_rows=on_rows,
        )
    return replace(validated, quarantine=validated.quarantine.rename(scratch / "quarantine.parquet"))


def take_in(
    batch: Batch,
    workspace: Workspace,
    scratch: Path,
    *,
    remember: bool,
    elsewhere: Sequence[Path] = (),
    replaced: Collection[str] = (),
    refuse_gap: bool = False,
    check: Callable[[Path], None] = lambda accepted: None,
    docs: WriteDocs | None = None,
    step: ShowStep = silent,
) -> TakenIn:
    """Validate a batch, and compute the features of its accepted rows over them and the history.

    Parameters
    ----------
    batch : Batch
    workspace : Workspace
    scratch : Path
        Folder that gets ``quarantine.parquet`` and, in hidden files, the accepted rows and the feature table.
    remember : bool
        Whether the accepted rows become part of the workspace's history: that of a draft, for those who publish one.
    elsewhere : sequence of Path
        Parquet files whose ids may not come again.
    replaced : collection of str
        Batches whose place this one takes: with `remember`, their rows leave the history.
    refuse_gap : bool
        Whether ``features.on_gap = "refuse"`` refuses the batch; else a gap is a note.
    check : callable
        Called with the accepted rows (Parquet), before anything is remembered; raises to refuse it.
    docs : callable, optional
        Writes the Data Docs, as `validate` calls it.
    step : callable
        Shows the progress of "validate" and "features".

    Raises
    ------
    InputError
        When the table can't be read, or is refused as a whole.
    """
    labels = workspace.labels
    validated = accept(batch, workspace, scratch, elsewhere=elsewhere, docs=docs, step=step)
    try:
        check(validated.accepted)
    except BatchRefused as error:
        error.read = validated.counts.read
        raise
    notes = _gap(validated, workspace)
    if refuse_gap:
        _refuse_gap(notes, validated, workspace)
    notes = (*notes, *_again(validated, workspace))
    with step("features"):
        if remember:
            _remember(validated, batch, workspace, replaced)
        lookback = () if remember else [validated.lookback]
        target = scratch / ".features.parquet"
        features = features_of(validated.accepted, workspace, target, labels=labels, lookback=lookback)
    first, last = span(validated.accepted, workspace.config.contract.timestamp)
    return TakenIn(
        validated=validated,
        features=features,
        workspace=workspace,
        labels=labels,
        notes=notes,
        first=first,
        last=last,
    )


def features_of(
    rows: Path, workspace: Workspace, out: Path, *, labels: Labels | None = None, lookback: Sequence[Path] = ()
) -> Path:
    """Write the feature table of accepted rows, over the history behind them.

    Parameters
    ----------
    rows : Path
        Parquet: accepted rows, typed; one at least.
    workspace : Workspace
        Of the configuration whose features are asked for.
    out : Path
        Parquet file to write.
    labels : Labels, optional
        What is known of rows; as of now when left out.
    lookback : sequence of Path
        Parquet: earlier rows that the history does not have.

    Returns
    -------
    Path
        `out`.
    """
    config = workspace.config
    past = [*workspace.history.behind(*span(rows, config.contract.timestamp)), *lookback]
    reviewed = (labels or workspace.labels).reviewed
    return compute(rows, past, config, out, reviewed=reviewed, buckets=workspace.history.buckets)


def _remember(validated: Validated, batch: Batch, workspace: Workspace, replaced: Collection[str]) -> None:
    history = workspace.history
    for name in replaced:
        history.remove(f"{name}-before")
        history.remove(name)
    history.append(validated.lookback, f"{batch.id}-before", may_link=True)
    history.append(validated.accepted, batch.id, may_link=True)


def _gap(validated: Validated, workspace: Workspace) -> tuple[str, ...]:
    """Return a note about the days that features look back to and neither the history nor the table holds."""
    config = workspace.config
    first, _ = span(validated.accepted, config.contract.timestamp)
    days = config.features.max_window_days
    in_table: set[date] = set()
    for batch in read_batches(validated.lookback, columns=[config.contract.timestamp]):
        in_table.update(pc.unique(batch.column(0).cast(pa.date32())).to_pylist())
    absent = workspace.history.missing_days(first - timedelta(days=days), first)
    missing = [day for day in absent if day not in in_table]
    if not missing:
        return ()
    note = (
        f"The history lacks {len(missing)} of the {days} days before these rows that features look back to, the latest "
        f"of them {missing[-1]}: what entities did then is not known, so more rows may look unusual. Score the days in "
        "between first, or give a table that holds them too."
    )
    return (note,)


def _again(validated: Validated, workspace: Workspace) -> tuple[str, ...]:
    """Return a note about the rows that were delivered before."""
    count = validated.rules.get(not_delivered(workspace.config), 0)
    if not count:
        return ()
    rows = "row was" if count == 1 else "rows were"
    return (f"{count:,} {rows} delivered before, as they are, and kept the scores of then; they lie in quarantine.",)


def _refuse_gap(notes: Sequence[str], validated: Validated, workspace: Workspace) -> None:
    if notes and workspace.config.features.on_gap == "refuse":
        text = notes[0][0].lower() + notes[0][1:].rstrip(".")
        raise HistoryGap(f'{text}; or accept it with features.on_gap = "report"', read=validated.counts.read)
