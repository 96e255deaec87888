"""Data frames in, data frames out: the pipeline for a notebook or another program.

A frame takes the way of every file: it is written to a scratch folder, validated by the contract, and its features
are computed over a history. Results carry the index of the frame. Nothing is remembered or written elsewhere.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError, InputError
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.output import MARKS, name_within
from pipeline.tables.files import SOURCE_ROW
from pipeline.tables.frame import frame_to_arrow

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.intake import TakenIn


@dataclass(frozen=True)
class ScoredFrame:
    """What came of scoring a frame. Every frame here has the index of the rows that it holds.

    Attributes
    ----------
    scores : pandas.DataFrame
        A row for each row that the contract accepts, in the order given: the id, ``anomaly_score`` (higher = more
        anomalous), ``p_value``, ``tail_p_value``, ``one_class_p_value`` (without what known frauds add) and
        ``is_flagged``.
    alerts : pandas.DataFrame
        The flagged rows, the most anomalous first: the columns of the frame, those of ``scores``, ``threshold``,
        ``rank`` (from 1), ``like_frauds`` (how many known frauds the row is like), ``reasons`` (a list of
        dictionaries, best first), ``unflagged_at`` (the value of each nearest to its own at which the row would not be
        flagged) and ``reason`` (one sentence).
    quarantine : pandas.DataFrame
        The rows that the contract refuses, as they came, with the ``rules`` that each of them broke.
    notes : list of str
        A sentence each: days that features look back to and the history lacks, rows of the history that the contract
        refuses.
    """

    scores: "pd.DataFrame"
    alerts: "pd.DataFrame"
    quarantine: "pd.DataFrame"
    notes: list[str]


def infer_frame(
    frame: "pd.DataFrame",
    *,
    settings: TableConfig = TableConfig(),  # noqa: B008 (frozen)
    **roles: Any,
) -> tuple[Config, dict[str, str], list[str]]:
    """Infer the configuration of a frame, as ``assay init`` does that of a file.

    Parameters
    ----------
    frame : pandas.DataFrame
    settings : TableConfig
        Its ``time_zone`` is that of timestamps that name none.
    **roles
        What a person names: ``id``, ``timestamp``, ``amount`` and ``label``, a column each; ``entities``,
        ``categorical``, ``ignore`` and ``sensitive``, a sequence of columns each; ``name``, that of the model.

    Returns
    -------
    config : Config
    reasons : dict of str to str
        For a role of the contract, why its columns were chosen.
    warnings : list of str
        A sentence each: an id that repeats, a column that gives the label away.

    Raises
    ------
    InputError
        When a named column does not exist or cannot play its role, or no column can be the id, timestamp or amount.
    """
    from pipeline.inference.roles import infer
    from pipeline.tables.reading import open_table

    with _scratch() as folder:
        table = open_table(_write(frame, folder / "frame.parquet", settings), settings)
        config, reasons, notes = infer(table, settings=settings, **{"name": "assay", **roles})
    return config.model_copy(update={"table": config.table.model_copy(update={"path": ""})}), reasons, notes


def fit_frame(
    frame: "pd.DataFrame",
    config: Config,
    *,
    as_of: datetime | None = None,
    history: "pd.DataFrame | None" = None,
    labels: "pd.DataFrame | None" = None,
) -> Detector:
    """Fit a Detector on the normal rows of a frame, as ``assay train`` does; nothing is logged or registered.

    A warning says how many rows the contract refuses (`score_frame` and `transform_frame` name them), and which days
    the history lacks.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows of the training period, in any order.
    config : Config
    as_of : datetime, optional
        UTC without a zone. Labels that become known later count as unknown; by default all that are known by now.
    history : pandas.DataFrame, optional
        Earlier rows, which features look back to.
    labels : pandas.DataFrame, optional
        Labels from review: the id, the contract's label, and ``labelled_at``.

    Raises
    ------
    AssayError
        A frame that does not fit the contract, too few rows, a column that gives the label away, or a training that
        fails; with one sentence.
    """
    from pipeline.inference.giveaways import refuse_giveaways

    with _taken_in(frame, config, history, labels) as taken:
        taken.warn()
        batch = taken.batch
        refuse_giveaways(batch.validated.accepted, config)
        return Detector.fit(batch.features, config, batch.labels, as_of or batch.labels.latest_moment(batch.last))


def transform_frame(
    detector: Detector,
    frame: "pd.DataFrame",
    *,
    history: "pd.DataFrame | None" = None,
    labels: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """Return the matrix that the model of a Detector sees, for other models and for looking at.

    Parameters
    ----------
    detector : Detector
    frame, history, labels : pandas.DataFrame
        As `score_frame` takes them.

    Returns
    -------
    pandas.DataFrame
        Of shape (n_accepted_rows, n_columns), float32 and finite, in the order of the frame and with its index;
        columns by ``detector.encoder.get_feature_names_out()``. A warning says how many rows the contract refuses.
    """
    import pandas as pd

    names = detector.encoder.get_feature_names_out()
    with _taken_in(frame, detector.config, history, labels) as taken:
        taken.warn()
        table = pq.read_table(taken.batch.features)
        places = taken.positions(table, detector.config.contract.id)
        matrix = pd.DataFrame(detector.encoder.transform(table), index=places, columns=names)
        return _with_index(matrix.sort_index(), frame)


def score_frame(
    detector: Detector,
    frame: "pd.DataFrame",
    *,
    history: "pd.DataFrame | None" = None,
    labels: "pd.DataFrame | None" = None,
) -> ScoredFrame:
    """Score a frame as one batch, and explain what is flagged.

    Parameters
    ----------
    detector : Detector
        From `fit_frame`, ``Detector.load`` or `load_detector`.
    frame : pandas.DataFrame
        Columns as the contract names them; a level of the index that has a name counts as one. NaN, NaT, None and
        pandas.NA are missing cells, whatever the type of their column.
    history : pandas.DataFrame, optional
        Earlier rows, which features look back to. Those of the frame look back to one another anyway.
    labels : pandas.DataFrame, optional
        Labels from review: the id, the contract's label, and ``labelled_at``. A row sees those before it only.

    Raises
    ------
    BatchRefused
        A frame that lacks a column, too many rows of which break a rule, or whose history lacks days and the
        configuration says ``on_gap = "refuse"``; with one sentence.

    Examples
    --------
    A card that pays about ten euros a day, and once ten thousand:

    >>> import pandas as pd
    >>> days = pd.date_range("2025-01-01", periods=600, freq="h")
    >>> frame = pd.DataFrame({"tx": range(600), "at": days, "eur": [9.0 + place % 3 for place in range(600)]})
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "types": {"tx": "integer"}}
    >>> sections = {"features": {"families": ["amount"]}, "model": {"name": "pca"}, "validation": {"max_rejected": 0.5}}
    >>> detector = fit_frame(frame, Config.model_validate({"contract": contract, **sections}))
    >>> scored = score_frame(detector, frame.tail(3).assign(eur=[10.0, 10_000.0, None]))
    >>> scored.alerts["reason"].to_dict(), scored.quarantine["rules"].to_dict()
    ({598: 'eur 10,000.00, expected about 10.00 (100 % of the score).'}, {599: ['eur: not missing']})
    """
    from pipeline.scoring.score import score_table

    key = detector.config.contract.id
    with _taken_in(frame, detector.config, history, labels, refuse_gap=True) as taken:
        marks: dict[str, Any] = {"batch_id": "", "model_version": "", "scored_at": datetime.now(UTC)}
        here = detector.config.model_copy(update={"work_dir": str(taken.folder)})  # where a key of pseudonyms is made
        detector = replace(detector, config=here)
        scored = score_table(taken.batch.features, detector, taken.folder / "scored", **marks)
        scores, alerts = (taken.table(path, key) for path in (scored.scores, scored.alerts))
        return ScoredFrame(
            scores=_with_index(scores.sort_index(), frame),
            alerts=_with_index(alerts, frame),
            quarantine=taken.quarantine(),
            notes=[*taken.notes, *taken.batch.notes],
        )


@dataclass(frozen=True)
class _Taken:
    """A frame that was taken in, in a scratch folder, and what is to be said of its history."""

    frame: "pd.DataFrame"
    folder: Path
    batch: "TakenIn"
    notes: list[str]
    has_history: bool

    @property
    def rejected(self) -> np.ndarray:
        """Positions in the frame of the rows that the contract refuses, ascending."""
        return np.asarray(pq.read_table(self.batch.validated.quarantine, columns=[SOURCE_ROW])[SOURCE_ROW])

    def positions(self, table: pa.Table, key: str) -> np.ndarray:
        """Return where in the frame a table's rows stand, by their ids: those of accepted rows come once."""
        ids = pq.read_table(self.batch.validated.accepted, columns=[key])[key]
        accepted = np.setdiff1d(np.arange(len(self.frame)), self.rejected)
        return accepted[pc.index_in(table[name_within(key, table.column_names)], ids).to_numpy()]

    def table(self, path: Path, key: str) -> "pd.DataFrame":
        """Return a file of scores or alerts, indexed by where in the frame its rows stand."""
        table = pq.read_table(path)
        rows = table.drop_columns([*MARKS]).to_pandas().set_axis(self.positions(table, key))
        if "reasons" in rows.columns:
            rows["reasons"] = table["reasons"].to_pylist()  # lists, where pandas would have arrays
        return rows

    def quarantine(self) -> "pd.DataFrame":
        """Return the refused rows with the rules that they broke."""
        rules = pq.read_table(self.batch.validated.quarantine, columns=["rules"])["rules"].to_pylist()
        rows = self.frame.iloc[self.rejected]
        return rows.rename(columns={"rules": "rules (as delivered)"}).assign(rules=rules)

    def warn(self) -> None:
        """Warn of rows left out and of days that a history lacks, where the result has no place to say so."""
        counts, rules = self.batch.validated.counts, self.batch.validated.rules
        notes = [*_left_out("frame", rules, quarantined=counts.quarantined, read=counts.read), *self.notes]
        if self.has_history:
            notes += self.batch.notes
        for note in notes:
            warnings.warn(note, stacklevel=3)


