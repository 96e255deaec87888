"""`assay label`: labels from review go in, and what is missed comes out."""

from pathlib import Path

from flows import console
from flows.run import table_or_default
from pipeline.settings.file import read_config


def take_labels(config_path: Path, labels: str) -> None:
    """Take in a table of labels from review, and say what is in it and what becomes of it."""
    from pipeline.evaluation.missed import missed_by_version
    from pipeline.workspace.workspace import Workspace

    config = read_config(config_path)
    workspace, path = Workspace(config), Path(table_or_default(labels, config))
    workspace.folder.make(workspace.folder.labels)
    with console.live(), console.step("take in the labels"):
        taken = workspace.reviewed.append(path, workspace.history.files(None, None))
    counts: dict[str, int | str] = {
        "labels": taken.rows,
        "frauds": taken.frauds,
        "ids not in the history": taken.unknown,
    }
    if taken.blank:
        counts["rows without a label yet"] = taken.blank
    if taken.words:
        counts["understood"] = taken.words
    if taken.is_new:
        console.table(f"Took in {path}", {**counts, "kept as": taken.file})
        console.say("They are used from their moment on, by the features of later batches and by the next training.")
    else:
        console.table(f"{path} was taken in before; nothing was done", {**counts, "kept as": taken.file})
    if taken.unknown:
        console.warning(
            f"the history has no row of {taken.unknown:,} of the ids; their labels are kept and count once such rows "
            f"come, so check the column {config.contract.id!r} if they should be there already"
        )
    missed = missed_by_version(workspace)
    if missed:
        console.table("Fraud missed, estimated from random audits", missed)
    if taken.is_new:
        console.commands("Next", [f"assay train --config {config_path}"])
