"""Maps of a scored batch in two dimensions: where its rows lie, and where the alerts do."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.scoring.score import Scored

NORMAL_POINTS = 3000


@dataclass(frozen=True)
class Map:
    """Rows as points.

    Parameters
    ----------
    title, text : str
        What is shown, and what the reader has to know of it.
    points : array of shape (n_points, 2)
    ranks : array of int64, shape (n_points,)
        An alert's rank; 0 for a row that was not flagged.
    """

    title: str
    text: str
    points: np.ndarray
    ranks: np.ndarray


class MapRows:
    """Rows for the maps, drawn while a table is scored: 3,000 that were not flagged at most, each as likely.

    Each row draws a number, with ``model.seed``, and those with the least ones stay; which these are does not depend on
    the parts that the table comes in.

    Parameters
    ----------
    detector : Detector
        What scores them.
    """

    def __init__(self, detector: Detector) -> None:
        self._generator = np.random.default_rng(detector.config.model.seed)
        self._columns = list(dict.fromkeys(feature.column for feature in detector.features))
        self._parts: list[pa.RecordBatch] = []
        self._draws, self._limit = np.empty(0), 1.0

    def add(self, rows: pa.RecordBatch, p_values: np.ndarray, flags: np.ndarray) -> None:
        """Look at the next rows of the table, and at their flags of shape (n_rows,)."""
        draws = self._generator.random(rows.num_rows)
        places = np.flatnonzero(~flags & (draws < self._limit))
        if not len(places):
            return
        self._parts.append(rows.select(self._columns).take(pa.array(places)))
        self._draws = np.append(self._draws, draws[places])
        if len(self._draws) > 2 * NORMAL_POINTS:
            self._settle()

    def rows(self) -> pa.Table | None:
        """Return the rows, in the table's order, with the columns that the detector reads; None where there is none."""
        if self._parts:
            self._settle()
        return pa.Table.from_batches(self._parts) if self._parts else None

    def _settle(self) -> None:
        if len(self._draws) <= NORMAL_POINTS:
            return
        places = np.sort(np.argpartition(self._draws, NORMAL_POINTS)[:NORMAL_POINTS])
        rows = pa.Table.from_batches(self._parts).take(pa.array(places)).combine_chunks()
        self._parts, self._draws = rows.to_batches(), self._draws[places]
        self._limit = float(self._draws.max())


def make_maps(normal: pa.Table | None, scored: Scored, detector: Detector, *, tsne: bool = False) -> list[Map]:
    """Return maps of the model's code, if it has one, and of the matrix, over the same rows.

    The alerts are the first 500 by rank. Directions come from the rows that were not flagged alone: principal
    components, of a code that has more than two nodes and of the matrix.

    Parameters
    ----------
    normal : pa.Table or None
        Rows that were not flagged, by `MapRows`.
    scored : Scored
    detector : Detector
    tsne : bool
        Whether to add a t-SNE map (van der Maaten and Hinton, "Visualizing data using t-SNE", 2008) of the code, or
        of the matrix where there is no code.

    Returns
    -------
    list of Map
        Empty for fewer than three rows that were not flagged.
    """
    from models.capabilities import WithCode

    if normal is None or normal.num_rows < 3:
        return []
    in_file = np.argsort(scored.alert_places[: scored.first_alerts.num_rows])
    alerts = scored.first_alerts.select(normal.column_names).take(pa.array(in_file))
    ranks = np.concatenate([np.zeros(normal.num_rows, dtype=np.int64), in_file + 1])
    matrix = detector.encoder.transform(pa.concat_tables([normal, alerts]))
    maps, code = [], matrix
    if isinstance(detector.model, WithCode):
        code = detector.model.encode(matrix)
        text = "Where the model puts the rows"
        text += "." if code.shape[1] <= 2 else f": the two main directions of its code of {code.shape[1]} nodes."
        maps.append(Map("Map of the code", text, _plane(code, normal.num_rows), ranks))
    text = "The same rows by the two main directions of the columns that the model sees (PCA)."
    maps.append(Map("Map of the columns", text, _plane(matrix, normal.num_rows, always=True), ranks))
    if tsne:
        of = "code" if maps[0].title == "Map of the code" else "columns"
        text = f"t-SNE of the {of}: neighbours stay neighbours; distances between groups say nothing."
        maps.append(Map("Map by neighbourhood", text, _neighbourhood(code, detector.config.model.seed), ranks))
    return maps


def _plane(values: np.ndarray, n_normal: int, *, always: bool = False) -> np.ndarray:
    """Return two coordinates a row: the values if they are two at most, else their main directions."""
    from sklearn.decomposition import PCA

    values = np.asarray(values, dtype=np.float64)
    if values.shape[1] > 2 or (always and values.shape[1] == 2):
        with np.errstate(invalid="ignore"):  # normal rows that are all alike have no variance to explain
            return PCA(2, svd_solver="full").fit(values[:n_normal]).transform(values)
    return np.column_stack([values, np.zeros((len(values), 2 - values.shape[1]))])


def _neighbourhood(values: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    init = "pca" if values.shape[1] > 1 else "random"
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(np.asarray(values, np.float64))
