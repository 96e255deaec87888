"""The control totals that come with a delivery, in a JSON file beside it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError


@dataclass(frozen=True)
class Totals:
    """What a manifest says of a delivery.

    Attributes
    ----------
    rows : int or None
    amount : float or None
        The sum of all amounts; None where the manifest does not say.
    """

    rows: int | None
    amount: float | None


def beside(path: Path, ending: str) -> Path | None:
    """Return the file beside a delivery that has its name, or its name without its ending, and another ending.

    Parameters
    ----------
    path : Path
    ending : str
        Such as ".done": of ``day.csv`` it is ``day.csv.done`` or ``day.done``.

    Returns
    -------
    Path or None
        None where neither is there.
    """
    return next((path.parent / name for name in names_beside(path, ending) if (path.parent / name).is_file()), None)


def names_beside(path: Path, ending: str) -> tuple[str, ...]:
    """Return what a file beside a delivery may be called.

    Examples
    --------
    >>> names_beside(Path("day.csv"), ".done"), names_beside(Path("day"), ".done")
    (('day.csv.done', 'day.done'), ('day.done',))
    """
    return tuple(dict.fromkeys((f"{path.name}{ending}", f"{path.stem}{ending}")))


def read_totals(path: Path) -> Totals:
    """Return what a manifest says.

    Raises
    ------
    InputError
        When it is no JSON object with ``rows``, ``amount`` or both.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     manifest = Path(folder) / "day.json"
    ...     _ = manifest.write_text('{"rows": 1204, "amount": "5678.90"}')
    ...     read_totals(manifest)
    Totals(rows=1204, amount=5678.9)
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        rows, amount = raw.get("rows"), raw.get("amount")
        totals = Totals(None if rows is None else int(rows), None if amount is None else float(amount))
    except (OSError, ValueError, TypeError, AttributeError):
        totals = Totals(None, None)
    if totals == Totals(None, None) or not math.isfinite(totals.amount or 0):
        raise InputError(f'{path} has no control totals; write them as {{"rows": 1204, "amount": 5678.90}}')
    return totals
