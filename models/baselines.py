"""Models to compare with, fitted by scikit-learn: principal components, isolation forest, neighbours, one-class SVM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn import functional

from models.blocks import in_blocks
from models.nodes import Nodes
from models.one_class import OneClassModel


@dataclass(kw_only=True, eq=False, repr=False)
class PrincipalComponents(OneClassModel):
    """Sum of a row's squared principal component scores, each over its variance.

    Shyu, Chen, Sarinnapakorn and Chang, "A novel anomaly detection scheme based on principal component
    classifier" (2003), section 3, equations 2 and 3: large scores on the major components are extreme values,
    on the minor ones breaks of the correlations. Scores are 0 or more.

    Departs from the paper: one sum over all components instead of a threshold each for major and minor ones;
    components with less than ``floor`` of the largest variance are left out, which the columns' rounding makes.

    Parameters
    ----------
    floor : float
        Share of the largest variance that a component must have, 0 or more and below 1.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=(200, 1))
    >>> model = PrincipalComponents().fit(at + 0.1 * np.random.default_rng(1).normal(size=(200, 2)))
    >>> along, across = model.anomaly_score([[1.0, 1.0], [1.0, -1.0]])
    >>> bool(across > 10 * along)
    True
    """

    floor: float = 1e-6
    contamination: float = 0.1

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""
        rows = np.asarray(self._check_fit_rows(X))
        if not 0 <= self.floor < 1:
            raise ValueError(f"floor={self.floor!r} must be 0 or more and below 1")
        pca = PCA(svd_solver="covariance_eigh" if rows.shape[1] <= len(rows) else "full").fit(rows.astype(np.float64))
        is_major = pca.explained_variance_ > max(self.floor * pca.explained_variance_[0], np.finfo(np.float32).tiny)
        self.mean_ = pca.mean_
        self.axes_ = (pca.components_[is_major] / np.sqrt(pca.explained_variance_[is_major])[:, None]).T
        self._set_offset(self._scores(rows))
        return self

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        more = (0, -self.axes_.shape[1] % 8, 0, -self.axes_.shape[0] % 8)
        axes, mean = functional.pad(torch.from_numpy(self.axes_), more), torch.from_numpy(self.mean_)

        def score(block: Tensor) -> Tensor:
            return (functional.pad(block.double() - mean, (0, more[3])) @ axes).square().sum(dim=1)

        return in_blocks(rows, score)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"mean": self.mean_, "axes": np.ascontiguousarray(self.axes_)}

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.mean_, self.axes_ = arrays["mean"], arrays["axes"]


@dataclass(kw_only=True, eq=False, repr=False)
class NearestNeighbours(OneClassModel):
    """Distance to the k-th nearest fit row.

    Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets" (2000),
    definition 2.1. Nothing is left out: a copy of a fit row, and the fit row itself, finds one at distance zero.

    Parameters
    ----------
    n_neighbors : int
        k; at most the number of fit rows.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.

    Examples
    --------
    >>> model = NearestNeighbours(n_neighbors=2).fit([[0.0], [1.0], [3.0]])
    >>> model.anomaly_score([[2.0], [7.0]])
    array([1., 6.])
    """

    n_neighbors: int = 5
    contamination: float = 0.1

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""
        rows = np.asarray(self._check_fit_rows(X))
        if self.n_neighbors < 1:
            raise ValueError(f"n_neighbors={self.n_neighbors!r} must be 1 or more")
        self._remember(rows)
        self._set_offset(self._scores(rows))
        return self

    def _remember(self, rows: np.ndarray) -> None:
        self.fit_rows_ = rows
        self._k = min(self.n_neighbors, len(rows))
        self._neighbours = NearestNeighbors(algorithm="brute").fit(rows)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the distance to the k-th neighbour.

        scikit-learn finds the neighbours by matrix products, which round with the batch; so the distances are
        worked out again for the few that it finds, some more than k, and these are put in order.
        """
        n_candidates = min(self._k + 4, len(self.fit_rows_))
        candidates = self._neighbours.kneighbors(rows, n_neighbors=n_candidates, return_distance=False)
        squares = np.empty(candidates.shape)
        for rank in range(n_candidates):
            for start in range(0, len(rows), 4096):
                part = slice(start, start + 4096)
                apart = rows[part].astype(np.float64) - self.fit_rows_[candidates[part, rank]]
                squares[part, rank] = np.einsum("ij,ij->i", apart, apart)
        return np.sqrt(np.partition(squares, self._k - 1, axis=1)[:, self._k - 1])

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"fit_rows": self.fit_rows_}

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._remember(arrays["fit_rows"])


