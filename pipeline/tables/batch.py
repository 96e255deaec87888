"""A batch: a file or folder and the period asked of it, known by its content."""

import hashlib
import json

from pipeline.settings.contract import Contract
from pipeline.tables.period import Period


def batch_id(digest: str, period: Period, contract: Contract) -> str:
    """Return the name of a batch: a hash of its content, the period asked of it, and the contract.

    Parameters
    ----------
    digest : str
        Digest of the content, from ``Table.digest``.
    period : Period
    contract : Contract

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur")
    >>> whole = batch_id("ab12", Period(None, None), contract)
    >>> whole == batch_id("ab12", Period(None, None), contract)
    True
    >>> whole == batch_id("ab12", Period(datetime(2025, 1, 1), None), contract)
    False
    """
    parts = {
        "digest": digest,
        "period": [str(moment) for moment in (period.start, period.end)],
        "contract": contract.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
