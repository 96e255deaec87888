"""`assay document`: what is known of a version, as a page and as Markdown, and in its run in MLflow."""

from datetime import UTC, datetime
from pathlib import Path

from flows import console
from flows.commands.compare import say_recovered
from pipeline.errors import ResourceError
from pipeline.pages.document import markdown_of, render_document
from pipeline.pages.sections import model_document
from pipeline.selection.dossier import dossier
from pipeline.settings.file import read_config
from pipeline.tables.writing import write_text
from pipeline.tracking.groups import log_group
from pipeline.workspace.folder import WorkFolder


def write_document(config_path: Path, asked: str, out: Path | None) -> None:
    """Write the model document of a version, and log it to the version's run; no data is read.

    Parameters
    ----------
    config_path : Path
    asked : str
        Version, alias or run id.
    out : Path or None
        Folder; that of the work folder when None.

    Raises
    ------
    AssayError
        When there is no such version, its files are gone, or the folder can't be written to.
    """
    config = read_config(config_path)
    say_recovered(config)
    work = WorkFolder(config)
    folder = out or work.documents
    _make(folder)
    with console.live():
        with console.step("read what is kept of the version"):
            kept = dossier(config, asked)
            document = model_document(kept, datetime.now(UTC))
        with console.step("write the document and log it in MLflow"):
            name = f"model-document-v{kept.version.number}"
            files = [folder / f"{name}.html", folder / f"{name}.md"]
            for file, text in zip(files, (render_document(document), markdown_of(document)), strict=True):
                write_text(file, text)
            if kept.run.run_id:
                log_group(config, kept.run.run_id, artefacts=files)
    console.table(
        f"Model document of {config.name}, {kept.version.title}",
        {"page": str(files[0]), "Markdown": str(files[1]), "MLflow run": kept.run.run_id or "not known"},
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"the folder {folder} can't be made ({error.strerror}); name another one as --out"
        ) from None
