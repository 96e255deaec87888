"""The examples in the docstrings run and show what they say."""

import doctest
import importlib
import pkgutil

import pytest

import expectations
import flows
import models
import pipeline

# MLflow and Alembic run these files themselves: importing them sets a model, or migrates.
NOT_IMPORTED = {"pipeline.tracking.model_code", "pipeline.workspace.migrations.env"}
MODULES = sorted(
    module.name
    for package in (expectations, flows, models, pipeline)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if module.name not in NOT_IMPORTED
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