def _left_out(what: str, rules: dict[str, int], *, quarantined: int, read: int) -> list[str]:
    """Return a sentence about the rows that the contract refuses, if there are any."""
    broken = ", ".join(f"{count:,} broke {rule!r}" for rule, count in rules.items())
    return [f"{quarantined:,} of {read:,} rows of the {what} are left out: {broken}."] if quarantined else []


@contextmanager
def _taken_in(
    frame: "pd.DataFrame",
    config: Config,
    history: "pd.DataFrame | None",
    labels: "pd.DataFrame | None",
    *,
    refuse_gap: bool = False,
) -> Iterator[_Taken]:
    """Take a frame in over a history and labels from review, in a scratch folder that is gone after the block."""
    from pipeline.intake import accept, take_in
    from pipeline.tables.batch import Batch
    from pipeline.workspace.workspace import Workspace

    with _scratch() as folder:
        workspace = Workspace(config.model_copy(update={"work_dir": str(folder / "work")}))
        notes: list[str] = []
        if labels is not None:
            workspace.reviewed.append(_write(labels, folder / "labels.parquet", config.table))
        if history is not None:
            earlier = Batch.of(_write(history, folder / "history.parquet", config.table), config)
            validated = accept(earlier, workspace, folder / "history")
            workspace.history.append(validated.accepted, earlier.id)
            counts = validated.counts
            notes = _left_out("history", validated.rules, quarantined=counts.quarantined, read=counts.read)
        frame = _with_columns(frame, "frame")
        batch = Batch.of(_write(frame, folder / "frame.parquet", config.table), config)
        taken = take_in(batch, workspace, folder / "frame", remember=False, refuse_gap=refuse_gap)
        yield _Taken(frame, folder, taken, notes, history is not None)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder that vanishes with the block; a user's error calls the files in it frames, as the user does."""
    with TemporaryDirectory(prefix="assay-") as folder:
        try:
            yield Path(folder)
        except AssayError as error:
            text = str(error)
            for name in ("frame", "history", "labels"):
                text = re.sub(rf"({re.escape(folder)}/)?\b{name}\.parquet", f"the {name}", text)
            error.args = (text, *error.args[1:])
            raise


def _with_columns(frame: "pd.DataFrame", what: str) -> "pd.DataFrame":
    """Return a frame whose index levels that have a name are columns, too."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"the {what} is of type {type(frame).__name__}, not a pandas.DataFrame; read a file into one, or use the "
            "assay command, which takes files"
        )
    levels = {str(name): place for place, name in enumerate(frame.index.names) if name is not None}
    names = levels.keys() - set(frame.columns)
    return frame.assign(**{name: frame.index.get_level_values(levels[name]) for name in levels if name in names})


def _write(frame: "pd.DataFrame", path: Path, settings: TableConfig) -> Path:
    """Write a frame as the Parquet file that the pipeline reads."""
    pq.write_table(frame_to_arrow(_with_columns(frame, path.stem), settings.decimal), path)
    return path


def _with_index(table: "pd.DataFrame", frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table that is indexed by positions in a frame with the frame's own index in their place."""
    return table.set_axis(frame.index.take(table.index.to_numpy()))
