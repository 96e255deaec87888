"""A simulator of card transactions with known fraud, for the demo and the tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import InputError

FRAUD_SHARES = {"amount_above_habit": 0.002, "compromised_terminal": 0.0025, "leaked_credentials": 0.003}
"""Share of all rows that each scenario makes fraudulent (0.75 % together)."""
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

COUNTRIES = np.array(["DE", "FR", "NL", "ES", "IT", "BE", "AT", "PL", "GB", "US"])
_HOME_SHARES = np.array([0.34, 0.18, 0.12, 0.09, 0.08, 0.06, 0.05, 0.04, 0.03, 0.01])
CHANNELS = np.array(["chip", "contactless", "online", "atm"])
_CHIP, _CONTACTLESS, _ONLINE, _ATM = range(4)
_WEEKDAYS = np.array([0.92, 0.93, 0.96, 1.02, 1.20, 1.25, 0.72])  # Monday first
_DAY = 86_400
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


@dataclass(frozen=True)
class _Customers:
    activity: np.ndarray  # share of all transactions
    spending: np.ndarray  # mean of the logarithm of the amount
    spread: np.ndarray  # its standard deviation
    hour: np.ndarray  # usual hour of day
    home: np.ndarray  # index into COUNTRIES
    trip_country: np.ndarray
    trip_start: np.ndarray  # day; -1 for the customers who stay at home
    trip_end: np.ndarray
    favourites: np.ndarray  # (n, 6) terminals, most visited first


@dataclass(frozen=True)
class _Terminals:
    """Terminals in order of country, so that those of one country are a slice."""

    kind: np.ndarray  # _CHIP (a shop, which takes contactless cards too), _ONLINE or _ATM
    first: np.ndarray  # (countries,) first terminal of each
    number: np.ndarray  # (countries,) terminals of each

    def draw(self, rng: np.random.Generator, country: np.ndarray) -> np.ndarray:
        """Draw a terminal in each of the countries."""
        return self.first[country] + (rng.random(country.shape) * self.number[country]).astype(np.int64)


def simulate(
    path: Path,
    *,
    rows: int = 200_000,
    days: int = 60,
    seed: int = 0,
    first_day: date = date(2025, 1, 1),
    malformed: bool = True,
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
    on_rows : callable
        Called with the number of rows of each part written.

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        The suffix is another one, or rows or days are below 1.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     simulation = simulate(Path(folder) / "tx.parquet", rows=2_000, days=5)
    >>> simulation.rows, simulation.scenarios
    (2000, {'amount_above_habit': 4, 'compromised_terminal': 5, 'leaked_credentials': 6})
    """
    path = Path(path)
    _check(path, rows, days)
    rng = np.random.default_rng(seed)
    is_csv = path.suffix.lower() == ".csv"
    kinds = (MALFORMED + (MALFORMED_TEXT if is_csv else ())) if malformed and rows >= 1000 else ()
    per_kind = max(1, round(rows * MALFORMED_SHARE / len(kinds))) if kinds else 0
    distinct = rows - (per_kind if kinds else 0)
    terminals = _terminals(rng, number=max(len(COUNTRIES) * 3, rows // (days * 3)))
    customers = _customers(rng, terminals, number=max(1, round(rows / (days * 0.9))), days=days)

    number = round(rows * FRAUD_SHARES["leaked_credentials"])
    frame = _normal(rng, customers, terminals, number=distinct - number, days=days, first_day=first_day)
    scenario = np.zeros(distinct, dtype=np.int8)  # 0: normal, else 1 + index into FRAUD_SHARES
    _raise_amounts(rng, frame, scenario, customers=customers, number=round(rows * FRAUD_SHARES["amount_above_habit"]))
    _compromise_terminals(rng, frame, scenario, days=days, number=round(rows * FRAUD_SHARES["compromised_terminal"]))
    bursts = _leak_credentials(rng, customers, terminals, number=number, days=days)
    frame = {name: np.concatenate([frame[name], bursts[name]]) for name in frame}
    scenario[distinct - number :] = 3

    order = np.argsort(frame["second"], kind="stable")
    frame = {name: column[order] for name, column in frame.items()}
    scenario = scenario[order]
    ids = np.arange(1, distinct + 1)
    table = _table(frame, ids, scenario > 0, first_day)
    if kinds:
        places = rng.permutation(np.flatnonzero(scenario == 0))[: per_kind * len(kinds)]
        table = _spoil(table, dict(zip(kinds, places.reshape(len(kinds), per_kind), strict=True)))
    _write(table, path, on_rows)
    return Simulation(
        path=path,
        rows=table.num_rows,
        customers=len(customers.activity),
        terminals=len(terminals.kind),
        first_day=first_day,
        last_day=first_day + timedelta(days=days - 1),
        frauds={name: ids[scenario == i] for i, name in enumerate(FRAUD_SHARES, start=1)},
        malformed=dict.fromkeys(kinds, per_kind),
    )


def _check(path: Path, rows: int, days: int) -> None:
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise InputError(f"{path} ends in {suffix or 'nothing'!r}; name a .parquet or .csv file to simulate into")
    if rows < 1 or days < 1:
        raise InputError(f"rows is {rows} and days is {days}; both must be at least 1 to simulate transactions")


def _terminals(rng: np.random.Generator, number: int) -> _Terminals:
    country = np.concatenate(
        [np.arange(len(COUNTRIES)), rng.choice(len(COUNTRIES), number - len(COUNTRIES), p=_HOME_SHARES)]
    )
    counts = np.bincount(country, minlength=len(COUNTRIES))
    return _Terminals(
        kind=rng.choice([_CHIP, _ONLINE, _ATM], number, p=[0.62, 0.3, 0.08]),
        first=np.cumsum(counts) - counts,
        number=counts,
    )


def _customers(rng: np.random.Generator, terminals: _Terminals, number: int, days: int) -> _Customers:
    activity = rng.gamma(2.0, 1.0, number) + 0.1
    home = rng.choice(len(COUNTRIES), number, p=_HOME_SHARES)
    start = np.where(rng.random(number) < 0.06, rng.integers(0, days, number), -1)
    return _Customers(
        activity=activity / activity.sum(),
        spending=rng.normal(np.log(32.0), 0.55, number),
        spread=rng.uniform(0.35, 0.6, number),
        hour=rng.normal(14.5, 2.8, number).clip(8, 21),
        home=home,
        trip_country=(home + rng.integers(1, len(COUNTRIES), number)) % len(COUNTRIES),
        trip_start=start,
        trip_end=start + rng.integers(3, 12, number),
        favourites=terminals.draw(rng, np.repeat(home[:, None], 6, axis=1)),
    )


def _normal(
    rng: np.random.Generator,
    customers: _Customers,
    terminals: _Terminals,
    *,
    number: int,
    days: int,
    first_day: date,
) -> dict[str, np.ndarray]:
    """Return what customers do on their own: (number,) arrays, in no order."""
    customer = rng.choice(len(customers.activity), number, p=customers.activity)
    week = _WEEKDAYS[(first_day.weekday() + np.arange(days)) % 7]
    day = rng.choice(days, number, p=week / week.sum())
    hour = rng.normal(customers.hour[customer], 2.4)
    hour = np.where(rng.random(number) < 0.04, rng.uniform(6, 24, number), hour)  # now and then at any time
    second = day * _DAY + ((hour * 3600) % _DAY).astype(np.int64)

    on_trip = (day >= customers.trip_start[customer]) & (day < customers.trip_end[customer])
    on_trip &= customers.trip_start[customer] >= 0
    country = np.where(on_trip, customers.trip_country[customer], customers.home[customer])
    favourite = customers.favourites[customer, np.minimum(rng.geometric(0.35, number) - 1, 5)]
    elsewhere = on_trip | (rng.random(number) < 0.12)
    terminal = np.where(elsewhere, terminals.draw(rng, country), favourite)
    kind = terminals.kind[terminal]
    # Shops on the net sell across borders; their country is the one that the table names.
    abroad = (kind == _ONLINE) & (rng.random(number) < 0.02)
    country = np.where(abroad, rng.choice(len(COUNTRIES), number, p=_HOME_SHARES), country)

    level = customers.spending[customer] + np.where(kind == _ONLINE, 0.25, np.where(kind == _ATM, 0.8, 0.0))
    amount = np.exp(rng.normal(level, customers.spread[customer]))
    amount = np.where(kind == _ATM, np.maximum(10, np.round(amount, -1)), amount)
    contactless = (kind == _CHIP) & (amount < 50) & (rng.random(number) < 0.75)
    return {
        "second": second,
        "customer": customer,
        "terminal": terminal,
        "amount": amount,
        "channel": np.where(contactless, _CONTACTLESS, kind),
        "country": country,
    }


def _raise_amounts(
    rng: np.random.Generator,
    frame: dict[str, np.ndarray],
    scenario: np.ndarray,
    *,
    customers: _Customers,
    number: int,
) -> None:
    """Make scenario 1: amounts far above the customer's habit."""
    rows = rng.choice(len(frame["amount"]), number, replace=False)
    habit = np.exp(customers.spending[frame["customer"][rows]])
    frame["amount"][rows] = habit * rng.uniform(4, 20, number)
    # No shop takes that much contactless.
    frame["channel"][rows] = np.where(frame["channel"][rows] == _CONTACTLESS, _CHIP, frame["channel"][rows])
    scenario[rows] = 1


def _compromise_terminals(
    rng: np.random.Generator, frame: dict[str, np.ndarray], scenario: np.ndarray, *, days: int, number: int
) -> None:
    """Make scenario 2: most of what happens on a terminal during some days, until ``number`` rows are reached."""
    terminals = int(frame["terminal"].max(initial=0)) + 1
    length = rng.integers(3, 21, terminals)
    start = rng.integers(1 - length, days)  # some are compromised before the table begins
    day = frame["second"] // _DAY
    is_fraud = (day >= start[frame["terminal"]]) & (day < (start + length)[frame["terminal"]])
    is_fraud &= (scenario[: len(day)] == 0) & (rng.random(len(day)) < 0.85)
    turn = rng.permutation(terminals)  # terminals are compromised in this order
    candidates = np.flatnonzero(is_fraud)
    rows = candidates[np.argsort(turn[frame["terminal"][candidates]], kind="stable")][:number]
    frame["amount"][rows] *= rng.uniform(1, 3, len(rows))
    scenario[rows] = 2


def _leak_credentials(
    rng: np.random.Generator, customers: _Customers, terminals: _Terminals, *, number: int, days: int
) -> dict[str, np.ndarray]:
    """Return scenario 3: bursts of ``number`` further transactions in all."""
    sizes = rng.integers(3, 9, number)
    burst = np.repeat(np.arange(number), sizes)[:number]  # which burst each row belongs to
    victim = rng.integers(0, len(customers.activity), number)
    night = rng.integers(0, days, number) * _DAY + rng.integers(0, 3 * 3600, number)
    country = (customers.home[victim] + rng.integers(1, len(COUNTRIES), number)) % len(COUNTRIES)
    customer = victim[burst]
    online = np.flatnonzero(terminals.kind == _ONLINE)
    shop = rng.choice(online if online.size else np.arange(len(terminals.kind)), number)
    return {
        "second": night[burst] + rng.integers(0, 2 * 3600, number),
        "customer": customer,
        "terminal": shop,
        "amount": np.exp(rng.normal(customers.spending[customer], 0.2)) * rng.uniform(1.5, 6, number),
        "channel": np.full(number, _ONLINE),
        "country": country[burst],
    }


def _table(frame: dict[str, np.ndarray], ids: np.ndarray, is_fraud: np.ndarray, first_day: date) -> pa.Table:
    start = np.datetime64(first_day, "us")
    return pa.table(
        {
            "TRANSACTION_ID": pa.array(ids, pa.int64()),
            "TX_DATETIME": pa.array(start + frame["second"].astype("timedelta64[s]"), pa.timestamp("us")),
            "CUSTOMER_ID": pa.array(frame["customer"], pa.int64()),
            "TERMINAL_ID": pa.array(frame["terminal"], pa.int64()),
            "TX_AMOUNT": pa.array(np.maximum(0.5, np.round(frame["amount"], 2)), pa.float64()),
            "CHANNEL": pa.array(CHANNELS[frame["channel"]], pa.string()),
            "COUNTRY": pa.array(COUNTRIES[frame["country"]], pa.string()),
            "TX_FRAUD": pa.array(is_fraud.astype(np.int8), pa.int8()),
        }
    )


def _spoil(table: pa.Table, places: dict[str, np.ndarray]) -> pa.Table:
    """Make the rows at these places malformed, by kind. The amount and the time become text where a kind is text."""
    amount = table["TX_AMOUNT"].to_numpy().copy()
    second = table["TX_DATETIME"].to_numpy().copy()
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
