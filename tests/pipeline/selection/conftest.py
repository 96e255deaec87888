"""What the tests of this folder share: the material of a small search."""

import pytest

from tests.pipeline.fitted import transactions
from tests.pipeline.selection.small_search import settings, write_material


@pytest.fixture(scope="session")
def small_search(tmp_path_factory):
    """The settings of a small search, and the folder with its material."""
    folder = tmp_path_factory.mktemp("small_search")
    config = settings(folder)
    return config, write_material(folder, config, transactions(rows=3000))
