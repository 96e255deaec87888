"""docs/notebook.ipynb runs from top to bottom in a kernel of its own, and is kept without outputs."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import pipeline

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
    # A fifth of the ten explores there, because the precision of the queue fell.
    assert "8 alerts" in of("detector.with_threshold(ten.threshold).promise")
    assert "% of the score" in of("scored.alerts[[")
    assert "'share'" in of('scored.alerts["reasons"]')
    assert "[TX_AMOUNT: not missing]" in of("score_frame(detector, bad")
    assert "TX_AMOUNT (log)" in of("matrix.head()")
    assert 0 <= float(of("scorers.roc_auc")) <= 1
    assert of("sorted(path.name") == "['assay.toml', 'detector', 'transactions.parquet']"


def test_it_is_valid_and_kept_without_outputs() -> None:
    book = nbformat.read(BOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_it_runs_what_the_page_about_python_shows() -> None:
    book = nbformat.read(BOOK, as_version=4)
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    imported = {name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for name in _names(node)}
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(shown) == 2
    for node in ast.parse("\n".join(shown)).body:
        if isinstance(node, ast.ImportFrom):
            assert _names(node) <= imported
        else:
            assert ast.unparse(node) in {ast.unparse(line) for line in ast.parse(code).body}


def _names(node: ast.ImportFrom) -> set[str]:
    return {f"{node.module}.{alias.name}" for alias in node.names}


def test_the_page_about_python_has_every_name() -> None:
    part = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").partition("## The names of")[2]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(pipeline.__all__) - {"ScoredFrame"}
