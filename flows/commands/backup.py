"""`assay backup`: one copy of what must be kept, and holding a copy against its manifest."""

import shlex
from pathlib import Path

from flows import console
from pipeline.errors import AssayError, InputError
from pipeline.numbers import size
from pipeline.settings.file import read_config


def make_backup(config_path: Path, parent: Path) -> Path:
    """Make a copy in a new folder of a folder, say what is in it, and return where it is.

    Raises
    ------
    AssayError
        When what must be kept can't be copied whole; nothing is there then.
    """
    config = read_config(config_path)
    if not Path(config.work_dir).is_dir():
        raise InputError(f"there is no work folder {config.work_dir} yet, so nothing is to be kept; train first")
    from pipeline.upkeep.backup import back_up
    from pipeline.workspace.draft import settle_draft
    from pipeline.workspace.intents import Intents
    from pipeline.workspace.ledger import lock
    from pipeline.workspace.workspace import Workspace

    with console.live(), console.step("wait for runs, and copy"), lock(config), Intents(config).alone():
        settle_draft(Workspace(config))
        folder, manifest = back_up(config, config_path, parent)
    rows: dict[str, object] = {
        part: f"{count:,} {'file' if count == 1 else 'files'}, {size(used)}"
        for part, (count, used) in manifest.parts.items()
    }
    rows["together"] = size(sum(used for _, used in manifest.parts.values()))
    console.table(f"Backup of {manifest.name}", {**rows, "where": folder})
    for text in manifest.elsewhere:
        console.warning(f"not in it: {text}")
    console.commands("Next", [f"assay backup --check {shlex.quote(str(folder))}"])
    return folder


def check_backup(folder: Path) -> None:
    """Say whether a copy is what its manifest says.

    Raises
    ------
    AssayError
        When it is not.
    """
    from pipeline.upkeep.backup import faults, read_manifest

    manifest, texts = read_manifest(folder), faults(folder)
    if texts:
        for text in texts:
            console.say(f"- {text}")
        number = "1 file" if len(texts) == 1 else f"{len(texts):,} files"
        raise AssayError(
            f"{folder} is not what was backed up at {manifest.made_at}, by {number}; make another one with assay "
            "backup, and look at the disk"
        )
    console.say(
        f"{folder} is whole: {len(manifest.files):,} files of {manifest.name}, as they were at {manifest.made_at}."
    )
