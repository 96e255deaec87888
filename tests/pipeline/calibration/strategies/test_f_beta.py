"""F-beta against scikit-learn's at every cut."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.f_beta import FBeta
from tests.pipeline.calibration.held_out_rows import every_cut, partly_labelled


@pytest.mark.parametrize("beta", [0.5, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_f_beta_is_the_highest_of_any_cut(seed, beta):
    rows = partly_labelled(seed)
    known = ~np.isnan(rows.labels)

    def value(cut):
        return fbeta_score(rows.labels[known] == 1, rows.scores[known] > cut, beta=beta, zero_division=0)

    threshold = FBeta(beta=beta).solve(rows)
    assert value(threshold.value) == pytest.approx(max(map(value, every_cut(rows))))
    assert threshold.facts["f_beta"] == pytest.approx(value(threshold.value))
    fulfilment = FBeta(beta=beta).fulfilment(threshold, Realised.of(rows, rows.scores > threshold.value))
    assert f"F-{beta:g} is {value(threshold.value):.3f}" in fulfilment.text


def test_f_beta_is_shown_by_the_number_of_alerts():
    rows = partly_labelled(2, ties=False)
    is_known = ~np.isnan(rows.labels)
    fraud = (rows.labels[is_known] == 1)[np.argsort(-rows.scores[is_known])]
    curve = FBeta(beta=2).curve(FBeta(beta=2).solve(rows), rows)
    assert (curve.title, curve.is_log) == ("F-2 by the number of alerts", (True, False))
    assert curve.text == f"On the {len(fraud)} rows with a known label. The dot is the threshold."
    assert curve.x_label == "alerts among these rows (log scale)"
    [(kind, label, points)] = curve.lines
    assert (kind, label, len(points)) == ("curve", "", 400)
    for x, y in points[::40]:
        assert y == pytest.approx(fbeta_score(fraud, np.arange(len(fraud)) < x, beta=2))
    assert (points[0][0], points[-1][0]) == (1, len(fraud))
    values = [fbeta_score(fraud, np.arange(len(fraud)) < x, beta=2) for x in range(1, len(fraud) + 1)]
    assert curve.at == (int(np.argmax(values)) + 1, pytest.approx(max(values)))
