"""The second stage: what known frauds teach, beside the one-class score, for as much as it proves worth later on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.p_values import Calibration
from pipeline.detector.encoder import Encoder
from pipeline.detector.files import read_json, write_json
from pipeline.detector.likeness import KnownFrauds
from pipeline.detector.parts import CALIBRATION, EARLY_STOPPING, Parts, Sample
from pipeline.detector.traits import Traits
from pipeline.settings.config import Config

if TYPE_CHECKING:
    from models.one_class import OneClassModel
    from models.ranks import MemberTail
    from models.trees import BoostedTrees

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9)
"""What the trees may count; the one-class score counts the rest, so that fraud of a kind never labelled still shows."""
LEAST_FRAUDS = 10
"""Known frauds that there are before the calibration block, and in it, for trees to be tried at all."""
TREE_ROWS = 200_000
"""Trees are fitted on all frauds and about as many normal rows, evenly taken in time and weighted, at most."""
FRAUDS_TO_WEIGH, ROWS_TO_WEIGH = 10, 6_000
"""Known frauds from which on columns are weighed; on as many of them, and of normal rows, at most."""
FOLDS = 3
"""Spans of time of the calibration block, each scored by trees that saw the others."""
DRAWS, LOWER_END = 200, 0.1
"""The trees count what this quantile of their gain, over as many draws of customers, is highest for, or more where the
other end of the difference is not below 0."""


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
        margins are those of trees that saw all but the row's third of it.
    floor : float
        The least one-class score of these rows.
    alone : Calibration
        Of their one-class scores.
    frauds : KnownFrauds
        What an alert is like.
    """

    trees: "BoostedTrees"
    weight: float
    tails: Mapping[str, "MemberTail"]
    floor: float
    alone: Calibration
    frauds: KnownFrauds

    def both(self, model: "OneClassModel", matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the blended score of each row, and the one-class score alone.

        Parameters
        ----------
        model : OneClassModel
            The one that it was fitted beside.
        matrix : array of shape (n_rows, n_columns)
            Encoded rows.

        Returns
        -------
        pair of arrays of shape (n_rows,), float64
            Mean -log p, 0 or more, and the model's own score; higher = more anomalous.
        """
        one_class = np.asarray(model.anomaly_score(matrix), dtype=np.float64)
        return self.blend(one_class, self.trees.margin(matrix)), one_class

    def blend(self, one_class: np.ndarray, margins: np.ndarray) -> np.ndarray:
        """Return the blended score of rows of shape (n_rows,), by their one-class scores and margins."""
        return np.add(*self._shares(one_class, margins))

    def alike(self, model: "OneClassModel", matrix: np.ndarray) -> np.ndarray:
        """Return how many known frauds each encoded row is like, int64; 0 where the trees make up less of its score.

        Parameters
        ----------
        model : OneClassModel
            The one that it was fitted beside.
        matrix : array of shape (n_rows, n_columns)
        """
        trees, alone = self._shares(model.anomaly_score(matrix), self.trees.margin(matrix))
        return np.where(trees > alone, self.frauds.alike(self.trees, matrix), 0)

    def _shares(self, one_class: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the trees, and what the one-class score add to the score of rows."""
        trees = _levels(self.tails["trees"], _odds(margins))
        model = _levels(self.tails["model"], one_class - self.floor)
        return self.weight * trees, (1 - self.weight) * model

    def save(self, folder: Path) -> None:
        """Write feedback.json and feedback.safetensors into a folder, which is made."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"trees.{name}": array for name, array in self.trees.arrays().items()}
        for name, tail in self.tails.items():
            arrays |= {f"tail.{name}.scores": tail.scores.numpy(), f"tail.{name}.levels": tail.levels.numpy()}
        arrays |= {"alone": self.alone.scores, "frauds": self.frauds.leaves}
        save_file(arrays, folder / "feedback.safetensors")
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
            frauds=KnownFrauds(arrays["frauds"]),
        )


@dataclass(frozen=True)
class Lesson:
    """What the labels of a training period came to.

    Parameters
    ----------
    feedback : Feedback, Traits or None
        None where the labels changed nothing.
    held_out : ScoredRows
        The calibration block with the scores that a row of it would have got, in the order of time.
    summary : dict
        What a person wants to know of it.
    """

    feedback: Feedback | Traits | None
    held_out: ScoredRows
    summary: dict[str, float | int | str]


def learn(
    features: Path, config: Config, parts: Parts, *, encoder: Encoder, model: "OneClassModel", held_out: ScoredRows
) -> Lesson:
    """Fit what known frauds teach of the training period, and let it count as much as the period's last days say.

    Trees fitted on the frauds and normal rows before the calibration block (`Parts.normal`: a row without a label is
    neither, unless it is overdue) score the block. A weight is worth what it gains there in average precision over the
    one-class score alone, in all but the worst tenth of 200 draws of the block's customers (of its rows, without
    entities): the weight that is worth most is taken, or the highest that the draws do not tell from it, and 0 where
    none gains. Where review alone gives labels, the rows that were looked at judge (`Parts.judged`). The trees that
    score new rows are then fitted on all frauds and normal rows, block included; the block is calibrated by others that
    saw all but a third.

    Where review has only begun, and fewer than ten frauds are known before the block, trees are fitted on the earlier
    half of its frauds, too, and the days from the later half on judge them.

    Where frauds are too few for trees, or trees count nothing, the score is raised where a row stands out in the
    columns in which the frauds do (`Traits`), and less is asked: ten frauds, and that the block is ranked no worse if
    it has ten of them.

    Parameters
    ----------
    features : Path
        Feature table (Parquet) of the training period.
    config : Config
    parts : Parts
        Which row takes which part, and what is known of it.
    encoder : Encoder
        Fitted on these parts.
    model : OneClassModel
        Likewise.
    held_out : ScoredRows
        The calibration block, in the order of time, with the scores of the model.
    """
    is_fraud, block = parts.labels == 1, parts.role == CALIBRATION
    frauds, later = int(is_fraud.sum()), int((is_fraud & block).sum())
    if not config.feedback.enabled or not frauds:
        return Lesson(None, held_out, {})
    least, judges = max(config.feedback.min_frauds, 2 * LEAST_FRAUDS), _judges(parts)
    to_judge = int((is_fraud & judges).sum())
    if frauds >= least and min(to_judge, frauds - to_judge) >= LEAST_FRAUDS:
        lesson = _by_trees(features, config, parts, judges, encoder=encoder, held_out=held_out)
    else:
        text = (
            f"{frauds:,} frauds are known, {later:,} of them in the calibration block; trees learn from {least:,}, "
            f"with {LEAST_FRAUDS} in it that are later than {LEAST_FRAUDS} others"
        )
        lesson = Lesson(None, held_out, {"feedback_weight": 0.0, "feedback": text})
    if lesson.feedback is None and frauds >= FRAUDS_TO_WEIGH:
        return _by_traits(features, parts, lesson, encoder=encoder, model=model)
    return lesson


def _judges(parts: Parts) -> np.ndarray:
    """Return which rows judge what trees are worth, in the file's order: the block, or its days from a fraud on."""
    block, is_fraud = parts.role == CALIBRATION, parts.labels == 1
    if np.count_nonzero(is_fraud & ~block) >= LEAST_FRAUDS or not (is_fraud & block).any():
        return block
    frauds = np.flatnonzero((is_fraud & block)[parts.order])
    judges = np.zeros_like(block)
    judges[parts.order[frauds[len(frauds) // 2] :]] = True
    return judges


def _by_trees(
    features: Path, config: Config, parts: Parts, judges: np.ndarray, *, encoder: Encoder, held_out: ScoredRows
) -> Lesson:
    from models.ranks import MemberTail

    seed, block = config.model.seed, parts.role == CALIBRATION
    normal, floor = held_out.normal, float(held_out.scores[held_out.normal].min())

    def margins_without(rows: np.ndarray) -> np.ndarray:
        return _of_block(_fit(features, parts, ~rows, encoder=encoder, seed=seed).margin, encoder, parts, features)

    in_block = parts.order[block[parts.order]]
    is_judge, odds = judges[in_block], _odds(margins_without(judges))
    tails = {"model": MemberTail.fit(held_out.scores[normal] - floor)}
    model = _levels(tails["model"], held_out.scores - floor)
    levels = _levels(MemberTail.fit(odds[normal & is_judge]), odds)
    weights = parts.judged(judges)[in_block][is_judge]
    choice = choose(model[is_judge], levels[is_judge], held_out.take(is_judge), seed=seed, weights=weights)
    frauds = f"{np.count_nonzero(parts.labels == 1):,} known frauds; trees fitted on them"
    if not choice.weight:
        text = f"{frauds} find no more in the calibration block, and count nothing"
        return Lesson(None, held_out, choice.facts | {"feedback": text})
    margins = crossed_margins(margins_without, parts)
    tails["trees"] = MemberTail.fit(_odds(margins[normal]))
    trees = _fit(features, parts, np.ones_like(block), encoder=encoder, seed=seed)
    known = _sample(features, parts, np.flatnonzero(parts.labels[parts.order] == 1))
    feedback = Feedback(
        trees=trees,
        weight=choice.weight,
        tails=tails,
        floor=floor,
        alone=Calibration(held_out.scores[normal]),
        frauds=KnownFrauds.of(trees, encoder.transform(known.read(encoder.table_columns))),
    )
    text = f"{frauds} count {choice.weight:g}, the one-class score {1 - choice.weight:g}: {choice.text}"
    blended = held_out.blended(feedback.blend(held_out.scores, margins))
    return Lesson(feedback, blended, choice.facts | {"feedback": text})


def crossed_margins(margins_without: Callable[[np.ndarray], np.ndarray], parts: Parts) -> np.ndarray:
    """Return the margins of the calibration block's rows, in the order of time, by trees that saw the others.

    Trees that saw none of the block tell less than those that score new rows, which saw all of it: of a cut set by
    them, new normal rows would lie above too often. This is a cross-conformal predictor (Vovk 2015) but for two
    things: its folds are spans of time, and new rows are scored by one set of trees that saw every fold.

    Parameters
    ----------
    margins_without : function
        Of rows as a mask in the file's order, to the block's margins by trees that saw all the others.
    parts : Parts
    """
    rows = parts.order[(parts.role == CALIBRATION)[parts.order]]
    fold = np.arange(len(rows)) * FOLDS // len(rows)
    margins = np.empty(len(rows))
    for place in np.unique(fold):
        unseen = np.zeros(len(parts.order), dtype=bool)
        unseen[rows[fold == place]] = True
        margins[fold == place] = margins_without(unseen)[fold == place]
    return margins


def _by_traits(features: Path, parts: Parts, lesson: Lesson, *, encoder: Encoder, model: "OneClassModel") -> Lesson:
    """Return the lesson of what frauds have in common, or the one there is where that ranks the block worse."""

    def rows(mask: np.ndarray) -> np.ndarray:
        step = -(-np.count_nonzero(mask) // ROWS_TO_WEIGH)
        some = _sample(features, parts, np.flatnonzero(mask[parts.order])[::step])
        return encoder.transform(some.read(encoder.table_columns))

    is_fraud, held_out = parts.labels == 1, lesson.held_out
    alone = Calibration(held_out.scores[held_out.normal])
    traits = Traits.fit(model, rows(parts.role == EARLY_STOPPING), rows(is_fraud), alone)
    scores = _of_block(lambda matrix: traits.both(model, matrix)[0], encoder, parts, features)
    choice = Choice(0.0, _precision(scores, held_out), _precision(held_out.scores, held_out))
    is_told = np.count_nonzero(held_out.labels == 1) >= LEAST_FRAUDS
    if is_told and choice.precision < choice.alone:
        return lesson
    columns = traits.strongest([column.feature for column in encoder.columns])
    text = (
        f"{np.count_nonzero(is_fraud):,} known frauds raise what stands out as they do"
        + (f", most of all in {', '.join(columns)}" if columns else "")
        + (f": {choice.text}" if is_told else "")
        + f"; {lesson.summary['feedback']}"
    )
    facts = choice.facts if is_told else {"feedback_weight": 0.0}
    return Lesson(traits, held_out.blended(scores), facts | {"feedback": text})


@dataclass(frozen=True)
class Choice:
    """What the trees count, and the block's average precision with that weight and of the one-class score alone.

    `judged` says which rows of the block that is of: all, or those that were looked at.
    """

    weight: float
    precision: float
    alone: float
    judged: str = "in the calibration block"

    @property
    def facts(self) -> dict[str, float | int | str]:
        """For the summary of a training."""
        return {
            "feedback_weight": self.weight,
            "feedback_average_precision_alone": self.alone,
            "feedback_average_precision": self.precision,
        }

    @property
    def text(self) -> str:
        """What labels bought, in words."""
        return f"average precision {self.precision:.3f} {self.judged}, {self.alone:.3f} without them"


def choose(model: np.ndarray, trees: np.ndarray, rows: ScoredRows, *, seed: int, weights: np.ndarray) -> Choice:
    """Return what the trees count: the weight that gains most where its gain is counted at the lower end.

    Of weights that the draws do not tell from that one, the highest: the frauds that judge are those that were found,
    mostly by the one-class score or by earlier trees, so that what trees are worth for the others shows too little.

    Parameters
    ----------
    model, trees : arrays of shape (n_rows,)
        -log p of the one-class score, and of the trees.
    rows : ScoredRows
        The same rows, frauds and normal ones among them, and customers where the contract has entities.
    seed : int
    weights : array of shape (n_rows,)
        How many rows each one stands for; one that stands for none takes no part (`Parts.judged`).
    """
    known = weights > 0
    labels, one, two, stands_for = rows.labels[known] == 1, model[known], trees[known], weights[known]
    ranks = [_Ranking.of(weight * two + (1 - weight) * one, labels) for weight in WEIGHTS]
    draws = _draws(None if rows.customers is None else rows.customers[known], len(labels), seed)
    values = np.array([[ranking.average_precision(draw * stands_for) for ranking in ranks] for draw in draws])
    gains = np.quantile(values - values[:, :1], LOWER_END, axis=0)
    best = int(np.argmax(gains))
    if best:
        ahead = np.quantile(values - values[:, best, None], 1 - LOWER_END, axis=0)
        best = int(np.flatnonzero((gains > 0) & (ahead >= 0))[-1])
    precision, alone = (ranks[place].average_precision(stands_for) for place in (best, 0))
    judged = Choice.judged if known.all() else "among the rows of the calibration block that were looked at"
    return Choice(WEIGHTS[best], precision, alone, judged)


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


def _precision(scores: np.ndarray, rows: ScoredRows) -> float:
    """Return the average precision of frauds among the normal rows."""
    known = rows.normal | (rows.labels == 1)
    return _Ranking.of(scores[known], rows.labels[known] == 1).average_precision(np.ones(known.sum()))


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
    rows = _sample(features, parts, places).read(encoder.table_columns)
    is_fraud = labels[places] == 1
    weights = parts.stands_for[parts.order[places]] * np.where(is_fraud, 1.0, step)
    return BoostedTrees.fit(encoder.transform(rows), is_fraud, weights, seed=seed)


def _sample(features: Path, parts: Parts, places: np.ndarray) -> Sample:
    """Return rows by their places in the order of time."""
    in_file, order = np.unique(parts.order[places], return_inverse=True)
    mask = np.zeros(len(parts.order), dtype=bool)
    mask[in_file] = True
    return Sample(features, mask, order)


def _of_block(
    function: Callable[[np.ndarray], np.ndarray], encoder: Encoder, parts: Parts, features: Path
) -> np.ndarray:
    """Return what a function makes of the encoded rows of the calibration block, in the order of time."""
    values = np.empty(np.count_nonzero(parts.role == CALIBRATION))
    for places, rows in parts.batches(features, encoder.table_columns, CALIBRATION):
        values[places] = function(encoder.transform(rows))
    return values


def _odds(margins: np.ndarray) -> np.ndarray:
    # A Pareto tail of the odds is an exponential one of the margin.
    return np.exp(margins)


def _levels(tail: "MemberTail", scores: np.ndarray) -> np.ndarray:
    """Return -log p of scores, 0 or more."""
    import torch

    levels: Any = tail(torch.from_numpy(np.maximum(scores, 0.0)))
    return np.asarray(levels.numpy(), dtype=np.float64)


def load_feedback(folder: Path) -> Feedback | Traits | None:
    """Read what a training with known frauds saved in a folder; None where there is none."""
    if not folder.is_dir():
        return None
    return Traits.load(folder) if (folder / "traits.safetensors").is_file() else Feedback.load(folder)
