"""The files beside a delivery."""

from pathlib import Path

from pipeline.tables.manifest import beside


def test_a_file_beside_has_the_name_with_or_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "a.csv.done").touch()
    (tmp_path / "b.done").touch()
    (tmp_path / "day").mkdir()
    (tmp_path / "day.done").mkdir()  # a folder says nothing
    assert beside(tmp_path / "a.csv", ".done") == tmp_path / "a.csv.done"
    assert beside(tmp_path / "b.csv", ".done") == tmp_path / "b.done"
    assert beside(tmp_path / "day", ".done") is None
