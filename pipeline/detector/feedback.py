"""The second stage: what known frauds teach, beside the one-class score, for as much as it proves worth later on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.p_values import Calibration
from pipeline.detector.encoder import Encoder
from pipeline.detector.files import read_json, write_json
from pipeline.detector.parts import CALIBRATION, Parts, Sample
from pipeline.settings.config import Config

if TYPE_CHECKING:
    from models.ranks import MemberTail
    from models.trees import BoostedTrees

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9)
"""What the trees may count; the one-class score counts the rest, so that fraud of a kind never labelled still shows."""
LEAST_FRAUDS = 10
"""Known frauds that there are before the calibration block, and in it, for trees to be tried at all."""
TREE_ROWS = 200_000
"""Trees are fitted on all frauds and about as many normal rows, evenly taken in time and weighted, at most."""
DRAWS, LOWER_END = 200, 0.1
"""The trees count when this quantile of what they gain, over as many draws of customers, lies above zero."""


@dataclass(frozen=True)
class Feedback:
    """Boosted trees and the one-class score of a row, each turned into -log p, and what the trees count.

    Parameters
    ----------
    trees : BoostedTrees
        Fitted on every fraud and normal row of the training period.
    weight : float
        What the trees count, above 0 and below 1; the one-class score counts the rest.
    tails : mapping of str to MemberTail
        "model" and "trees": -log p of a score, and of a margin's odds, by the normal rows of the calibration block. The
        margins are those of trees that never saw it.
    floor : float
        The least one-class score of these rows.
    alone : Calibration
        Of their one-class scores.
    """

    trees: "BoostedTrees"
    weight: float
    tails: Mapping[str, "MemberTail"]
    floor: float
    alone: Calibration

    def scores(self, one_class: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return the blended score of each row.

        Parameters
        ----------
        one_class : array of shape (n_rows,)
            Scores of the one-class model.
        matrix : array of shape (n_rows, n_columns)
            Encoded rows.

        Returns
        -------
        array of shape (n_rows,), float64
            Mean -log p, 0 or more; higher = more anomalous.
        """
        return self.blend(one_class, self.trees.margin(matrix))

    def blend(self, one_class: np.ndarray, margins: np.ndarray) -> np.ndarray:
        """Return the blended score of rows of shape (n_rows,), by their one-class scores and margins."""
        trees = _levels(self.tails["trees"], _odds(margins))
        model = _levels(self.tails["model"], one_class - self.floor)
        return self.weight * trees + (1 - self.weight) * model

    def save(self, folder: Path) -> None:
        """Write feedback.json and feedback.safetensors into a folder, which is made."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"trees.{name}": array for name, array in self.trees.arrays().items()}
        for name, tail in self.tails.items():
            arrays |= {f"tail.{name}.scores": tail.scores.numpy(), f"tail.{name}.levels": tail.levels.numpy()}
        save_file(arrays | {"alone": self.alone.scores}, folder / "feedback.safetensors")
        xis = {name: tail.xi for name, tail in self.tails.items()}
        write_json(folder / "feedback.json", {"weight": self.weight, "floor": self.floor, "xi": xis})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        from models.one_class import with_prefix
        from models.ranks import MemberTail
        from models.trees import BoostedTrees

        values, arrays = read_json(folder / "feedback.json"), load_file(folder / "feedback.safetensors")
        return cls(
            trees=BoostedTrees.from_arrays(with_prefix(arrays, "trees.")),
            weight=values["weight"],
            tails={
                name: MemberTail(**with_prefix(arrays, f"tail.{name}."), xi=xi) for name, xi in values["xi"].items()
            },
            floor=values["floor"],
            alone=Calibration(arrays["alone"]),
        )


@dataclass(frozen=True)
class Lesson:
    """What the labels of a training period came to.

    Parameters
    ----------
    feedback : Feedback or None
        None where the labels changed nothing.
    held_out : ScoredRows
        The calibration block with the scores that a row of it would have got, in the order of time.
    summary : dict
        What a person wants to know of it.
    """

    feedback: Feedback | None
    held_out: ScoredRows
    summary: dict[str, float | int | str]


def learn(features: Path, config: Config, parts: Parts, *, encoder: Encoder, held_out: ScoredRows) -> Lesson:
    """Fit trees on what is known of the training period, and let them count as much as its last days say.

    Trees fitted on the frauds and normal rows before the calibration block (`Parts.normal`: a row without a label is
    neither, unless it is overdue) score the block. The weight with the highest average precision there is taken, and
    only where the gain over the one-class score alone is no accident: 90 % of 200 draws of its customers (of its rows,
    without entities) have one. The trees that score new rows are then fitted on all frauds and normal rows, block
    included.

    Parameters
    ----------
    features : Path
        Feature table (Parquet) of the training period.
    config : Config
    parts : Parts
        Which row takes which part, and what is known of it.
    encoder : Encoder
        Fitted on these parts.
    held_out : ScoredRows
        The calibration block, in the order of time, with the scores of the one-class model.
    """
    from models.ranks import MemberTail

    is_fraud, block = parts.labels == 1, parts.role == CALIBRATION
    frauds, later = int(is_fraud.sum()), int((is_fraud & block).sum())
    if not config.feedback.enabled or not frauds:
        return Lesson(None, held_out, {})
    facts: dict[str, float | int | str] = {"feedback_weight": 0.0}
    least = max(config.feedback.min_frauds, 2 * LEAST_FRAUDS)
    if frauds < least or min(later, frauds - later) < LEAST_FRAUDS:
        text = (
            f"{frauds:,} frauds are known, {later:,} of them in the calibration block; trees learn from {least:,}, "
            f"with {LEAST_FRAUDS} before the block and {LEAST_FRAUDS} in it"
        )
        return Lesson(None, held_out, facts | {"feedback": text})
    seed = config.model.seed
    normal, floor = held_out.normal, float(held_out.scores[held_out.normal].min())
    margins = _block_margins(_fit(features, parts, ~block, encoder=encoder, seed=seed), encoder, parts, features)
    tails = {
        "model": MemberTail.fit(held_out.scores[normal] - floor),
        "trees": MemberTail.fit(_odds(margins[normal])),
    }
    choice = choose(
        _levels(tails["model"], held_out.scores - floor), _levels(tails["trees"], _odds(margins)), held_out, seed=seed
    )
    facts |= {
        "feedback_weight": choice.weight,
        "feedback_average_precision_alone": choice.alone,
        "feedback_average_precision": choice.precision,
    }
    if not choice.weight:
        text = f"{frauds:,} known frauds; trees fitted on them find no more in the calibration block, and count nothing"
        return Lesson(None, held_out, facts | {"feedback": text})
    text = (
        f"{frauds:,} known frauds; trees fitted on them count {choice.weight:g}, the one-class score "
        f"{1 - choice.weight:g}: average precision {choice.precision:.3f} in the calibration block, "
        f"{choice.alone:.3f} without them"
    )
    feedback = Feedback(
        trees=_fit(features, parts, np.ones_like(block), encoder=encoder, seed=seed),
        weight=choice.weight,
        tails=tails,
        floor=floor,
        alone=Calibration(held_out.scores[normal]),
    )
    blended = replace(held_out, scores=feedback.blend(held_out.scores, margins))
    return Lesson(feedback, blended, facts | {"feedback": text})


@dataclass(frozen=True)
class Choice:
    """What the trees count, and the block's average precision with that weight and of the one-class score alone."""

    weight: float
    precision: float
    alone: float


