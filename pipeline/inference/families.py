"""Which families of features suit a table: what `assay init` writes, with the reasons."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.numbers import percent
from pipeline.settings.config import FAMILIES
from pipeline.settings.contract import Contract
from pipeline.tables.period import DAY_US

LIKENESS = 0.1
"""Least share of the variance of log amounts between entities, for a change against one's own past to say much."""
REGULARITY = 0.25
"""Least share of the clock's variance that who it is, and what everybody does, settle, for an hour to be unusual."""


def suggest_families(rows: pa.Table, contract: Contract) -> tuple[tuple[str, ...], str]:
    """Return the families of features that suit a table.

    Only what can show a fraud: whatever else most normal rows differ in dilutes a one-class score.

    - The amount, its logarithm, and the contract's numeric and categorical columns.
    - The distances between the row's places, where it has more than one.
    - Change against the own past, and the recent days against it, for entities whose rows have amounts alike
      (`likeness` of at least 0.1), else for the first one.
    - The hour against the usual one of the entity that keeps its hours best, where one does (`regularity` of at least
      0.25, such as hours that scatter by four and a half around their mean); without entities, hour and weekday.
    - Risk from known labels, for every entity but the first, which is the one that is blocked once a fraud on
      it is known: its past frauds say nothing of the rows that still come. For the first where there is no other.

    Parameters
    ----------
    rows : pa.Table
        A sample, typed: the amount, the timestamp and the entities.
    contract : Contract

    Returns
    -------
    families : tuple of str
        For ``features.families``.
    reason : str
        One sentence.
    """
    families, reasons = ["amount"], []
    if not contract.entities:
        families.append("calendar")
    if contract.numeric or contract.categorical:
        families.append("columns")
    if len(contract.places) > 1:
        families.append("distance")
    shares = {entity: likeness(rows, entity, contract.amount) for entity in contract.entities}
    entities = [entity for entity, share in shares.items() if share >= LIKENESS]
    reasons += [
        f"{percent(shares[entity])} of the variance of amounts lies between one {entity} and another"
        for entity in entities
    ]
    if contract.entities and not entities:
        entities = list(contract.entities[:1])
        reasons.append(f"no entity has amounts alike, so that {entities[0]} is taken for being the first")
    families += [f"{family}:{entity}" for entity in entities for family in ("change", "recent")]
    hours = {entity: regularity(rows, entity, contract.timestamp) for entity in contract.entities}
    steady = max(hours, key=hours.__getitem__, default=None)
    if steady is not None and hours[steady] >= REGULARITY and _has_times(rows[contract.timestamp]):
        families.append(f"hours:{steady}")
        reasons.append(f"{steady} settles {percent(hours[steady])} of the variance of the time of day")
    if contract.label is not None:
        for entity in contract.entities[1:] or contract.entities:
            families.append(f"risk:{entity}")
            reasons.append(f"known frauds of a {entity} may be followed by others")
    return tuple(families), "; ".join(reasons) or "without entities there is no past to look at"


def every_family(rows: pa.Table, contract: Contract) -> tuple[str, ...]:
    """Return the families that hold anything of a table, for a model that can tell what says something from the rest.

    All but the aggregates of `activity`, which are levels, and those that measure what another does: `robust`, `rank`.

    Parameters
    ----------
    rows : pa.Table
        A sample, typed.
    contract : Contract
        With entities.
    """
    has_times, others = _has_times(rows[contract.timestamp]), len(contract.entities) > 1 or contract.categorical
    wanted = {
        "calendar": has_times,
        "columns": contract.numeric or contract.categorical,
        "distance": len(contract.places) > 1,
        "peers": contract.categorical,
        "travel": contract.places,
        "rhythm": has_times,
        "hours": has_times,
        "seen": others,
        "risk": contract.label is not None,
        **dict.fromkeys(("activity", "robust", "rank"), False),
    }
    return tuple(family for family in FAMILIES if wanted.get(family, True))


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
    rows = rows.filter(pc.and_(pc.is_valid(rows[entity]), pc.fill_null(pc.is_finite(rows[amount]), fill_value=False)))
    amounts = rows[amount].to_numpy()
    logs = np.sign(amounts) * np.log1p(np.abs(amounts))
    sizes, between, within = _variances(rows[entity], logs)
    if not len(sizes):
        return 0.0
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    spread = between + (size - 1) * within
    return max(0.0, float((between - within) / spread)) if spread > 0 else 0.0


def regularity(rows: pa.Table, entity: str, timestamp: str) -> float:
    """Return which share of the variance of the time of day is settled by the entity: one less that within entities.

    Of the hand on a clock of 24 hours, which has variance 1 - R^2 where R is its mean resultant length (Mardia and
    Jupp, "Directional Statistics" (2000), section 2.3): 0 for transactions at any hour, 1 for always the same one.

    Examples
    --------
    >>> moments = pa.array([0, 86_400_000_000, 43_200_000_000, 129_600_000_000], pa.timestamp("us"))
    >>> regularity(pa.table({"card": ["a", "a", "b", "b"], "at": moments}), "card", "at")
    1.0
    """
    rows = rows.filter(pc.and_(pc.is_valid(rows[entity]), pc.is_valid(rows[timestamp])))
    moments = rows[timestamp].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    sizes, _, within = _variances(rows[entity], np.exp(2j * np.pi * (moments % DAY_US) / DAY_US))
    return max(0.0, 1 - within) if len(sizes) else 0.0


def _has_times(moments: pa.ChunkedArray) -> bool:
    """Return whether there is a time of day: days alone are midnight of a zone, which summer time moves."""
    return len(np.unique(moments.drop_null().cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() % DAY_US)) > 2


def _variances(entities: pa.ChunkedArray, values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the sizes of the groups, and the mean squares between and within them; no sizes where none has two."""
    keys = entities.combine_chunks().dictionary_encode().indices.to_numpy()
    sizes = np.bincount(keys) if len(keys) else np.zeros(0, dtype=np.int64)
    groups, total = len(sizes), len(keys)
    if groups < 2 or total == groups:
        return np.zeros(0), 0.0, 0.0
    means = np.bincount(keys, values.real) / sizes + 1j * np.bincount(keys, values.imag) / sizes
    between = float((sizes * np.abs(means - values.mean()) ** 2).sum() / (groups - 1))
    within = float((np.abs(values - means[keys]) ** 2).sum() / (total - groups))
    return sizes, between, within
