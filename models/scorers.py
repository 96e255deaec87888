"""Scorers for scikit-learn's model selection, for labels with 1 for fraud and 0 for normal.

scikit-learn's own scorers by name read ``decision_function``, and that of an outlier detector is low for outliers: by
its convention outliers are -1 and all else 1. So ``scoring="roc_auc"`` is right for labels ``1 - 2 * is_fraud``, and
for labels with 1 for fraud it gives 1 minus the right value. These scorers turn the score instead of the labels. They
take any outlier detector of scikit-learn's, a ``Pipeline`` that ends in one too.

scikit-learn fits on all rows of a fold, frauds among them, as it knows no labels of an outlier detector. To fit on
normal rows only, give ``cv`` as a list of (fit rows, test rows) without them.

Examples
--------
>>> import numpy as np
>>> from sklearn.model_selection import cross_val_score
>>> from models import PrincipalComponents, scorers
>>> rng = np.random.default_rng(0)
>>> rows = np.concatenate([rng.normal(size=(180, 3)), 4 * rng.normal(size=(20, 3))])
>>> is_fraud, order = np.repeat([0, 1], [180, 20]), rng.permutation(200)
>>> rows, is_fraud = rows[order], is_fraud[order]
>>> right = cross_val_score(PrincipalComponents(), rows, is_fraud, scoring=scorers.roc_auc)
>>> by_name = cross_val_score(PrincipalComponents(), rows, 1 - 2 * is_fraud, scoring="roc_auc")
>>> turned = cross_val_score(PrincipalComponents(), rows, is_fraud, scoring="roc_auc")
>>> bool(right.min() > 0.8), bool(np.allclose(by_name, right)), bool(np.allclose(turned, 1 - right))
(True, True, True)
"""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score


def roc_auc(estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
    """Return the area under the ROC curve: how often a fraud scores above a normal row, 0..1, 0.5 by chance.

    Parameters
    ----------
    estimator : outlier detector
        Fitted; ``score_samples`` is low for outliers.
    X : array or frame of shape (n_rows, n_columns)
    y : array of shape (n_rows,)
        1 fraud, 0 normal; both must be there.
    """
    return float(roc_auc_score(y, -estimator.score_samples(X)))


def average_precision(estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
    """Return the average precision of ranking rows by their score, 0..1; by chance the share of frauds.

    Parameters
    ----------
    estimator : outlier detector
        Fitted; ``score_samples`` is low for outliers.
    X : array or frame of shape (n_rows, n_columns)
    y : array of shape (n_rows,)
        1 fraud, 0 normal.
    """
    return float(average_precision_score(y, -estimator.score_samples(X)))
