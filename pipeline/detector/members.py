"""Weights of a model's members: what a few known frauds teach, monotonely, where they are too few for trees."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.calibration.p_values import Calibration
from pipeline.detector.files import read_json, write_json

if TYPE_CHECKING:
    from models.one_class import OneClassModel

PULL = 3.0
"""How strongly weights are drawn towards each other: what about as many frauds say outweighs it."""


@dataclass(frozen=True, eq=False)
class MemberWeights:
    """What each member of a one-class model counts; a row that is more anomalous to every member scores higher.

    Parameters
    ----------
    shares : array of shape (n_members,), float64
        0 or more, with the sum 1.
    alone : Calibration
        Of the model's own scores of the calibration block's normal rows.
    """

    shares: np.ndarray
    alone: Calibration

    def both(self, model: "OneClassModel", matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each encoded row with these weights, and that of the model, whose members count alike."""
        levels = members_of(model, matrix)
        return combine(levels, self.shares), np.sqrt(np.square(levels).mean(axis=1))

    def save(self, folder: Path) -> None:
        """Write members.json and members.safetensors into a folder, which is made."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "members.json", {"shares": self.shares.tolist()})
        save_file({"alone": self.alone.scores}, folder / "members.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(folder / "members.safetensors")
        return cls(np.array(read_json(folder / "members.json")["shares"]), Calibration(arrays["alone"]))


def members_of(model: "OneClassModel", matrix: np.ndarray) -> np.ndarray:
    """Return -log p of each member's score, float64 of shape (n_rows, n_members), by a model that has members."""
    from models.capabilities import WithMembers

    if not isinstance(model, WithMembers):
        raise TypeError(f"{type(model).__name__} has no members")
    return np.asarray(model.member_scores(matrix), dtype=np.float64)


def combine(levels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the root of the mean square of members' levels, each with its share.

    Parameters
    ----------
    levels : array of shape (n_rows, n_members)
        -log p of each member's score.
    shares : array of shape (n_members,)

    Examples
    --------
    >>> combine(np.array([[3.0, 4.0], [0.0, 4.0]]), np.array([0.5, 0.5])).round(3).tolist()
    [3.536, 2.828]
    """
    # A product of matrices would round a row by the rows that it comes with.
    return np.sqrt((np.square(levels) * shares).sum(axis=1))


def fit_shares(normal: np.ndarray, frauds: np.ndarray) -> np.ndarray:
    """Return what each member is to count, by a logistic regression whose weights are none below zero.

    Frauds and normal rows weigh as much together. Weights are drawn towards each other, by `PULL` times half their
    summed squares around their mean, so that a few frauds move them a little.

    Parameters
    ----------
    normal : array of shape (n_normal_rows, n_members)
        -log p of the members' scores of rows that took no part in fitting them.
    frauds : array of shape (n_frauds, n_members)

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> frauds = random.exponential(size=(50, 2)) + np.array([4, 0])
    >>> shares = fit_shares(random.exponential(size=(500, 2)), frauds)
    >>> bool(shares[0] > 0.7), round(float(shares.sum()), 6)
    (True, 1.0)
    """
    from scipy.optimize import minimize

    levels = np.concatenate([frauds, normal])
    signs = np.where(np.arange(len(levels)) < len(frauds), 1.0, -1.0)
    weights = np.where(signs > 0, 1.0, len(frauds) / len(normal))

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        base, slopes = values[0], values[1:]
        margins = signs * (base + levels @ slopes)
        errors = -signs * weights / (1 + np.exp(np.minimum(margins, 500)))
        apart = slopes - slopes.mean()
        loss = (weights * np.logaddexp(0, -margins)).sum() + PULL / 2 * np.square(apart).sum()
        return float(loss), np.concatenate([[errors.sum()], errors @ levels + PULL * apart])

    n_members = levels.shape[1]
    start = np.concatenate([[-1.0], np.full(n_members, 1 / n_members)])
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(None, None)] + [(0.0, None)] * n_members)
    slopes = np.asarray(found.x[1:])
    return slopes / slopes.sum() if slopes.sum() > 0 else np.full(n_members, 1 / n_members)
