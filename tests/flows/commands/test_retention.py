"""assay retention: what is no time is refused, before anything heavy is loaded."""

from pathlib import Path

import pytest

from tests.flows.assay import run, said


@pytest.mark.parametrize("keep", ["", "0d", "2w", "-3d", "1.5d", "forever"])
def test_what_is_no_number_of_days_is_refused(keep: str, tmp_path: Path) -> None:
    result = run("retention", f"--keep={keep}", "--config", tmp_path / "assay.toml")
    assert result.exit_code == 1
    assert f"--keep {keep!r} is no number of days; write one such as 400d" in said(result)
