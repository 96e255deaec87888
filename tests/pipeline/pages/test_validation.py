"""pipeline/pages/validation.py: the page is read back with html.parser."""

import json
import random
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from expectations.runs import Outcome
from pipeline.errors import BatchRefused
from pipeline.pages.validation import MOST_EXAMPLES, data_docs, render_validation, rule_row
from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK
from pipeline.tables.batch import Batch
from pipeline.validation.validate import validate
from tests.pipeline.pages.page import Page
from tests.pipeline.validation.batches import NOW, config, rows

CONTRACT = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("card",))


def outcome(name, column, values, severity="warning"):
    arguments = {"column": column, "min_value": 0}
    judged = Outcome(name, "expect_column_values_to_be_between", arguments, severity, (column,))
    judged.add(10, 2, len(values), values)
    return judged


def of_table(name, column, observed, **attributes):
    judged = Outcome(name, "expect_column_mean_to_be_between", {"column": column}, "critical", (column,))
    for key, value in {"about_rows": False, "observed": observed, **attributes}.items():
        setattr(judged, key, value)
    return judged


def page_of(*outcomes):
    return render_validation(outcomes, title="<b>in.csv", subtitle="batch b<1>", contract=CONTRACT)


def test_a_rule_says_what_it_asks_of_which_column_and_how_many_rows_break_it():
    row = rule_row(outcome("eur: plausible", "eur", [-1.5, -2.5]), CONTRACT)
    assert (row.name, row.question) == ("eur: plausible", "column values to be between: min value 0")
    assert (row.column, row.severity, row.has_held) == ("eur", "warning", False)
    assert (row.judged, row.missing, row.unexpected, row.share) == ("8", "2", "2", "25 %")
    assert row.examples == ("-1.5", "-2.5")
    text = Page(page_of(outcome("eur: plausible", "eur", [-1.5, -2.5]), of_table("eur: mean", "eur", 21.5))).text
    assert "1 of 2 rules broken" in text
    assert "eur: plausible column values to be between: min value 0 eur 8 2 2 25 % warning broken -1.5 -2.5" in text
    assert "1 held" in text
    assert "eur: mean column mean to be between eur critical held 21.5" in text


def test_a_rule_that_no_row_was_asked_is_a_rule_that_held():
    nothing = Outcome(
        "x: any", "expect_column_values_to_be_of_type", {"column": "x", "type_": "number"}, "info", ("x",)
    )
    row = rule_row(nothing, CONTRACT)
    assert (row.judged, row.unexpected, row.share, row.examples) == ("0", "0", "", ())
    assert row.question == "column values to be of type: type number"
    assert "All 1 rules held" in Page(page_of(nothing)).text
    shape = Outcome("table: shape", "expect_table_row_count_to_equal", {"value": 3}, "info", (), about_rows=False)
    assert rule_row(shape, CONTRACT).column == "the table"


def test_examples_are_a_few_short_ones_each_once():
    row = rule_row(outcome("eur: short", "eur", ["a" * 500, "b", "b", *range(20)]), CONTRACT)
    assert len(row.examples) == MOST_EXAMPLES
    assert row.examples[:3] == ("a" * 80 + "…", "b", "0")


def test_values_of_sensitive_columns_are_masked_and_their_number_is_not():
    hidden = outcome("card: known", "card", ["4111-1111", "4111-1112"])
    pair = outcome("eur: of the card", "eur", [4711.0])
    pair.columns = ("eur", "card")
    page = page_of(hidden, pair, of_table("card: mean", "card", 4711.25, success=False))
    assert "411" not in page
    assert "4711" not in page
    assert [rule_row(judged, CONTRACT).examples for judged in (hidden, pair)] == [(MASK,), (MASK,)]
    assert page.count(f"<code>{MASK}</code>") == 3
    assert rule_row(hidden, CONTRACT).unexpected == "2"


def test_text_from_the_data_stays_text_and_nothing_is_fetched_or_run():
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    html = page_of(outcome(hostile, "eur", [hostile, "$boom ${column}", float("nan")]), of_table("m", "eur", hostile))
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not [value for name, value in page.attributes if name in ("href", "src")]
    assert "http" not in html.replace('http-equiv="', "")
    assert page.text.count("alert(1)") == 3
    assert "$boom ${column}" in page.text
    assert "<b>in.csv" not in html
    assert "b<1>" not in html


def test_the_page_of_a_batch_is_written_also_where_it_is_refused(tmp_path):
    settings = config(
        contract={"sensitive": ["tx", "eur", "note"], "ignored": ["note"]},
        validation={"max_rejected": 0.05, "suite": str(tmp_path / "suite.json")},
    )
    bad = {"type": "expect_column_values_to_not_match_regex", "kwargs": {"column": "note", "regex": "secret"}}
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "eur", "max_value": 2}}
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": [bad, mean]}))
    cells = {"eur": ["hush4711", "-4712.5", "1"], "note": ["n", "secret4713", "n"], "tx": ["id4714", "id4714", "x"]}
    for table, names in ((rows(3, **cells), ["eur: not negative", "tx: unique"]), (rows(2, eur=[4715.0] * 2), [])):
        pq.write_table(table, tmp_path / "in.parquet")
        batch = Batch.of(tmp_path / "in.parquet", settings)
        docs = data_docs(batch, settings, tmp_path / "docs")
        with pytest.raises(BatchRefused):
            validate(batch.open(), settings, folder=tmp_path / "out", batch_id=batch.id, now=NOW, docs=docs)
        html = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
        assert not re.search("471[1-5]", html)
        page = Page(html)
        assert "in.parquet" in page.text
        assert MASK in page.text
        assert all(f"{name} column" in page.text for name in names)


def test_a_page_is_written_whatever_the_batchs_id_and_name_look_like(tmp_path):
    # Among random ids are some that a parser of dates or numbers takes for one of its own, and fails at.
    draw = random.Random(0)
    ids = [f"{draw.getrandbits(64):016x}" for _ in range(300)]
    ids += [
        "20250131T0000000",
        "9999999999999999",
        "00000000e9999999",
        "1e99999999999999",
        "99991231t2359999",
        "inf",
        "nan",
    ]
    for name in ids:
        batch = Batch.of(tmp_path, config())
        page = render_validation([], title=f"{name}.csv", subtitle=f"batch {name}", contract=CONTRACT)
        assert f"batch {name}" in Page(page).text
        assert data_docs(replace(batch, id=name), config(), tmp_path)([]).is_file()
