"""Columns that give the label away: filled in once fraud is known, such as a case number or a scenario."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TrainingError
from pipeline.numbers import percent
from pipeline.settings.config import Config
from pipeline.settings.contract import Contract
from pipeline.tables.parquet import read_batches

EXPLAINED_SHARE = 0.7
"""Share of the label's entropy that a column may explain on rows held out."""
_ROWS = 200_000
_CELLS = 10_000_000  # a wide table is judged on fewer rows
_MIN_FRAUDS = 10  # fewer frauds on either side of the split are no ground to judge on
_LEAVES = 16  # ranges of a number's values


def giveaways(rows: pa.Table, contract: Contract) -> dict[str, str]:
    """Return the input columns that nearly determine the label, each with the reason in one sentence.

    A column is judged alone. One half of the rows teaches how often each of its values, or each range of
    values cut by a small decision tree, is fraud; on the other half, the log loss of that says how many of
    the label's bits the column explains (the uncertainty coefficient, mutual information over entropy, of
    rows held out). A strong legitimate feature explains well under a half; at 70 % and above, the column is
    taken to be written after the fact. An entity's values are split between the halves, so that an entity
    is not accused of frauds that merely come in series; it trips only on what carries over to other values,
    such as being filled at all.

    Parameters
    ----------
    rows : pyarrow.Table
        Typed rows of a period; at most 200,000 of them, drawn at random with a fixed seed, are looked at.
    contract : Contract

    Returns
    -------
    dict
        Empty without a label, or with fewer than 10 frauds or 10 others in either half.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", label="fraud", numeric=("case",))
    >>> fraud = [i % 5 == 0 for i in range(1000)]
    >>> rows = pa.table({"eur": [1.0] * 1000, "case": [float(f) for f in fraud], "fraud": fraud})
    >>> list(giveaways(rows, contract))
    ['case']
    """
    if contract.label is None or contract.label not in rows.schema.names:
        return {}
    columns = [*contract.numbers, *contract.entities, *contract.categorical]
    columns = [name for name in columns if name in rows.schema.names]
    rows = rows.select([contract.label, *columns]).filter(pc.is_valid(rows[contract.label]))
    random = np.random.default_rng(0)
    limit = min(_ROWS, max(10_000, _CELLS // (len(columns) + 1)))
    if rows.num_rows > limit:
        rows = rows.take(np.sort(random.choice(rows.num_rows, limit, replace=False)))
    label = rows[contract.label].cast(pa.int8()).to_numpy().astype(bool)
    by_row = random.random(len(label)) < 0.5
    reasons = {}
    for name in columns:
        column = rows[name].combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        learns = _split_values(column, random) if name in contract.entities else by_row
        measures = _judge(column, label, learns)
        if measures is not None:
            reasons[name] = (
                f"{name!r} alone tells {percent(measures[0])} of what there is to know about {contract.label!r} "
                f"(AUROC {measures[1]:.3f} on rows held out; at {percent(EXPLAINED_SHARE)} and above a column counts "
                f"as written after the fact)"
            )
    return reasons


def _split_values(column: pa.Array, random: np.random.Generator) -> np.ndarray:
    """Return a bool array (n_rows,): rows of one value on the same side, rows without a value on both."""
    codes = column.dictionary_encode().indices.fill_null(-1).to_numpy()
    side = random.random(codes.max(initial=-1) + 1) < 0.5
    return np.where(codes < 0, random.random(len(codes)) < 0.5, side[codes] if len(side) else False)


def _judge(column: pa.Array, label: np.ndarray, learns: np.ndarray) -> tuple[float, float] | None:
    """Return the share of the label's entropy explained, and the AUROC, both on the rows held out.

    None where the share is below the limit, or cannot be judged.
    """
    held_out = ~learns
    sides = (label[learns].sum(), (~label[learns]).sum(), label[held_out].sum(), (~label[held_out]).sum())
    if min(sides) < _MIN_FRAUDS:
        return None
    codes = _codes(column, label, learns)
    n_codes = codes.max() + 1
    base = label[learns].mean()
    counts = np.bincount(codes[learns], minlength=n_codes)
    frauds = np.bincount(codes[learns & label], minlength=n_codes)
    # One row's weight of the base rate keeps a value seen once from being trusted blindly.
    rate = ((frauds + base) / (counts + 1))[codes[held_out]]
    truth = label[held_out]
    share = 1 - _log_loss(truth, rate) / _log_loss(truth, np.full(len(truth), truth.mean()))
    if share < EXPLAINED_SHARE:
        return None
    from sklearn.metrics import roc_auc_score

    return share, float(roc_auc_score(truth, rate))


def _log_loss(truth: np.ndarray, rate: np.ndarray) -> float:
    return float(-np.log(np.where(truth, rate, 1 - rate)).mean())


def _codes(column: pa.Array, label: np.ndarray, learns: np.ndarray) -> np.ndarray:
    """Return a code (int64, 0 up) for each row: its value, or the range that a number lies in."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number:
        return column.dictionary_encode().indices.fill_null(-1).to_numpy() + 1
    from sklearn.tree import DecisionTreeClassifier

    number = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    # Ranks: the tree works in float32, which would blur long numbers; missing values are the last rank.
    rank = np.unique(number, return_inverse=True)[1].reshape(-1, 1).astype(np.float32)
    tree = DecisionTreeClassifier(criterion="entropy", max_leaf_nodes=_LEAVES, min_samples_leaf=5, random_state=0)
    return tree.fit(rank[learns], label[learns]).apply(rank)


def refuse_giveaways(accepted: Path, config: Config) -> None:
    """Refuse to train on input columns that nearly give the label away, unless the configuration allows them.

    Parameters
    ----------
    accepted : Path
        Parquet file of accepted rows; its first rows are looked at.
    config : Config

    Raises
    ------
    TrainingError
        Naming the column, why, and the two ways out.
    """
    sample = next(read_batches(accepted, rows=_ROWS), None)
    if sample is None:
        return
    for column, reason in giveaways(pa.Table.from_batches([sample]), config.contract).items():
        if column not in config.training.allow_giveaway:
            raise TrainingError(
                f"{column} nearly gives the label away: {reason.rstrip('.')}; {_way_out(column, config)}"
            )


def _way_out(column: str, config: Config) -> str:
    """Return what to do about a column that gives the label away; the amount is part of every contract."""
    known = "into training.allow_giveaway if it is known at the time of the transaction"
    if column == config.contract.amount:
        return f"name another column as amount in the contract, or put this one {known}"
    return f"put it into ignored in the contract, or {known}"
