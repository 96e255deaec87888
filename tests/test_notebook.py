"""docs/notebook.ipynb runs from top to bottom in a kernel of its own, and is kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each cell of code printed or showed, by the last line of its source."""
    folder = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(BOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=":")
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name))
        (folder / "work").mkdir()
        # A cell that takes longer than the whole notebook should on a slow machine is interrupted.
        NotebookClient(book, timeout=280, resources={"metadata": {"path": str(folder / "work")}}).execute()
    assert list((folder / "work").iterdir()) == []
    return {cell.source.splitlines()[-1]: _text(cell) for cell in book.cells if cell.cell_type == "code"}


def _text(cell: nbformat.NotebookNode) -> str:
    assert not any(output.output_type == "error" for output in cell.outputs)
    shown = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return "\n".join(shown)


def test_every_cell_runs_and_shows_what_its_text_says(outputs: dict[str, str]) -> None:
    def of(beginning: str) -> str:
        return next(text for line, text in outputs.items() if line.startswith(beginning))

    assert "'TX_AMOUNT': a number, and its name says so" in of("pd.Series(reasons)")
    assert "of normal rows are flagged" in of("detector.promise")
    assert "10 alerts" in of("detector.with_threshold(ten.threshold).promise")
    assert "% of the score" in of("scored.alerts[[")
    assert "'share'" in of('scored.alerts["reasons"]')
    assert "[TX_AMOUNT: not missing]" in of("score_frame(detector, bad")
    assert "TX_AMOUNT (log)" in of("matrix.head()")
    assert of("sorted(path.name") == "['assay.toml', 'detector', 'transactions.parquet']"


def test_it_is_valid_and_kept_without_outputs() -> None:
    book = nbformat.read(BOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
