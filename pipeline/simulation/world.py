"""The world of a simulation: customers, terminals, and what customers do on their own."""

from dataclasses import dataclass
from datetime import date

import numpy as np

COUNTRIES = np.array(["DE", "FR", "NL", "ES", "IT", "BE", "AT", "PL", "GB", "US"])
_HOME_SHARES = np.array([0.34, 0.18, 0.12, 0.09, 0.08, 0.06, 0.05, 0.04, 0.03, 0.01])
CHANNELS = np.array(["chip", "contactless", "online", "atm"])
CHIP, CONTACTLESS, ONLINE, ATM = range(4)
_WEEKDAYS = np.array([0.92, 0.93, 0.96, 1.02, 1.20, 1.25, 0.72])  # Monday first
SECONDS = 86_400
"""In a day."""

Frame = dict[str, np.ndarray]
"""Columns of rows by name, each of shape (n_rows,)."""


@dataclass(frozen=True)
class Customers:
    """Customers and their habits; arrays of shape (n_customers,) where nothing else is said."""

    activity: np.ndarray  # share of all transactions
    spending: np.ndarray  # mean of the logarithm of the amount
    spread: np.ndarray  # its standard deviation
    hour: np.ndarray  # usual hour of day
    home: np.ndarray  # index into COUNTRIES
    trip_country: np.ndarray
    trip_start: np.ndarray  # day; -1 for the customers who stay at home
    trip_end: np.ndarray
    favourites: np.ndarray  # (n_customers, 6) terminals, most visited first


@dataclass(frozen=True)
class Terminals:
    """Terminals in order of country, so that those of one country are a slice."""

    kind: np.ndarray  # CHIP (a shop, which takes contactless cards too), ONLINE or ATM
    first: np.ndarray  # (countries,) first terminal of each
    number: np.ndarray  # (countries,) terminals of each

    def draw(self, rng: np.random.Generator, country: np.ndarray) -> np.ndarray:
        """Draw a terminal in each of the countries."""
        return self.first[country] + (rng.random(country.shape) * self.number[country]).astype(np.int64)


@dataclass(frozen=True)
class World:
    """Who pays whom, for so many days from the first."""

    customers: Customers
    terminals: Terminals
    first_day: date
    days: int

    def online(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw so many terminals on the net."""
        shops = np.flatnonzero(self.terminals.kind == ONLINE)
        return rng.choice(shops if shops.size else np.arange(len(self.terminals.kind)), number)

    def abroad(self, rng: np.random.Generator, customer: np.ndarray) -> np.ndarray:
        """Draw a country for each customer that is not its home."""
        step = rng.integers(1, len(COUNTRIES), len(customer))
        return (self.customers.home[customer] + step) % len(COUNTRIES)

    def habit(self, customer: np.ndarray) -> np.ndarray:
        """Return the usual amount of each customer."""
        return np.exp(self.customers.spending[customer])


def draw_world(rng: np.random.Generator, *, rows: int, days: int, first_day: date) -> World:
    """Draw as many customers and terminals as so many rows want."""
    terminals = _terminals(rng, number=max(len(COUNTRIES) * 3, rows // (days * 3)))
    customers = _customers(rng, terminals, number=max(1, round(rows / (days * 0.9))), days=days)
    return World(customers, terminals, first_day, days)


def _terminals(rng: np.random.Generator, number: int) -> Terminals:
    country = np.concatenate(
        [np.arange(len(COUNTRIES)), rng.choice(len(COUNTRIES), number - len(COUNTRIES), p=_HOME_SHARES)]
    )
    counts = np.bincount(country, minlength=len(COUNTRIES))
    return Terminals(
        kind=rng.choice([CHIP, ONLINE, ATM], number, p=[0.62, 0.3, 0.08]),
        first=np.cumsum(counts) - counts,
        number=counts,
    )


def _customers(rng: np.random.Generator, terminals: Terminals, number: int, days: int) -> Customers:
    activity = rng.gamma(2.0, 1.0, number) + 0.1
    home = rng.choice(len(COUNTRIES), number, p=_HOME_SHARES)
    start = np.where(rng.random(number) < 0.06, rng.integers(0, days, number), -1)
    return Customers(
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


def draw_transactions(rng: np.random.Generator, world: World, number: int) -> Frame:
    """Return what customers do on their own: (number,) arrays, in no order. "where" is the country of the customer."""
    customers, terminals, days = world.customers, world.terminals, world.days
    customer = rng.choice(len(customers.activity), number, p=customers.activity)
    week = _WEEKDAYS[(world.first_day.weekday() + np.arange(days)) % 7]
    day = rng.choice(days, number, p=week / week.sum())
    hour = rng.normal(customers.hour[customer], 2.4)
    hour = np.where(rng.random(number) < 0.04, rng.uniform(6, 24, number), hour)  # now and then at any time
    second = day * SECONDS + ((hour * 3600) % SECONDS).astype(np.int64)

    on_trip = (day >= customers.trip_start[customer]) & (day < customers.trip_end[customer])
    on_trip &= customers.trip_start[customer] >= 0
    where = np.where(on_trip, customers.trip_country[customer], customers.home[customer])
    favourite = customers.favourites[customer, np.minimum(rng.geometric(0.35, number) - 1, 5)]
    elsewhere = on_trip | (rng.random(number) < 0.12)
    terminal = np.where(elsewhere, terminals.draw(rng, where), favourite)
    kind = terminals.kind[terminal]
    # Shops on the net sell across borders; their country is the one that the table names.
    abroad = (kind == ONLINE) & (rng.random(number) < 0.02)
    country = np.where(abroad, rng.choice(len(COUNTRIES), number, p=_HOME_SHARES), where)

    level = customers.spending[customer] + np.where(kind == ONLINE, 0.25, np.where(kind == ATM, 0.8, 0.0))
    amount = np.exp(rng.normal(level, customers.spread[customer]))
    amount = np.where(kind == ATM, np.maximum(10, np.round(amount, -1)), amount)
    contactless = is_contactless(rng, kind, amount)
    return {
        "second": second,
        "customer": customer,
        "terminal": terminal,
        "amount": amount,
        "channel": np.where(contactless, CONTACTLESS, kind),
        "country": country,
        "where": where,
    }


def is_contactless(rng: np.random.Generator, kind: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Draw which rows, by the kind of their terminal and their amount, are paid without contact."""
    return (kind == CHIP) & (np.abs(amount) < 50) & (rng.random(len(kind)) < 0.75)