@dataclass(kw_only=True, eq=False, repr=False)
class IsolationTrees(OneClassModel):
    """An isolation forest: rows that few random splits set apart are anomalous.

    Liu, Ting and Zhou, "Isolation forest" (2008), equation 2. The trees are grown by scikit-learn and kept as
    arrays, so that they can be saved without pickle. Scores lie in 0..1.

    Parameters
    ----------
    n_estimators : int
        Trees.
    max_samples : int
        Rows that each tree is grown on, at most those there are.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Same int, same rows, same scores.

    Examples
    --------
    >>> import numpy as np
    >>> model = IsolationTrees().fit(np.random.default_rng(0).normal(size=(300, 2)))
    >>> normal, odd = model.anomaly_score([[0.0, 0.0], [6.0, 6.0]])
    >>> bool(normal < 0.5 < odd)
    True
    """

    n_estimators: int = 100
    max_samples: int = 256
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""
        rows = np.asarray(self._check_fit_rows(X))
        for name in ("n_estimators", "max_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be 1 or more")
        self.n_samples_ = min(self.max_samples, len(rows))
        forest = IsolationForest(
            n_estimators=self.n_estimators, max_samples=self.n_samples_, random_state=self.random_state
        ).fit(rows)
        trees = [tree.tree_ for tree in forest.estimators_]
        shape = len(trees), max(tree.node_count for tree in trees)
        self.children_ = np.zeros((*shape, 2), np.int64)
        self.columns_ = np.zeros(shape, np.int64)
        self.thresholds_ = np.full(shape, np.inf)
        self.lengths_ = np.zeros(shape)
        for number, tree in enumerate(trees):
            here, is_leaf = np.arange(tree.node_count), tree.children_left < 0
            both = np.column_stack([tree.children_left, tree.children_right])
            self.children_[number, here] = np.where(is_leaf[:, None], here[:, None], both)
            self.columns_[number, here] = np.where(is_leaf, 0, tree.feature)
            self.thresholds_[number, here] = tree.threshold
            self.lengths_[number, here] = _depths(both, is_leaf) + _mean_length(tree.n_node_samples)
        self.depth_ = max(tree.max_depth for tree in trees)
        self._set_offset(self._scores(rows))
        return self

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        n_trees, n_nodes = self.columns_.shape
        roots = n_nodes * np.arange(n_trees)
        children = (self.children_ + roots[:, None, None]).reshape(-1, 2)
        nodes = Nodes(self.columns_.ravel(), self.thresholds_.ravel(), children, roots, depth=self.depth_)
        lengths = self.lengths_.ravel()
        usual = max(float(_mean_length(np.array([self.n_samples_]))[0]), np.finfo(np.float64).tiny)

        def length(block: Tensor) -> Tensor:
            total = np.zeros(len(block))
            for leaves in nodes.leaves(block.numpy()):
                for of_tree in lengths.take(leaves):  # in the trees' order, so that no bit depends on their grouping
                    total += of_tree
            return torch.from_numpy(total)

        return np.exp2(-in_blocks(rows, length) / (n_trees * usual))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        names = ("children", "columns", "thresholds", "lengths")
        values = {"depth": int(self.depth_), "n_samples": int(self.n_samples_)}
        return values, {name: getattr(self, f"{name}_") for name in names}

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.depth_, self.n_samples_ = values["depth"], values["n_samples"]
        for name, array in arrays.items():
            setattr(self, f"{name}_", array)


