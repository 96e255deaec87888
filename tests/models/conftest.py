"""What the tests of models share: two threads, whatever the machine, so that blocks of rows are in work at once."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Let torch have two threads for a test; as many as before have it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
