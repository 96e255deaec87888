"""What must hold before anything is imported: quiet, local libraries without telemetry, and our own packages.

A variable that the user has set stays as it is.
"""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("pipeline", "models", "expectations")
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def settle(work_dir: str | Path | None = None) -> None:
    """Set what the user has not set: no telemetry, and Prefect's own files in the work folder.

    A user who has a Prefect profile, home or server keeps it.

    Raises
    ------
    ResourceError
        When the work folder can't be made.
    """
    # Great Expectations imports PySpark where it is, which doubts a pandas that neither of them is given a row by.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    variables = {
        "PREFECT_HOME",
        "PREFECT_API_URL",
        "PREFECT_PROFILE",
        "PREFECT_PROFILES_PATH",
    } & os.environ.keys()
    if work_dir and not variables and not (Path.home() / ".prefect" / "profiles.toml").exists():
        home = Path(work_dir) / "prefect"
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            from pipeline.errors import ResourceError

            raise ResourceError(
                f"the work folder {work_dir} can't be made ({error.strerror}); name another one as work_dir"
            ) from None
        os.environ["PREFECT_HOME"] = str(home)


def namesake() -> str:
    """Return a sentence about what Python imports in place of one of our packages; "" where it imports ours.

    The names are plain ones. A pipeline.py or a folder models/ of the user's own, earlier on Python's path, would end
    in an error about a module that the user has never heard of.
    """
    root = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = find_spec(name)
        places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
        file = next((Path(place).resolve() for place in places if place), root / name)
        if file.name == "__init__.py":
            file = file.parent
        if file != root / name:
            return f"{file} is imported in place of Assay's own {name}; rename it, or {_remedy(file.parent)}"
    return ""


def _remedy(folder: Path) -> str:
    """Return what takes a folder off Python's path."""
    entries = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if folder in entries:
        return f"take {folder} out of PYTHONPATH"
    if folder == Path.cwd():
        return "run the command in another folder"
    return "install Assay into an environment of its own"