def choose(model: np.ndarray, trees: np.ndarray, rows: ScoredRows, *, seed: int) -> Choice:
    """Return what the trees count.

    Parameters
    ----------
    model, trees : arrays of shape (n_rows,)
        -log p of the one-class score, and of the trees.
    rows : ScoredRows
        The same rows, frauds and normal ones among them, and customers where the contract has entities.
    seed : int
    """
    known = rows.normal | (rows.labels == 1)
    labels, one, two = rows.labels[known] == 1, model[known], trees[known]
    ranks = [_Ranking.of(weight * two + (1 - weight) * one, labels) for weight in WEIGHTS]
    once = np.ones(len(labels))
    precisions = [ranking.average_precision(once) for ranking in ranks]
    best = int(np.argmax(precisions))
    if best:
        gains = [
            ranks[best].average_precision(draw) - ranks[0].average_precision(draw)
            for draw in _draws(None if rows.customers is None else rows.customers[known], len(labels), seed)
        ]
        best = best if np.quantile(gains, LOWER_END) > 0 else 0
    return Choice(WEIGHTS[best], float(precisions[best]), float(precisions[0]))


@dataclass(frozen=True)
class _Ranking:
    """Rows by falling score: their order, their labels in it, and the last place of each score."""

    order: np.ndarray
    labels: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray) -> Self:
        order = np.argsort(-scores, kind="stable")
        last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        return cls(order, labels[order], last)

    def average_precision(self, times: np.ndarray) -> float:
        """Return the average precision of rows that are there so many times; 0 where no fraud is."""
        times = times[self.order]
        frauds, rows = np.cumsum(times * self.labels)[self.last], np.cumsum(times)[self.last]
        steps = np.diff(frauds, prepend=0.0)
        return float((steps * frauds / np.maximum(rows, 1)).sum() / max(frauds[-1], 1))


def _draws(customers: np.ndarray | None, n_rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how many times each row is in a draw of customers, or of rows, with replacement."""
    groups = np.arange(n_rows) if customers is None else np.unique(customers, return_inverse=True)[1]
    n_groups, generator = int(groups.max()) + 1, np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)[groups].astype(float)


def _fit(features: Path, parts: Parts, among: np.ndarray, *, encoder: Encoder, seed: int) -> "BoostedTrees":
    """Return trees fitted on the frauds and normal rows among some, given as a mask in the file's order."""
    from models.trees import BoostedTrees

    labels = parts.labels[parts.order]
    frauds = np.flatnonzero((labels == 1) & among[parts.order])
    normal = np.flatnonzero((parts.normal & among)[parts.order])
    step = -(-len(normal) // TREE_ROWS)
    places = np.sort(np.concatenate([frauds, normal[::step]]))
    in_file, order = np.unique(parts.order[places], return_inverse=True)
    mask = np.zeros(len(labels), dtype=bool)
    mask[in_file] = True
    rows = Sample(features, mask, order).read(encoder.table_columns)
    is_fraud = labels[places] == 1
    return BoostedTrees.fit(encoder.transform(rows), is_fraud, np.where(is_fraud, 1.0, step), seed=seed)


def _block_margins(trees: "BoostedTrees", encoder: Encoder, parts: Parts, features: Path) -> np.ndarray:
    """Return the margins of the rows of the calibration block, in the order of time."""
    margins = np.empty(np.count_nonzero(parts.role == CALIBRATION))
    for places, rows in parts.batches(features, encoder.table_columns, CALIBRATION):
        margins[places] = trees.margin(encoder.transform(rows))
    return margins


def _odds(margins: np.ndarray) -> np.ndarray:
    # A Pareto tail of the odds is an exponential one of the margin.
    return np.exp(margins)


def _levels(tail: "MemberTail", scores: np.ndarray) -> np.ndarray:
    """Return -log p of scores, 0 or more."""
    import torch

    levels: Any = tail(torch.from_numpy(np.maximum(scores, 0.0)))
    return np.asarray(levels.numpy(), dtype=np.float64)
