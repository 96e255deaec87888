"""The committee: two networks, a forest and the columns' ranges, each on its own view, on calibrated tails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from models import checkpoints
from models.baselines import IsolationTrees
from models.blocks import at_random, is_streamed, slices
from models.denoising import DenoisingAutoencoder
from models.extremes import Extremes
from models.one_class import OneClassModel, with_prefix
from models.ranks import ExponentialTail
from models.settings import OnEpoch, RowSource

MEMBERS = ("together", "upper", "forest", "extremes")
"""What the scores that are combined come from, in order."""
TAIL_ROWS = 20_000
"""Tails are fitted on as many rows at most."""
LEAST_TAIL_ROWS = 500
"""Fewer held-out rows than this say too little of a tail; then fit rows say it."""
FOREST_ROWS = 500_000
"""The forest draws from as many rows at most."""
LEAST_EXCESS = 0.5
"""Standard deviations beyond all fit rows that are e times as rare, at least: held-out rows may all lie within."""


class View:
    """Some columns of a table, read slice by slice, those below their mean raised to it where they are clipped.

    Parameters
    ----------
    rows : array or RowSource of shape (n_rows, n_columns)
        Columns are centred: 0 is the mean.
    columns : int array of shape (n_view_columns,)
    clipped : bool array of shape (n_view_columns,)
        Columns of which only values above the mean count.

    Examples
    --------
    >>> View(np.array([[-1.0, -2.0], [3.0, 4.0]]), np.array([0, 1]), np.array([False, True]))[0:2]
    array([[-1.,  0.],
           [ 3.,  4.]], dtype=float32)
    """

    def __init__(self, rows: np.ndarray | RowSource, columns: np.ndarray, clipped: np.ndarray) -> None:
        self.rows, self.columns = rows, columns
        self._least = np.where(clipped, np.float32(0), np.float32(-np.inf))
        self.shape = (len(rows), len(columns))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Return some rows, float32 of shape (n_part_rows, n_view_columns)."""
        return np.maximum(np.asarray(self.rows[part], dtype=np.float32)[:, self.columns], self._least)

    def whole(self) -> "np.ndarray | View":
        """Return the view as an array, or as it is where the rows are to be read from where they lie."""
        return self if is_streamed(self.rows) else self[:]


