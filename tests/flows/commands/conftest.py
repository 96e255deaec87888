"""What the tests of the commands share."""

import pytest

from flows import console


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """So wide that no cell of a table is wrapped in among the others."""
    monkeypatch.setattr(console.OUT, "width", 300)
