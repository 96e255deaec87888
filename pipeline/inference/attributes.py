"""Which columns are facts of an entity and say nothing of a single transaction."""

import numpy as np
import pyarrow as pa

LEAST_ENTITIES = 20
"""With fewer entities that come more than once, a column may be the same for each of them by chance."""


def is_attribute(values: pa.Array, entities: pa.Array) -> bool:
    """Return whether each entity has one value over all of its rows, while entities differ.

    Such as the state or the birthday of a customer: how it differs from others' says nothing of what the customer
    does, and one exception, a stranger's address, makes it a column of the transaction.

    Parameters
    ----------
    values : pyarrow.Array of shape (n_rows,)
        Of any type; none is a value, too.
    entities : pyarrow.Array of shape (n_rows,)
        Rows without an entity are not looked at.

    Examples
    --------
    >>> cards = pa.array([number % 30 for number in range(90)])
    >>> homes = pa.array([f"town {number % 30 % 7}" for number in range(90)])
    >>> is_attribute(homes, cards), is_attribute(pa.array(["web", "shop", "web"] * 30), pa.array(range(90)))
    (True, False)
    """
    known = entities.is_valid()
    keys, facts = (_numbers(column.filter(known)) for column in (entities, values))
    if not len(keys):
        return False
    rows = np.bincount(keys)
    if np.sum(rows > 1) < LEAST_ENTITIES or len(np.unique(facts[rows[keys] > 1])) < 2:
        return False
    pairs = np.unique(keys.astype(np.int64) * (facts.max() + 1) + facts)
    return len(pairs) == len(rows)


def _numbers(column: pa.Array) -> np.ndarray:
    indices = column.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(zero_copy_only=False)).astype(np.int64)