@dataclass(kw_only=True, eq=False, repr=False)
class Committee(OneClassModel):
    """Four members that each look at other columns in another way; a row scores what their tails say together.

    Frauds lie along directions in which normal rows vary much (amounts high against everything) as often as in odd
    combinations, show in few columns or in many, and most columns speak for fraud in one direction only: more, higher,
    newer, farther, faster. No one detector is good at all of these.

    - "together": a denoising autoencoder (Vincent et al. 2008) on the ``core`` columns, few enough for their
      combination to say something, with the Mahalanobis distance of its residuals.
    - "upper": another one on all columns of ``behaviour``, of which it sees only how far they lie above their mean.
    - "forest": an isolation forest (Liu, Ting and Zhou 2008) on the same columns, which a column that says nothing
      dilutes least.
    - "extremes": how far the farthest of all columns lies beyond what any fit row had (``Extremes``). The others hardly
      see a single value that is far off among a hundred that are not.

    Each score is turned into ``-log P`` of a normal row scoring as high, by ``ExponentialTail`` on rows held out, as
    Kriegel, Kröger, Schubert and Zimek, "Interpreting and unifying outlier scores" (2011) ask for, and the root mean
    square of these is the score: between their mean, which is Fisher's way of combining tests (1932), and their
    maximum. Scores are 0 or more.

    Parameters
    ----------
    core : sequence of int, optional
        Columns that "together" sees; all by default.
    behaviour : sequence of int, optional
        Columns that "upper" and "forest" see; all by default.
    above : sequence of int
        Columns whose values below their mean are nothing unusual, and count as the mean for "together" and "forest";
        "extremes" takes none of them for low.
    ignored : sequence of int
        Columns that no member looks at: they are there for what is fitted beside the model on the same matrix.
    hidden : sequence of int
        Nodes of each encoder layer of the networks between the columns and the code.
    code_size : int
        Nodes of their code.
    noise : float
        Standard deviation of the noise that they are trained with, in units of the matrix.
    batch_size : int
        Rows of a training step.
    learning_rate : float
        Peak learning rate of AdamW.
    max_epochs : int
        Passes over the rows at the latest.
    patience : int
        Passes without a lower loss on the held-out rows before training stops.
    n_estimators : int
        Trees of the forest.
    max_samples : int
        Rows that each tree is grown on.
    checkpoint : str or Path, optional
        Folder of its own, where each network keeps its epochs; a killed fit goes on from there.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Seeds first weights, the order of the rows, noise and trees.
    on_epoch : callable, optional
        ``on_epoch(epoch, max_epochs, losses)``, called after each pass of "together", then of "upper".

    Attributes
    ----------
    members_ : dict of OneClassModel
        "together", "upper" and "forest".
    extremes_ : Extremes
    tails_ : dict of ExponentialTail
        By ``MEMBERS``.
    epochs_ : list of dict
        Of "together", then of "upper": ``epoch``, counted on, ``train_loss`` and, with held-out rows,
        ``held_out_loss``.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(500, 3))
    >>> model = Committee(above=(2,), max_epochs=5).fit(rows)
    >>> usual, low, high = model.anomaly_score([[0.0, 0.0, 0.0], [0.0, 0.0, -9.0], [0.0, 0.0, 9.0]])
    >>> bool(high > 5 * low)
    True
    """

    _reads_from_disk: ClassVar[bool] = True

    core: Sequence[int] | None = None
    behaviour: Sequence[int] | None = None
    above: Sequence[int] = ()
    ignored: Sequence[int] = ()
    hidden: Sequence[int] = (128,)
    code_size: int = 64
    noise: float = 0.02
    batch_size: int = 1024
    learning_rate: float = 5e-3
    max_epochs: int = 15
    patience: int = 5
    n_estimators: int = 200
    max_samples: int = 256
    checkpoint: str | Path | None = None
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0
    on_epoch: OnEpoch | None = None

    def fit(self, X: ArrayLike | RowSource, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns), or a table on disk
            Finite; centred and scaled by the caller. Two rows at least. For tables on disk see
            ``models.networks.NetworkAutoencoder.fit``.
        y : ignored
        X_held_out : array or frame of shape (n_held_out_rows, n_columns), optional
            Normal rows that stop the training in time and, where there are 500, say how the members' scores fall off.

        Raises
        ------
        ValueError
            For a parameter out of its range, for a matrix that scikit-learn refuses, and when a loss turns NaN or
            infinite.
        """
        rows = self._check_fit_rows(X)
        held_out = self._check_held_out(X_held_out)
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.members_ = self._members(seed)
        self.epochs_: list[dict[str, float]] = []
        for name, member in self.members_.items():
            view = self._view(rows, name)
            if isinstance(member, IsolationTrees):
                member.fit(at_random(view, FOREST_ROWS, torch.Generator().manual_seed(seed))[:])
            else:
                watched = {} if held_out is None else {"X_held_out": self._view(held_out.numpy(), name)[:]}
                member.set_params(on_epoch=self._counting_on()).fit(view.whole(), **watched).set_params(on_epoch=None)
                before = len(self.epochs_)
                self.epochs_ += [losses | {"epoch": before + losses["epoch"]} for losses in member.epochs_]
        self.extremes_ = Extremes.fit(slices(rows), self.above, ignored=self.ignored)
        others: np.ndarray | RowSource
        if held_out is not None and len(held_out) >= LEAST_TAIL_ROWS:
            others = held_out.numpy()
        else:
            others = at_random(rows, TAIL_ROWS, torch.Generator().manual_seed(seed))
        scores = self._scores_of_members(others)
        self.tails_ = {
            name: ExponentialTail.fit(column, least=LEAST_EXCESS if name == "extremes" else 0.0)
            for name, column in zip(MEMBERS, scores.T, strict=True)
        }
        self._set_offset(self._scores(rows))
        if self.checkpoint is not None:
            checkpoints.clear(self.checkpoint)
        return self

    def member_scores(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return ``-log P`` of each member's score, float64 of shape (n_rows, 4), in the order of ``MEMBERS``."""
        return self._levels(self._check_rows(X))

    def _counting_on(self) -> OnEpoch | None:
        """Return what a network calls after each of its passes, which come after those there were."""
        report, before = self.on_epoch, len(self.epochs_)
        if report is None:
            return None
        return lambda epoch, most, losses: report(before + epoch, 2 * most, losses)

    def _scores(self, rows: np.ndarray | RowSource) -> np.ndarray:
        return np.sqrt(np.square(self._levels(rows)).mean(axis=1))

    def _levels(self, rows: np.ndarray | RowSource) -> np.ndarray:
        """Return ``-log P`` of the members' scores of rows that are checked."""
        scores = self._scores_of_members(rows)
        return np.column_stack([self.tails_[name](column) for name, column in zip(MEMBERS, scores.T, strict=True)])

    def _scores_of_members(self, rows: np.ndarray | RowSource) -> np.ndarray:
        """Return the members' own scores, float64 of shape (n_rows, 4)."""
        parts = [
            [
                *(member.anomaly_score(self._view(part, name)[:]) for name, member in self.members_.items()),
                self.extremes_(part),
            ]
            for part in slices(rows)
        ]
        return np.concatenate([np.column_stack(scores) for scores in parts])

    def _view(self, rows: np.ndarray | RowSource, member: str) -> View:
        """Return what a member sees of rows."""
        columns = self._columns(member)
        clipped = np.ones(len(columns), dtype=bool) if member == "upper" else np.isin(columns, list(self.above))
        return View(rows, columns, clipped)

    def _columns(self, member: str) -> np.ndarray:
        """Return the positions of the columns that a member sees, rising."""
        places = self.core if member == "together" else self.behaviour
        columns = np.array(sorted(range(self.n_features_in_) if places is None else places), dtype=np.int64)
        columns = columns[~np.isin(columns, list(self.ignored))]
        if not len(columns) or columns[0] < 0 or columns[-1] >= self.n_features_in_:
            raise ValueError(
                f"core and behaviour must name columns from 0 to {self.n_features_in_ - 1}, not {places!r}"
            )
        return columns

    def _members(self, seed: int) -> dict[str, OneClassModel]:
        names = ("hidden", "code_size", "noise", "batch_size", "learning_rate", "max_epochs", "patience")
        shared = {name: getattr(self, name) for name in names} | {"random_state": seed}
        folders = {name: None if self.checkpoint is None else Path(self.checkpoint) / name for name in MEMBERS[:2]}
        return {
            **{name: DenoisingAutoencoder(**shared, checkpoint=folder) for name, folder in folders.items()},
            "forest": IsolationTrees(n_estimators=self.n_estimators, max_samples=self.max_samples, random_state=seed),
        }

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        members = {name: member._state() for name, member in self.members_.items()}
        arrays = {f"{name}.{part}": array for name, (_, parts) in members.items() for part, array in parts.items()}
        arrays |= {
            f"tail.{name}.{part}": array for name, tail in self.tails_.items() for part, array in tail.arrays().items()
        }
        arrays |= {f"extremes.{part}": array for part, array in self.extremes_.arrays().items()}
        return {"epochs": self.epochs_, "members": {name: values for name, (values, _) in members.items()}}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.epochs_, self.members_ = values["epochs"], self._members(0)
        for name, member in self.members_.items():
            member.n_features_in_ = len(self._columns(name))
            member._restore(values["members"][name], with_prefix(arrays, f"{name}."))
        self.extremes_ = Extremes.from_arrays(with_prefix(arrays, "extremes."))
        self.tails_ = {name: ExponentialTail.from_arrays(with_prefix(arrays, f"tail.{name}.")) for name in MEMBERS}
