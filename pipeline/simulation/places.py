"""Places and devices of a simulation: where each row happened, and on what; refunds, too."""

import numpy as np

from pipeline.simulation.world import COUNTRIES, ONLINE, SECONDS, Frame, World

CENTRES = np.array(
    [
        *((52.52, 13.40), (48.86, 2.35), (52.37, 4.90), (40.42, -3.70), (41.90, 12.50)),
        *((50.85, 4.35), (48.21, 16.37), (52.23, 21.01), (51.51, -0.13), (40.71, -74.01)),
    ]
)
"""Latitude and longitude of the city of each of `COUNTRIES` in which everything happens."""
SPREAD = 0.15
"""Standard deviation of places in a city, in degrees."""
REFUNDS = 0.02
"""Share of normal rows that are refunds."""
DEVICES = 3
"""Of a customer: two, and a later one in place of the first."""
REPLACED = 0.05
"""Share of customers who replace their first device on some day."""


def give_refunds(rng: np.random.Generator, frame: Frame, normal: np.ndarray) -> None:
    """Turn some of the normal rows into refunds of 30 % to 100 % of their amount."""
    rows = np.flatnonzero(normal & (rng.random(len(normal)) < REFUNDS))
    frame["amount"][rows] *= -rng.uniform(0.3, 1, len(rows))


def locate(rng: np.random.Generator, world: World, frame: Frame) -> Frame:
    """Return latitude and longitude of each row: of its terminal or, on the net, of where the payer is."""
    terminals, customers = world.terminals, world.customers
    of_country = np.repeat(np.arange(len(COUNTRIES)), terminals.number)
    shops = CENTRES[of_country] + rng.normal(0, SPREAD, (len(of_country), 2))
    homes = rng.normal(0, SPREAD, (len(customers.activity), 2))
    there = CENTRES[frame["where"]] + homes[frame["customer"]]
    is_online = (frame["channel"] == ONLINE)[:, None]
    place = np.round(np.where(is_online, there, shops[frame["terminal"]]), 4)
    return {"latitude": place[:, 0], "longitude": place[:, 1]}


def device_numbers(rng: np.random.Generator, world: World, frame: Frame) -> np.ndarray:
    """Return a number for the device of each row, in no order that tells a customer's from an attacker's.

    Four in five payments of a customer come from the first of two devices; now and then it is replaced.
    """
    customers = len(world.customers.activity)
    replaced = np.where(rng.random(customers) < REPLACED, rng.integers(0, world.days, customers), world.days)
    place = (rng.random(len(frame["second"])) < 0.2).astype(np.int64)
    is_late = frame["second"] // SECONDS >= replaced[frame["customer"]]
    place = np.where((place == 0) & is_late, 2, place)
    own = frame["customer"] * DEVICES + place
    device = frame["device"]
    numbers = rng.permutation(customers * DEVICES + int(device.max(initial=-1)) + 1)
    return np.asarray(numbers[np.where(device < 0, own, customers * DEVICES + device)])
