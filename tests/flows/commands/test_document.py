"""assay document end to end: an MLflow store, SQLite, files."""

from pathlib import Path

from tests.flows.assay import client_of, run, said


def test_the_document_of_a_version_is_written_and_logged_to_its_run(fresh: Path) -> None:
    home = fresh.parent
    result = run("document", "candidate", "--config", fresh, "--out", home / "papers")
    assert result.exit_code == 0, result.output
    assert "Model document of transactions, version 2 (candidate)" in said(result)
    page, markdown = home / "papers" / "model-document-v2.html", home / "papers" / "model-document-v2.md"
    assert {path.name for path in (home / "papers").iterdir()} == {page.name, markdown.name}
    text = markdown.read_text()
    run_id = client_of(home).get_model_version("transactions", "2").run_id
    for part in (
        f"by run {run_id}",
        "2025-01-31 to 2025-02-21",
        f"made by run {run_id}",
        "Average precision",
    ):
        assert part in text
    assert "This version has scored no batch yet." in page.read_text()
    assert {page.name, markdown.name} <= {file.path for file in client_of(home).list_artifacts(run_id)}


def test_the_champions_lies_in_the_work_folder_and_what_can_not_be_done_is_said(fresh: Path) -> None:
    result = run("document", "--config", fresh)
    assert result.exit_code == 0, result.output
    folder = fresh.parent / "assay-data" / "documents" / "transactions"
    assert (folder / "model-document-v1.html").is_file()
    missing = run("document", "9", "--config", fresh)
    assert missing.exit_code == 1
    assert "has no version or alias '9'" in said(missing)
    (fresh.parent / "taken").write_text("")
    refused = run("document", "--config", fresh, "--out", fresh.parent / "taken")
    assert refused.exit_code == 1
    assert "can't be made" in said(refused)
    assert "Traceback" not in refused.output
