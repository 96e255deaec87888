"""A simulated table: its rows in order of time, malformed ones among them, written at once."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.simulation.frauds import FRAUD_SHARES, FURTHER_SHARES, OWN, SCENARIOS, commit, join, plant
from pipeline.simulation.places import device_numbers, give_refunds, locate
from pipeline.simulation.world import CHANNELS, COUNTRIES, Frame, World, draw_transactions, draw_world

MALFORMED_SHARE = 0.003
"""Share of all rows that are malformed."""
MALFORMED = (
    "duplicate id",
    "missing timestamp",
    "timestamp in 1900",
    "timestamp in 2999",
    "missing customer",
    "negative amount",
    "NaN amount",
    "infinite amount",
    "amount 1e300",
)
"""The kinds of malformed row."""
MALFORMED_TEXT = ("text amount", "text timestamp")
"""Further kinds: text where a number or a time belongs, which only CSV can hold."""

_CHUNK = 65_536


@dataclass(frozen=True)
class Simulation:
    """A simulation: the table that `simulate` wrote, and what is known of its rows.

    Attributes
    ----------
    path : Path
    rows : int
        Rows of the table, malformed ones and duplicates included.
    customers, terminals : int
    first_day, last_day : date
        Both inclusive, UTC.
    frauds : dict of str to ndarray of int64
        Transaction ids of each fraud scenario, ascending; disjoint.
    malformed : dict of str to int
        Rows of each kind of malformed row.
    """

    path: Path
    rows: int
    customers: int
    terminals: int
    first_day: date
    last_day: date
    frauds: dict[str, np.ndarray] = field(repr=False)
    malformed: dict[str, int] = field(repr=False)

    @property
    def fraud_ids(self) -> np.ndarray:
        """Ids of all fraudulent transactions, ascending."""
        return np.sort(np.concatenate(list(self.frauds.values())))

    @property
    def scenarios(self) -> dict[str, int]:
        """Number of frauds of each scenario."""
        return {name: len(ids) for name, ids in self.frauds.items()}


def simulate(
    path: Path,
    *,
    rows: int = 200_000,
    days: int = 60,
    seed: int = 0,
    first_day: date = date(2025, 1, 1),
    malformed: bool = True,
    scenarios: Sequence[str] = tuple(FRAUD_SHARES),
    scenario_column: bool = False,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Simulation:
    """Write a table of card transactions with known fraud.

    Every customer has a spending level, a frequency, a home country, favourite terminals and a usual hour;
    a few travel. Amounts are log-normal around the customer's level, transactions follow the week. Fraud,
    about 0.75 % of the rows, comes in three scenarios:

    ``amount_above_habit``
        A single transaction of 4 to 20 times the customer's usual amount.
    ``compromised_terminal``
        A terminal is compromised for 3 to 20 days, in which most transactions on it are fraud and their
        amounts 1 to 3 times as high.
    ``leaked_credentials``
        3 to 8 further transactions of one customer within a night (0 to 5 o'clock): online, from another
        country, 1.5 to 6 times the usual amount.

    Further scenarios are there where `scenarios` names them:

    ``card_testing``
        Bursts of 8 to 25 tiny online payments within minutes.
    ``night_spending``
        One to three payments at 1 to 5 h of 1 to 3 times the usual amount.
    ``new_device``
        One to four ordinary online payments from a device that the customer never used.
    ``new_payee``
        One or two payments of 2.5 to 6 times the usual amount to a terminal that the customer never paid.
    ``impossible_travel``
        A payment by chip in another country, less than an hour after one at a terminal at home.
    ``account_takeover``
        Three to six growing online payments within an hour, from a new device, far from the usual hour.
    ``refund_fraud``
        Two to five refunds (negative amounts) of one customer by one terminal, larger than any purchase.
    ``collusion``
        Six to sixteen round amounts of one customer at one terminal within a week.

    With one of these, every row has ``DEVICE_ID``, ``LATITUDE`` and ``LONGITUDE``, some customers replace a device,
    and 2 % of the normal rows are refunds, so that no malformed row is a negative amount.

    Malformed rows (0.3 %, none in a table under 1,000 rows) are of the kinds in ``MALFORMED`` and, in CSV,
    ``MALFORMED_TEXT``; all of them come from normal rows, and a duplicate follows the row it repeats exactly.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.csv``; written at once, so never half a file. Its folder is made.
    rows : int
        Rows of the table, exactly.
    days : int
    seed : int
        Same arguments, same table.
    first_day : date
    malformed : bool
    scenarios : sequence of str
        Names of `pipeline.simulation.SCENARIOS`; the first three by default.
    scenario_column : bool
        Whether the table says how each row came to be a fraud, in ``TX_FRAUD_SCENARIO``. It gives the label away.
    on_rows : callable
        Called with the number of rows of each part written.

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        The suffix is another one, rows or days are below 1, or a scenario is none of them.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     simulation = simulate(Path(folder) / "tx.parquet", rows=2_000, days=5)
    >>> simulation.rows, simulation.scenarios
    (2000, {'amount_above_habit': 4, 'compromised_terminal': 5, 'leaked_credentials': 6})
    """
    path = Path(path)
    _check(path, rows, days, scenarios)
    rng = np.random.default_rng(seed)
    kinds = _kinds(path, scenarios) if malformed and rows >= 1000 else ()
    per_kind = max(1, round(rows * MALFORMED_SHARE / len(kinds))) if kinds else 0
    distinct = rows - per_kind
    world = draw_world(rng, rows=rows, days=days, first_day=first_day)
    shares = FRAUD_SHARES | FURTHER_SHARES
    numbers = {name: round(rows * shares[name]) for name in SCENARIOS if name in scenarios}
    frame, scenario = _draw(rng, world, distinct, numbers=numbers, seed=seed)

    order = np.argsort(frame["second"], kind="stable")
    frame = {name: column[order] for name, column in frame.items()}
    scenario = scenario[order]
    ids = np.arange(1, distinct + 1)
    table = _table(frame, ids, scenario, first_day=first_day)
    if scenario_column:
        names = np.array([None, *SCENARIOS], dtype=object)[scenario]
        table = table.append_column("TX_FRAUD_SCENARIO", pa.array(names, pa.string()))
    if kinds:
        places = rng.permutation(np.flatnonzero(scenario == 0))[: per_kind * len(kinds)]
        table = _spoil(table, dict(zip(kinds, places.reshape(len(kinds), per_kind), strict=True)))
    _write(table, path, on_rows)
    return Simulation(
        path=path,
        rows=table.num_rows,
        customers=len(world.customers.activity),
        terminals=len(world.terminals.kind),
        first_day=first_day,
        last_day=first_day + timedelta(days=days - 1),
        frauds={name: ids[scenario == 1 + SCENARIOS.index(name)] for name in numbers},
        malformed=dict.fromkeys(kinds, per_kind),
    )


def _draw(
    rng: np.random.Generator, world: World, number: int, *, numbers: dict[str, int], seed: int
) -> tuple[Frame, np.ndarray]:
    """Return so many rows in no order, and the scenario of each, as `commit` numbers them."""
    further = {name: rows for name, rows in numbers.items() if name in FURTHER_SHARES}
    ordinary = number - numbers.get("leaked_credentials", 0) - sum(further.values())
    frame, scenario = commit(rng, world, draw_transactions(rng, world, ordinary), numbers)
    if not further:
        return frame, scenario
    # Drawn apart, so that the rows of the first three are the same whatever further ones are there.
    apart = np.random.default_rng([seed, 1])
    give_refunds(apart, frame, scenario == 0)
    rows, of_rows = plant(apart, world, frame, further)
    frame = join([frame | {"device": np.full(len(scenario), OWN)}, *([rows] if rows else [])])
    device = device_numbers(apart, world, frame)
    return frame | {"device": device} | locate(apart, world, frame), np.append(scenario, of_rows)


def _kinds(path: Path, scenarios: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of malformed row that a table has."""
    kinds = MALFORMED + (MALFORMED_TEXT if path.suffix.lower() == ".csv" else ())
    is_further = any(name in FURTHER_SHARES for name in scenarios)
    return tuple(name for name in kinds if not (is_further and name == "negative amount"))


def _check(path: Path, rows: int, days: int, scenarios: Sequence[str]) -> None:
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise InputError(f"{path} ends in {suffix or 'nothing'!r}; name a .parquet or .csv file to simulate into")
    if rows < 1 or days < 1:
        raise InputError(f"rows is {rows} and days is {days}; both must be at least 1 to simulate transactions")
    for name in scenarios:
        if name not in SCENARIOS:
            near = difflib.get_close_matches(name, SCENARIOS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(SCENARIOS)}"
            raise InputError(f"{name!r} is no scenario of fraud; {hint}")


def _table(frame: Frame, ids: np.ndarray, scenario: np.ndarray, *, first_day: date) -> pa.Table:
    start = np.datetime64(first_day, "us")
    amount = np.round(frame["amount"], 2)
    amount = np.where(amount < 0, np.minimum(-0.5, amount), np.maximum(0.5, amount))
    further = {}
    if "device" in frame:
        further["DEVICE_ID"] = pa.array(frame["device"], pa.int64())
        further |= {name.upper(): pa.array(frame[name], pa.float64()) for name in ("latitude", "longitude")}
    return pa.table(
        {
            "TRANSACTION_ID": pa.array(ids, pa.int64()),
            "TX_DATETIME": pa.array(start + frame["second"].astype("timedelta64[s]"), pa.timestamp("us")),
            "CUSTOMER_ID": pa.array(frame["customer"], pa.int64()),
            "TERMINAL_ID": pa.array(frame["terminal"], pa.int64()),
            "TX_AMOUNT": pa.array(
                np.where(amount < 0, np.minimum(-0.5, amount), np.maximum(0.5, amount)), pa.float64()
            ),
            "CHANNEL": pa.array(CHANNELS[frame["channel"]], pa.string()),
            "COUNTRY": pa.array(COUNTRIES[frame["country"]], pa.string()),
            **further,
            "TX_FRAUD": pa.array((scenario > 0).astype(np.int8), pa.int8()),
        }
    )


def _spoil(table: pa.Table, places: dict[str, np.ndarray]) -> pa.Table:
    """Make the rows at these places malformed, by kind. The amount and the time become text where a kind is text."""
    amount = table["TX_AMOUNT"].to_numpy().copy()
    second = table["TX_DATETIME"].to_numpy().copy()
    if "negative amount" in places:
        amount[places["negative amount"]] *= -1
    amount[places["NaN amount"]] = np.nan
    amount[places["infinite amount"]] = np.inf
    amount[places["amount 1e300"]] = 1e300
    second[places["timestamp in 1900"]] = np.datetime64("1900-01-01", "us")
    second[places["timestamp in 2999"]] = np.datetime64("2999-12-31", "us")
    second[places["missing timestamp"]] = np.datetime64("NaT")
    customer = pa.array(table["CUSTOMER_ID"].to_numpy(), mask=_mask(len(amount), places["missing customer"]))
    amounts, times = pa.array(amount), pa.array(second, pa.timestamp("us"))
    if "text amount" in places:
        rows = len(amount)
        amounts = pc.if_else(pa.array(_mask(rows, places["text amount"])), "12 euros", amounts.cast(pa.string()))
        # The zeros after the second are cut off, as in most exports.
        text = pc.utf8_slice_codeunits(times.cast(pa.string()), 0, 19)
        times = pc.if_else(pa.array(_mask(rows, places["text timestamp"])), "yesterday", text)
    for name, column in (("TX_AMOUNT", amounts), ("TX_DATETIME", times), ("CUSTOMER_ID", customer)):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.take(np.sort(np.concatenate([np.arange(table.num_rows), places["duplicate id"]])))


def _mask(rows: int, places: np.ndarray) -> np.ndarray:
    mask = np.zeros(rows, dtype=bool)
    mask[places] = True
    return mask


def _write(table: pa.Table, path: Path, on_rows: Callable[[int], None]) -> None:
    """Write to a name beside ``path``, then rename, so that a reader never meets half a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    open_writer = pq.ParquetWriter if path.suffix.lower() == ".parquet" else pyarrow.csv.CSVWriter
    try:
        with open_writer(str(draft), table.schema) as writer:
            for chunk in table.combine_chunks().to_batches(max_chunksize=_CHUNK):
                writer.write_batch(chunk)
                on_rows(chunk.num_rows)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
