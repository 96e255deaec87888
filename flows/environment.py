"""Environment of the libraries, settled before they are imported: quiet, local, no telemetry.

A variable that the user has set stays as it is.
"""

import os
from pathlib import Path

from pipeline.errors import InputError

QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A first start makes Prefect's database, which takes a slow disk longer than Prefect's 20 seconds.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
}


def settle(work_dir: str | Path | None = None) -> None:
    """Set what the user has not set: no telemetry, and Prefect's own files in the work folder.

    A user who has a Prefect profile, home or server keeps it.

    Raises
    ------
    InputError
        When the work folder can't be made.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    chosen = {
        "PREFECT_HOME",
        "PREFECT_API_URL",
        "PREFECT_PROFILE",
        "PREFECT_PROFILES_PATH",
    } & os.environ.keys()
    if work_dir and not chosen and not (Path.home() / ".prefect" / "profiles.toml").exists():
        home = Path(work_dir) / "prefect"
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the work folder {work_dir} can't be made ({error.strerror}); name another one as work_dir"
            ) from None
        os.environ["PREFECT_HOME"] = str(home)
