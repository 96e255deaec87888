"""A small backtest, for the tests of its measures and of its page."""

from datetime import timedelta

from pipeline.evaluation.backtest import blocks, run_blocks
from pipeline.labels.known import Labels
from tests.pipeline.fitted import AFTER, START, config, feature_table, transactions

SETTINGS = config(features={"families": ("amount", "columns", "change", "risk"), "label_delay_days": 5})
FIRST, LAST = START.date(), (START + timedelta(days=29)).date()
PLAN = blocks(FIRST, LAST, train_days=8, test_days=7, delay_days=5)


def rows_of_backtest():
    """Return the rows of the backtest."""
    return transactions(2400, seed=3)


def backtest(folder, table, plan=PLAN, settings=SETTINGS, **more):
    """Return what each block of a plan gave."""
    folder.mkdir(exist_ok=True)
    features = feature_table(folder, table, settings)
    return list(run_blocks(features, plan, Labels(settings), folder, measured_as_of=AFTER, **more))
