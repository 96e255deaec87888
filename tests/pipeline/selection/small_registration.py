"""A registration as a command makes one, for the tests of it and of what comes after."""

from pathlib import Path

from pipeline.selection.registration import registering
from pipeline.settings.config import Config
from pipeline.tracking.store import Registered
from pipeline.workspace.folder import WorkFolder
from tests.pipeline.tracking.small_training import Trained


def register(trained: Trained, config: Config) -> Registered:
    """Register a version and record it."""
    folder = Path(config.work_dir) / "runs" / config.name
    with registering(config, folder) as registration:
        with WorkFolder(config).staged(folder):
            registered = trained.log(config, tags=registration.tags)
        registration.record(registered)
    return registered