@dataclass(kw_only=True, eq=False, repr=False)
class OneClassSVM(OneClassModel):
    """A one-class support vector machine with a Gaussian kernel, for tables of any length.

    Schölkopf, Platt, Shawe-Taylor, Smola and Williamson, "Estimating the support of a high-dimensional
    distribution" (2001), equation 3.4, solved by stochastic gradient descent on the features of Williams and
    Seeger, "Using the Nyström method to speed up kernel machines" (2001), as scikit-learn has both. Scores are
    above 0 outside the support.

    Parameters
    ----------
    nu : float
        Share of the fit rows, above 0 and at most 1, that may lie outside.
    n_components : int
        Rows that the kernel is worked out against, at most those there are.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Same int, same rows, same scores.

    Examples
    --------
    >>> import numpy as np
    >>> model = OneClassSVM().fit(np.random.default_rng(0).normal(size=(300, 2)))
    >>> normal, odd = model.anomaly_score([[0.0, 0.0], [6.0, 6.0]])
    >>> bool(odd > normal)
    True
    """

    nu: float = 0.1
    n_components: int = 300
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""
        rows = np.asarray(self._check_fit_rows(X))
        if not 0 < self.nu <= 1:
            raise ValueError(f"nu={self.nu!r} must lie above 0 and not above 1")
        if self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} must be 1 or more")
        random = check_random_state(self.random_state)
        variance = float(rows.var(dtype=np.float64))
        self.gamma_ = 1 / (rows.shape[1] * variance) if variance > 0 else 1.0
        kernel = Nystroem(gamma=self.gamma_, n_components=min(self.n_components, len(rows)), random_state=random)
        machine = SGDOneClassSVM(nu=self.nu, random_state=random).fit(kernel.fit_transform(rows.astype(np.float64)))
        self.landmarks_ = np.ascontiguousarray(kernel.components_, dtype=np.float64)
        self.weights_ = kernel.normalization_.T @ machine.coef_.ravel()
        self.bias_ = float(np.ravel(machine.offset_)[0])
        self._set_offset(self._scores(rows))
        return self

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        # All in multiples of 64 bytes, which are rounded alike wherever they stand; the further weights are zero.
        more_landmarks, more_columns = -len(self.landmarks_) % 8, -rows.shape[1] % 8
        landmarks = functional.pad(torch.from_numpy(self.landmarks_), (0, more_columns, 0, more_landmarks)).T
        landmarks = landmarks.contiguous()
        weights = functional.pad(torch.from_numpy(self.weights_), (0, more_landmarks))
        squares = landmarks.square().sum(dim=0)

        def score(block: Tensor) -> Tensor:
            wide = functional.pad(block.double(), (0, more_columns))
            apart = squares - 2 * (wide @ landmarks) + wide.square().sum(dim=1, keepdim=True)
            return self.bias_ - (apart.clamp_(min=0).mul_(-self.gamma_).exp_() * weights).sum(dim=1)

        return in_blocks(rows, score)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values = {"gamma": self.gamma_, "bias": self.bias_}
        return values, {"landmarks": self.landmarks_, "weights": self.weights_}

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.gamma_, self.bias_ = values["gamma"], values["bias"]
        self.landmarks_, self.weights_ = arrays["landmarks"], arrays["weights"]


def _depths(children: np.ndarray, is_leaf: np.ndarray) -> np.ndarray:
    """Return the depth of each node, the root's 0; children come after their parents."""
    depths = np.zeros(len(children))
    for node in np.flatnonzero(~is_leaf):
        depths[children[node]] = depths[node] + 1
    return depths


def _mean_length(n_rows: np.ndarray) -> np.ndarray:
    """Return the mean length of an unsuccessful search in a tree of so many rows: equation 1 of the paper."""
    n = np.maximum(n_rows, 3).astype(np.float64)
    length = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(n_rows <= 1, 0.0, np.where(n_rows == 2, 1.0, length))
