"""The frauds of a simulation: rows that are changed, and attacks that add rows, by scenario."""

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.simulation.world import ATM, CHIP, CONTACTLESS, COUNTRIES, ONLINE, SECONDS, Frame, World, is_contactless

FRAUD_SHARES = {"amount_above_habit": 0.002, "compromised_terminal": 0.0025, "leaked_credentials": 0.003}
"""Share of all rows that each scenario makes fraudulent (0.75 % together) where none is named."""
FURTHER_SHARES = {
    "card_testing": 0.003,
    "night_spending": 0.002,
    "new_device": 0.001,
    "new_payee": 0.0015,
    "impossible_travel": 0.001,
    "account_takeover": 0.002,
    "refund_fraud": 0.001,
    "collusion": 0.002,
}
"""Share of all rows of each further scenario, where it is named."""
SCENARIOS = (*FRAUD_SHARES, *FURTHER_SHARES)
"""Every scenario, in the order in which rows are numbered by them."""
OWN = -1
"""In place of a device: one that the customer had before."""


def commit(
    rng: np.random.Generator, world: World, frame: Frame, numbers: Mapping[str, int]
) -> tuple[Frame, np.ndarray]:
    """Commit frauds of the three first scenarios.

    Parameters
    ----------
    rng : numpy.random.Generator
    world : World
    frame : Frame
        What customers do on their own; amounts and channels are changed.
    numbers : mapping of str to int
        Rows of each scenario.

    Returns
    -------
    frame : Frame
        With the rows of attacks behind the others.
    scenario : ndarray of int8, shape (n_rows,)
        0 for normal rows, else 1 and the place in `SCENARIOS`.
    """
    scenario = np.zeros(len(frame["amount"]), dtype=np.int8)
    _raise_amounts(rng, world, frame, scenario=scenario, number=numbers.get("amount_above_habit", 0))
    _compromise_terminals(rng, world, frame, scenario=scenario, number=numbers.get("compromised_terminal", 0))
    bursts = _leak_credentials(rng, world, numbers.get("leaked_credentials", 0))
    return join([frame, bursts]), np.append(scenario, np.full(len(bursts["amount"]), 3, dtype=np.int8))


def plant(rng: np.random.Generator, world: World, frame: Frame, numbers: Mapping[str, int]) -> tuple[Frame, np.ndarray]:
    """Return the rows of attacks of the further scenarios, and the scenario of each, as `commit` numbers them.

    They have a further column: "device", which attacker's device it is, or `OWN`.
    """
    frames: list[Frame] = []
    scenarios, devices = [np.empty(0, dtype=np.int8)], 0
    for name, rows_of in ATTACKS.items():
        number = numbers.get(name, 0)
        if number:
            rows = rows_of(rng, world, frame, number)
            rows["second"] = rows["second"].clip(0, world.days * SECONDS - 1)
            rows["device"] = np.where(rows["device"] == OWN, OWN, rows["device"] + devices)
            devices = max(devices, int(rows["device"].max()) + 1)
            frames.append(rows)
            scenarios.append(np.full(number, 1 + SCENARIOS.index(name), dtype=np.int8))
    return join(frames), np.concatenate(scenarios)


def join(frames: list[Frame]) -> Frame:
    """Return the rows of several frames, one behind the other."""
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]} if frames else {}


def _raise_amounts(rng: np.random.Generator, world: World, frame: Frame, *, scenario: np.ndarray, number: int) -> None:
    """Make scenario 1: amounts far above the customer's habit."""
    rows = rng.choice(len(frame["amount"]), number, replace=False)
    frame["amount"][rows] = world.habit(frame["customer"][rows]) * rng.uniform(4, 20, number)
    # No shop takes that much contactless.
    frame["channel"][rows] = np.where(frame["channel"][rows] == CONTACTLESS, CHIP, frame["channel"][rows])
    scenario[rows] = 1


def _compromise_terminals(
    rng: np.random.Generator, world: World, frame: Frame, *, scenario: np.ndarray, number: int
) -> None:
    """Make scenario 2: most of what happens on a terminal during some days, until ``number`` rows are reached."""
    terminals = int(frame["terminal"].max(initial=0)) + 1
    length = rng.integers(3, 21, terminals)
    start = rng.integers(1 - length, world.days)  # some are compromised before the table begins
    day = frame["second"] // SECONDS
    is_fraud = (day >= start[frame["terminal"]]) & (day < (start + length)[frame["terminal"]])
    is_fraud &= (scenario == 0) & (rng.random(len(day)) < 0.85)
    turn = rng.permutation(terminals)  # terminals are compromised in this order
    candidates = np.flatnonzero(is_fraud)
    rows = candidates[np.argsort(turn[frame["terminal"][candidates]], kind="stable")][:number]
    frame["amount"][rows] *= rng.uniform(1, 3, len(rows))
    scenario[rows] = 2


