"""Maps of a scored batch in two dimensions: where its rows lie, and where the alerts do."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.detector.artefact import Detector
from pipeline.scoring.score import Scored
from pipeline.tables.parquet import take_rows

NORMAL_POINTS = 3000
ALERT_POINTS = 500


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


def make_maps(features: Path, scored: Scored, detector: Detector, *, tsne: bool = False) -> list[Map]:
    """Return maps of the model's code, if it has one, and of the matrix, over the same rows.

    Rows that were not flagged are drawn at random (at most 3,000, with ``model.seed``), the alerts are the first 500 by
    rank. Directions come from the former alone: principal components, of a code that has more than two nodes and of
    the matrix.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
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

    seed = detector.config.model.seed
    if scored.scored - scored.flagged < 3:
        return []
    normal = _some(scored.scored, scored.flagged_places, seed)
    alerts = scored.alert_places[:ALERT_POINTS]
    in_file = np.argsort(alerts)
    places = np.concatenate([normal, alerts[in_file]])
    ranks = np.concatenate([np.zeros(len(normal), dtype=np.int64), in_file + 1])
    columns = list(dict.fromkeys(feature.column for feature in detector.features))
    matrix = detector.encoder.transform(take_rows(features, places, columns))
    maps, code = [], matrix
    if isinstance(detector.model, WithCode):
        code = detector.model.encode(matrix)
        text = "Where the model puts the rows"
        text += "." if code.shape[1] <= 2 else f": the two main directions of its code of {code.shape[1]} nodes."
        maps.append(Map("Map of the code", text, _plane(code, len(normal)), ranks))
    text = "The same rows by the two main directions of the columns that the model sees (PCA)."
    maps.append(Map("Map of the columns", text, _plane(matrix, len(normal), always=True), ranks))
    if tsne:
        of = "code" if maps[0].title == "Map of the code" else "columns"
        text = f"t-SNE of the {of}: neighbours stay neighbours; distances between groups say nothing."
        maps.append(Map("Map by neighbourhood", text, _neighbourhood(code, seed), ranks))
    return maps


def _some(rows: int, flagged: np.ndarray, seed: int) -> np.ndarray:
    """Return the places of some rows that were not flagged, drawn at random, in order; int64 of shape (n,).

    Examples
    --------
    >>> _some(6, np.array([1, 2, 5]), 0).tolist()
    [0, 3, 4]
    """
    rest = rows - len(flagged)
    # A draw of few numbers among many takes the memory of the few.
    drawn = np.sort(np.random.default_rng(seed).choice(rest, min(rest, NORMAL_POINTS), replace=False, shuffle=False))
    # Before the flagged row number i, counted from 0, there are its place less i rows that were not flagged.
    return drawn + np.searchsorted(flagged - np.arange(len(flagged)), drawn, side="right")


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
