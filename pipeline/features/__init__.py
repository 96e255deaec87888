"""Behavioural features: what each entity has been doing up to a row, and no later.

In: accepted rows, the history behind them, labels from review. Out: a feature table, a row an accepted row. Called by
intake, selection, scoring in the shadow, and a served model; the detector asks for the list of features.
"""

from pipeline.features.families import core_features, list_features
from pipeline.features.plan import Feature
from pipeline.features.table import compute

__all__ = ["Feature", "compute", "core_features", "list_features"]