def _leak_credentials(rng: np.random.Generator, world: World, number: int) -> Frame:
    """Return scenario 3: bursts of ``number`` further transactions in all."""
    customers = world.customers
    sizes = rng.integers(3, 9, number)
    burst = np.repeat(np.arange(number), sizes)[:number]  # which burst each row belongs to
    victim = rng.integers(0, len(customers.activity), number)
    night = rng.integers(0, world.days, number) * SECONDS + rng.integers(0, 3 * 3600, number)
    country = world.abroad(rng, victim)
    customer = victim[burst]
    shop = world.online(rng, number)
    return {
        "second": night[burst] + rng.integers(0, 2 * 3600, number),
        "customer": customer,
        "terminal": shop,
        "amount": np.exp(rng.normal(customers.spending[customer], 0.2)) * rng.uniform(1.5, 6, number),
        "channel": np.full(number, ONLINE),
        "country": country[burst],
        "where": country[burst],
    }


def _turns(rng: np.random.Generator, number: int, fewest: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which attack each of so many rows belongs to, and its place in it; an attack has so many rows."""
    attack = np.repeat(np.arange(number), rng.integers(fewest, most + 1, number))[:number]
    return attack, np.arange(number) - np.searchsorted(attack, attack)


def _hours(hour: np.ndarray) -> np.ndarray:
    return (hour * 3600).astype(np.int64)


def _victims(rng: np.random.Generator, world: World, number: int, length: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw a customer, and the first second of a day, for each of so many attacks that last so many days."""
    day = rng.integers(0, max(1, world.days - length + 1), number) * SECONDS
    return rng.integers(0, len(world.customers.activity), number), day


def _at_home(rng: np.random.Generator, world: World, rows: Frame) -> Frame:
    """Complete rows with a channel of their terminal, at home, on the customer's own device."""
    home, kind = world.customers.home[rows["customer"]], world.terminals.kind[rows["terminal"]]
    channel = np.where(is_contactless(rng, kind, rows["amount"]), CONTACTLESS, kind)
    return rows | {"channel": channel, "country": home, "where": home, "device": np.full(len(home), OWN)}


def _card_testing(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return bursts of 8 to 25 tiny online payments, 2 to 60 seconds apart, from one device."""
    attack, turn = _turns(rng, number, 8, 25)
    victim, day = _victims(rng, world, number)
    start = day + rng.integers(0, SECONDS - 3600, number)
    gap = rng.integers(2, 61, number)
    gap[turn == 0] = 0
    since = np.cumsum(gap)
    where = np.where(rng.random(number) < 0.5, world.customers.home[victim], world.abroad(rng, victim))[attack]
    return {
        "second": start[attack] + since - since[np.arange(number) - turn],
        "customer": victim[attack],
        "terminal": world.online(rng, number),
        "amount": rng.uniform(0.5, 5, number),
        "channel": np.full(number, ONLINE),
        "country": where,
        "where": where,
        "device": attack,
    }


def _night_spending(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return one to three payments between 1 and 5 h, of 1 to 3 times the usual amount, at home."""
    attack, _ = _turns(rng, number, 1, 3)
    victim, day = _victims(rng, world, number)
    customer = victim[attack]
    rows = {
        "second": (day + _hours(rng.uniform(1, 4, number)))[attack] + rng.integers(0, 3600, number),
        "customer": customer,
        "terminal": world.terminals.draw(rng, world.customers.home[customer]),
        "amount": world.habit(customer) * rng.uniform(1, 3, number),
    }
    return _at_home(rng, world, rows)


def _new_device(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return one to four online payments of the usual size within three hours of the day, from a new device."""
    attack, _ = _turns(rng, number, 1, 4)
    victim, day = _victims(rng, world, number)
    customer = victim[attack]
    start = day + _hours(world.customers.hour[victim])
    home = world.customers.home[customer]
    return {
        "second": start[attack] + rng.integers(0, 3 * 3600, number) - 3600,
        "customer": customer,
        "terminal": world.online(rng, number),
        "amount": world.habit(customer) * rng.uniform(0.8, 2.5, number),
        "channel": np.full(number, ONLINE),
        "country": home,
        "where": home,
        "device": attack,
    }


def _new_payee(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return payments of 2.5 to 6 times the usual amount to one of a few terminals that victims never paid before."""
    attack, _ = _turns(rng, number, 1, 2)
    victim, day = _victims(rng, world, number)
    customer = victim[attack]
    kinds = world.terminals.kind
    payees = rng.choice(np.flatnonzero(kinds != ATM) if (kinds != ATM).any() else len(kinds), max(1, number // 6))
    hour = rng.normal(world.customers.hour[customer], 2.4).clip(7, 22)
    rows = {
        "second": day[attack] + _hours(hour),
        "customer": customer,
        "terminal": rng.choice(payees, number)[attack],
        "amount": world.habit(customer) * rng.uniform(2.5, 6, number),
    }
    return _at_home(rng, world, rows)


def _impossible_travel(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return payments by chip in another country, 10 to 60 minutes after the customer paid at a terminal at home."""
    present = np.flatnonzero((frame["channel"] != ONLINE) & (frame["second"] < world.days * SECONDS - 3600))
    before = rng.choice(present if present.size else np.arange(len(frame["second"])), number)
    customer = frame["customer"][before]
    country = (frame["where"][before] + rng.integers(1, len(COUNTRIES), number)) % len(COUNTRIES)
    return {
        "second": frame["second"][before] + rng.integers(600, 3600, number),
        "customer": customer,
        "terminal": world.terminals.draw(rng, country),
        "amount": world.habit(customer) * rng.uniform(1, 3, number),
        "channel": np.full(number, CHIP),
        "country": country,
        "where": country,
        "device": np.full(number, OWN),
    }


def _account_takeover(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return three to six online payments within an hour, each larger, from a new device, far from the usual hour."""
    attack, turn = _turns(rng, number, 3, 6)
    victim, day = _victims(rng, world, number)
    customer = victim[attack]
    hour = (world.customers.hour[victim] + 12 + rng.uniform(-3, 3, number)) % 24
    where = np.where(rng.random(number) < 0.5, world.customers.home[victim], world.abroad(rng, victim))[attack]
    return {
        "second": (day + _hours(hour))[attack] + turn * 600 + rng.integers(0, 600, number),
        "customer": customer,
        "terminal": world.online(rng, number),
        "amount": world.habit(customer) * rng.uniform(1, 2, number) * (1 + turn),
        "channel": np.full(number, ONLINE),
        "country": where,
        "where": where,
        "device": attack,
    }


def _refund_fraud(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return two to five refunds of one customer by one terminal within three days, with no purchase of that size."""
    attack, turn = _turns(rng, number, 2, 5)
    victim, day = _victims(rng, world, number, 3)
    customer = victim[attack]
    rows = {
        "second": day[attack] + turn * rng.integers(3600, 12 * 3600, number) + 9 * 3600,
        "customer": customer,
        "terminal": world.terminals.draw(rng, world.customers.home[victim])[attack],
        "amount": -world.habit(customer) * rng.uniform(2, 6, number),
    }
    return _at_home(rng, world, rows)


def _collusion(rng: np.random.Generator, world: World, frame: Frame, number: int) -> Frame:
    """Return six to sixteen round amounts of one customer at one terminal within a week."""
    attack, _ = _turns(rng, number, 6, 16)
    length = min(7, world.days)
    victim, day = _victims(rng, world, number, length)
    customer = victim[attack]
    hour = rng.uniform(9, 20, number)
    rows = {
        "second": day[attack] + rng.integers(0, length, number) * SECONDS + _hours(hour),
        "customer": customer,
        "terminal": world.terminals.draw(rng, world.customers.home[victim])[attack],
        "amount": np.maximum(1, np.round(world.habit(customer) * rng.uniform(1.5, 4, number) / 10)) * 10,
    }
    return _at_home(rng, world, rows)


ATTACKS: dict[str, Callable[[np.random.Generator, World, Frame, int], Frame]] = {
    "card_testing": _card_testing,
    "night_spending": _night_spending,
    "new_device": _new_device,
    "new_payee": _new_payee,
    "impossible_travel": _impossible_travel,
    "account_takeover": _account_takeover,
    "refund_fraud": _refund_fraud,
    "collusion": _collusion,
}
"""What each further scenario adds: (rng, world, normal rows, number of rows) -> rows."""
