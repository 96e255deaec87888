"""What is counted over a whole table, worked out by hand on six rows."""

from datetime import date, datetime

from pipeline.inference.tally import Tally
from pipeline.settings.config import Config
from pipeline.tables.reading import open_table

ROWS = """tx,at,eur,card,days
1,2025-01-01 10:00:00,5.00,7,1
2,2025-01-02 10:00:00,-2.50,1.28,2
03,1899-12-31 10:00:00,2000,x,inf
4,1960-01-03 10:00:00,,8,soon
5,2031-01-03 10:00:00,inf,,
6,2025-01-03 10:00:00,1.00,9
,soon,1.00,9,3
"""


def test_every_cell_that_a_rule_rejects_is_counted(tmp_path):
    path = tmp_path / "tx.csv"
    path.write_text(ROWS)
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ("card",), "numeric": ("days",)}
    types = {"tx": "integer", "card": "integer"}
    limits = {"earliest": date(2000, 1, 1), "max_amount": 1000}
    config = Config.model_validate({"contract": roles | {"types": types}, "validation": limits})
    tally = Tally.of(open_table(path, config.table), config, datetime(2025, 6, 1))
    assert (tally.rows, tally.broken_lines) == (7, 1)
    assert +tally.missing == {"tx": 1, "eur": 1, "card": 1, "days": 1}
    assert +tally.unfit == {"at": 1, "card": 2, "days": 1}
    assert tally.examples == {"at": "soon", "card": "1.28", "days": "soon"}
    assert +tally.fractions == {"card": 1}
    assert +tally.zeros == {"tx": 1}
    assert +tally.infinite == {"eur": 1, "days": 1}
    assert tally.unusable == 3  # no amount, an infinite one, and neither id nor moment
    assert (tally.negative, tally.beyond, tally.largest) == (1, 1, 2000)
    assert (tally.far, tally.early, tally.late) == (1, 1, 1)
    assert (tally.first, tally.last) == (datetime(1960, 1, 3, 10), datetime(2031, 1, 3, 10))
