"""Behavioural features: what each entity has been doing up to a row, and no later."""

from pipeline.features.choice import suggest_families
from pipeline.features.families import list_features
from pipeline.features.plan import Feature
from pipeline.features.table import compute

__all__ = ["Feature", "compute", "list_features", "suggest_families"]
