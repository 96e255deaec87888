import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models import DenoisingAutoencoder, PrincipalComponents, scorers


def table():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(300, 6))
    rows = np.concatenate([normal, rng.normal(size=(20, 6))])
    order = rng.permutation(len(rows))
    return rows[order], np.repeat([0, 1], [300, 20])[order]


def share_of_pairs_in_order(scores, is_fraud):
    """The area under the ROC curve, by its meaning."""
    return (scores[is_fraud == 1][:, None] > scores[is_fraud == 0][None]).mean()


@pytest.mark.parametrize("model", [PrincipalComponents(), DenoisingAutoencoder(max_epochs=10, batch_size=32)])
def test_a_model_that_finds_fraud_has_a_high_area_whichever_way_the_labels_are_read(model):
    rows, is_fraud = table()
    model.fit(rows[is_fraud == 0])
    expected = share_of_pairs_in_order(model.anomaly_score(rows), is_fraud)
    assert expected > 0.9
    assert scorers.roc_auc(model, rows, is_fraud) == pytest.approx(expected)


def test_scikit_learns_scorer_by_name_wants_minus_one_for_fraud():
    rows, is_fraud = table()
    own = cross_val_score(PrincipalComponents(), rows, is_fraud, scoring=scorers.roc_auc)
    assert own.min() > 0.8
    by_name = cross_val_score(PrincipalComponents(), rows, 1 - 2 * is_fraud, scoring="roc_auc")
    np.testing.assert_allclose(by_name, own)
    turned = cross_val_score(PrincipalComponents(), rows, is_fraud, scoring="roc_auc")
    np.testing.assert_allclose(turned, 1 - own)


def test_average_precision_is_the_mean_precision_at_each_fraud():
    rows, is_fraud = table()
    model = PrincipalComponents().fit(rows[is_fraud == 0])
    ranked = is_fraud[np.argsort(-model.anomaly_score(rows), kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    assert scorers.average_precision(model, rows, is_fraud) == pytest.approx(precision[ranked == 1].mean())


def test_they_choose_a_model_in_a_pipeline_behind_a_scaler():
    rows, is_fraud = table()
    rows = rows * [1, 10, 100, 1, 1, 1]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PrincipalComponents()),
        {"principalcomponents__floor": [0.5, 1e-6]},  # with the first, only the largest components are looked at
        scoring={"area": scorers.roc_auc, "precision": scorers.average_precision},
        refit="area",
    ).fit(rows, is_fraud)
    assert search.best_params_ == {"principalcomponents__floor": 1e-6}
    assert search.cv_results_["mean_test_area"][1] > 0.8
