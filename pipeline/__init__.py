"""Assay's stages: plain functions and small classes, a folder a stage. Imports without Prefect.

Examples
--------
For notebooks and other programs, the names below are here, and each loads what it needs when it is first asked for:

>>> from pipeline import Config, Detector, fit_frame, infer_frame, read_config, score_frame
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.detector.artefact import Detector as Detector
    from pipeline.errors import AssayError as AssayError
    from pipeline.scoring.frames import ScoredFrame as ScoredFrame
    from pipeline.scoring.frames import fit_frame as fit_frame
    from pipeline.scoring.frames import infer_frame as infer_frame
    from pipeline.scoring.frames import score_frame as score_frame
    from pipeline.scoring.frames import transform_frame as transform_frame
    from pipeline.settings.config import Config as Config
    from pipeline.settings.file import read_config as read_config
    from pipeline.settings.file import with_settings as with_settings
    from pipeline.settings.file import write_config as write_config
    from pipeline.simulation import simulate as simulate
    from pipeline.tracking.store import load_detector as load_detector

HOMES = {
    "AssayError": "errors",
    "Config": "settings.config",
    "Detector": "detector.artefact",
    "ScoredFrame": "scoring.frames",
    "fit_frame": "scoring.frames",
    "infer_frame": "scoring.frames",
    "load_detector": "tracking.store",
    "read_config": "settings.file",
    "score_frame": "scoring.frames",
    "simulate": "simulation",
    "transform_frame": "scoring.frames",
    "with_settings": "settings.file",
    "write_config": "settings.file",
}
"""The file of each public name, within pipeline/."""

__all__ = list(HOMES)


if not TYPE_CHECKING:  # type checkers read the imports above, and find names that are not there

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *HOMES})
