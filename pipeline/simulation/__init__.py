"""A simulator of card transactions with known fraud.

In: rows, days, a seed, scenarios of fraud. Out: a table, and which of its rows are fraud or malformed. Called by the
demo, `assay simulate`, tests and benchmarks.
"""

from pipeline.simulation.frauds import FRAUD_SHARES, FURTHER_SHARES, SCENARIOS
from pipeline.simulation.table import MALFORMED, MALFORMED_TEXT, Simulation, simulate

__all__ = ["FRAUD_SHARES", "FURTHER_SHARES", "MALFORMED", "MALFORMED_TEXT", "SCENARIOS", "Simulation", "simulate"]
