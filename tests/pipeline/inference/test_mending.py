"""What a whole table says changes the rules, so that no rule is written that the table itself breaks."""

from datetime import date, datetime

import pytest

from pipeline.errors import InputError
from pipeline.inference.mending import mend
from pipeline.inference.roles import infer
from pipeline.inference.tally import Tally
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.file import read_config, write_config
from pipeline.tables.reading import open_table
from pipeline.validation.validate import validate
from tests.pipeline.inference.hostile import hostile_table

NOW = datetime(2025, 1, 1)


def config(**contract):
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "types": {"tx": "integer"}}
    return Config.model_validate({"contract": roles | contract})


def mended(tally, settings=None, *, named=(), repeats=0):
    return mend(tally, settings or config(), named=named, repeats=repeats, now=NOW)


def test_no_rule_is_written_that_the_table_itself_breaks(tmp_path):
    tables, refusals = 24, []
    for seed in range(tables):
        path, toml = hostile_table(tmp_path, seed), tmp_path / "assay.toml"
        try:
            inferred, reasons, _ = infer(path, settings=TableConfig())
        except InputError as error:
            refusals.append(str(error).partition(": ")[0] == str(path))
            continue
        toml.write_text(write_config(inferred, reasons))
        written = read_config(toml)
        validated = validate(open_table(path, written.table), written, folder=tmp_path / f"{seed}", batch_id="b")
        assert validated.counts.accepted > 0, f"seed {seed}"
    assert all(refusals), "a sentence without the file's name"
    assert len(refusals) < tables / 4


def test_a_table_that_keeps_every_rule_changes_nothing():
    mending = mended(Tally(rows=3000))
    assert (mending.roles, mending.text, mending.validation, mending.warnings) == ({}, [], {}, [])


@pytest.mark.parametrize(
    ("tally", "settings", "warning"),
    [
        (
            {"negative": 2580},
            {"negative_amounts": True},
            "'eur' is below zero in 2,580 of 3,000 rows (86 %), which is a",
        ),
        ({"negative": 30}, {}, "'eur' is below zero in 30 of 3,000 rows (1 %), which will be quarantined; where these"),
        (
            {"beyond": 31, "largest": 2.5e10},
            {"max_amount": 1e11},
            "'eur' goes up to 2.5e+10, so that max_amount = 1e+11",
        ),
        (
            {"early": 31, "first": datetime(1994, 5, 1)},
            {"earliest": date(1993, 1, 1)},
            "31 of 3,000 rows have a 'at' before 2000-01-01, so that earliest = 1993-01-01 was written",
        ),
        (
            {"late": 31, "last": datetime(2025, 1, 10, 12)},
            {"latest_days_ahead": 10},
            "31 of 3,000 rows have a 'at' in the future, up to 2025-01-10, so that latest_days_ahead = 10 was written",
        ),
        (
            {"unusable": 200, "broken_lines": 43},
            {"max_rejected": 0.09},
            "of 3,000 rows, 200 have no id, moment or amount that can be read and 43 have another number of cells than",
        ),
    ],
)
def test_a_rule_that_more_than_a_few_rows_break_is_changed_and_told(tally, settings, warning):
    mending = mended(Tally(rows=3000, **tally))
    assert mending.validation == settings
    assert mending.warnings[0].startswith(warning)
    assert len(mending.warnings) == 1


def test_a_few_mistakes_change_no_rule():
    tally = Tally(
        rows=3000, early=30, late=30, beyond=30, far=20, first=datetime(1994, 1, 1), last=datetime(2040, 1, 1)
    )
    assert mended(tally, repeats=30).validation == {}
    assert mended(tally, repeats=41).validation == {"max_rejected": 0.06}


def test_a_table_of_which_most_would_be_quarantined_is_refused():
    mended(Tally(rows=3000, unusable=1500))
    with pytest.raises(InputError, match=r"of 3,000 rows, 1,499 have no id.* and 2 repeat a value of 'tx'"):
        mended(Tally(rows=3000, unusable=1499), repeats=2)


def test_keys_that_are_not_all_whole_numbers_are_text_and_a_category_of_numbers_is_a_quantity():
    types = {"tx": "integer", "card": "integer", "code": "integer", "kind": "integer"}
    settings = config(entities=("card",), categorical=("code", "kind"), types=types)
    tally = Tally(rows=3000)
    tally.zeros["tx"] = tally.unfit["card"] = tally.fractions["card"] = 1
    tally.unfit["code"] = tally.fractions["code"] = tally.unfit["kind"] = 2
    mending = mended(tally, settings)
    assert mending.text == ["tx", "card", "kind"]
    assert mending.roles == {"code": ("numeric", "numbers, 2 of which are not whole")}
    assert mended(tally, settings, named=("code",)).text == ["tx", "card", "code", "kind"]


def test_a_column_that_would_cost_too_many_rows_is_left_out_unless_a_person_named_it():
    settings = config(entities=("card", "shop"), numeric=("age", "days"), sensitive=("age",))
    tally = Tally(rows=3000, examples={"age": "secret", "days": "soon"})
    tally.missing["card"], tally.missing["shop"] = 2251, 2250
    tally.unfit["age"], tally.unfit["days"] = 31, 2
    mending = mended(tally, settings)
    assert mending.roles == {
        "card": ("ignored", "empty in 2,251 of 3,000 rows (75 %)"),
        "age": ("ignored", "is no finite number in 31 of 3,000 rows (1.03 %)"),
    }
    assert mending.optional == ["shop"]
    assert [warning.partition(";")[0] for warning in mending.warnings] == [
        "'age' is no finite number, such as •••, in 31 of 3,000 rows (1.03 %), so that it is left out",
        "'days' is no finite number, such as 'soon', in 2 of 3,000 rows, which will be quarantined",
    ]
    tally.missing["shop"] = 5
    named = mended(tally, settings, named=("age", "shop"))
    assert (named.roles.keys(), named.optional) == ({"card"}, [])
    assert "'shop' is empty in 5 of 3,000 rows, which will be quarantined" in named.warnings[0]


def test_an_entity_that_some_rows_lack_is_one_and_stands_behind_those_that_all_have(tmp_path):
    path = tmp_path / "tx.csv"
    rows = [
        f"{n},2025-01-0{1 + n % 9} 0{n % 7}:30:00,{n % 90}.5,{'' if n % 2 else n % 40},{n % 31}" for n in range(2500)
    ]
    path.write_text("\n".join(["tx_id,at_time,amount,card_id,shop_id", *rows]) + "\n")
    inferred, reasons, warnings = infer(path, settings=TableConfig())
    assert inferred.contract.entities == ("shop_id", "card_id")
    assert inferred.contract.optional == ("card_id",)
    assert "empty in 50 % of the rows" in reasons["entities"]
    assert not warnings
