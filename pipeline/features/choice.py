"""Which families of features suit a table: what `assay init` writes, with the reasons."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract import Contract

LIKENESS = 0.1


def suggest_families(rows: pa.Table, contract: Contract) -> tuple[tuple[str, ...], str]:
    """Return the families of features that suit a table.

    Only what can show a fraud: whatever else most normal rows differ in dilutes a one-class score.

    - The amount, its logarithm, hour and weekday, and the contract's numeric and categorical columns.
    - Change against the own past, for entities whose rows have amounts alike (`likeness` of at least 0.1), else
      for the first one.
    - Risk from known labels, for every entity but the first, which is the one that is blocked once a fraud on
      it is known: its past frauds say nothing of the rows that still come. For the first where there is no other.

    Parameters
    ----------
    rows : pa.Table
        A sample, typed: the amount and the entities.
    contract : Contract

    Returns
    -------
    families : tuple of str
        For ``features.families``.
    reason : str
        One sentence.
    """
    families, reasons = ["amount", "calendar"], []
    if contract.numeric or contract.categorical:
        families.append("columns")
    shares = {entity: likeness(rows, entity, contract.amount) for entity in contract.entities}
    chosen = [entity for entity, share in shares.items() if share >= LIKENESS] or list(contract.entities[:1])
    for entity in chosen:
        families.append(f"change:{entity}")
        reasons.append(f"{shares[entity]:.0%} of the variance of amounts lies between one {entity} and another")
    if contract.label is not None:
        for entity in contract.entities[1:] or contract.entities:
            families.append(f"risk:{entity}")
            reasons.append(f"known frauds of a {entity} may be followed by others")
    return tuple(families), "; ".join(reasons) or "without entities there is no past to look at"


def likeness(rows: pa.Table, entity: str, amount: str) -> float:
    """Return which share of the variance of log amounts lies between entities: the intraclass correlation.

    The one-way analysis-of-variance estimate: Fisher, "Statistical Methods for Research Workers" (1925),
    chapter 7, with Snedecor's mean group size for groups of different sizes.

    Returns
    -------
    float
        In 0 to 1; 0 where no entity comes twice, or amounts never vary.

    Examples
    --------
    >>> rows = pa.table({"card": ["a", "a", "b", "b"], "eur": [9.0, 9.0, 70.0, 70.0]})
    >>> likeness(rows, "card", "eur")
    1.0
    """
    known = rows.filter(pc.and_(pc.is_valid(rows[entity]), pc.fill_null(pc.is_finite(rows[amount]), False)))
    amounts = known[amount].to_numpy()
    logs = np.sign(amounts) * np.log1p(np.abs(amounts))
    keys = known[entity].combine_chunks().dictionary_encode().indices.to_numpy()
    sizes = np.bincount(keys) if len(keys) else np.zeros(0, dtype=np.int64)
    groups, total = len(sizes), len(keys)
    if groups < 2 or total == groups:
        return 0.0
    means = np.bincount(keys, logs) / sizes
    between = float((sizes * (means - logs.mean()) ** 2).sum() / (groups - 1))
    within = float(((logs - means[keys]) ** 2).sum() / (total - groups))
    size = (total - (sizes**2).sum() / total) / (groups - 1)
    spread = between + (size - 1) * within
    return max(0.0, float((between - within) / spread)) if spread > 0 else 0.0
