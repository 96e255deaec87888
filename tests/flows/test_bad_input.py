"""Bad input through the whole flow: quarantined rows, or one sentence; never a traceback, never half an output.

They are about scoring and training, and all that both read with; hence a file of their own.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.errors import AssayError

Rows = dict[str, list]


def rows(number: int = 60) -> Rows:
    """Plain rows of one day that pass every rule."""
    return {
        "TRANSACTION_ID": [5_000_000 + i for i in range(number)],
        "TX_DATETIME": [datetime(2025, 3, 5, i % 24, i % 60) for i in range(number)],
        "CUSTOMER_ID": [i % 7 for i in range(number)],
        "TERMINAL_ID": [i % 5 for i in range(number)],
        "TX_AMOUNT": [10.0 + i for i in range(number)],
        "CHANNEL": ["chip"] * number,
        "COUNTRY": ["DE"] * number,
        "TX_FRAUD": [0] * number,
    }


def changed(column: str, value: object, places: range = range(2)) -> Rows:
    table = rows()
    for place in places:
        table[column][place] = value
    return table


def as_csv(table: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(pa.table(table), sink)
    return sink.getvalue().to_pybytes()


def as_text(table: Rows) -> bytes:
    lines = [",".join(table)] + [",".join(str(cell) for cell in row) for row in zip(*table.values(), strict=True)]
    return "\n".join(lines).encode()


def parquet(table: Rows) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        pq.write_table(pa.table(table), folder / "in.parquet")
        return folder / "in.parquet"

    return write


def raw(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def truncated(folder: Path) -> Path:
    file = parquet(rows())(folder)
    file.write_bytes(file.read_bytes()[:-200])
    return file


def without(column: str) -> Rows:
    return {name: cells for name, cells in rows().items() if name != column}


def renamed(old: str, new: str) -> Rows:
    return {new if name == old else name: cells for name, cells in rows().items()}


LATIN = as_text(changed("COUNTRY", "\xd6sterreich")).decode().encode("latin-1")

REFUSED = {
    "missing file": (lambda folder: folder / "nowhere.parquet", r"nowhere\.parquet does not exist"),
    "empty file": (raw("in.csv", b""), r"in\.csv.*empty"),
    "header only": (raw("in.csv", as_csv(rows(0))), r"in\.csv.*empty"),
    "no rows": (parquet({name: cells[:0] for name, cells in rows().items()}), r"in\.parquet.*(empty|no rows)"),
    "truncated Parquet": (truncated, r"in\.parquet"),
    "not Parquet": (raw("in.parquet", b"hello"), r"in\.parquet"),
    "wrong delimiter": (raw("in.csv", as_text(rows()).replace(b",", b";")), r"in\.csv.*delimiter"),
    "other encoding": (raw("in.csv", LATIN), r"in\.csv.*encoding"),
    "open quote": (raw("in.csv", as_text(rows()).replace(b"\n5000004,", b'\n5000004,"')), r"in\.csv.*quot"),
    "unknown kind": (raw("in.xlsx", b"PK"), r"in\.xlsx.*\.parquet"),
    "missing column": (parquet(without("TX_AMOUNT")), r"TX_AMOUNT"),
    "renamed column": (parquet(renamed("TX_AMOUNT", "AMOUNT_TX")), r"TX_AMOUNT.*AMOUNT_TX"),
    "amount of type timestamp": (parquet({**rows(), "TX_AMOUNT": rows()["TX_DATETIME"]}), r"TX_AMOUNT.*timestamp"),
    "timestamp of type number": (parquet({**rows(), "TX_DATETIME": [1.5] * 60}), r"TX_DATETIME"),
    "amounts that are words": (parquet({**rows(), "TX_AMOUNT": ["much"] * 60}), r"TX_AMOUNT.*"),
    "all amounts missing": (parquet({**rows(), "TX_AMOUNT": pa.nulls(60, pa.float64())}), r"TX_AMOUNT"),
    "too many bad rows": (parquet(changed("TX_AMOUNT", -1.0, range(10))), r"TX_AMOUNT.*negative.*max_rejected"),
    "labels other than 0 and 1": (parquet({**rows(), "TX_FRAUD": [2] * 60}), r"TX_FRAUD"),
}

QUARANTINED = [
    ("TX_AMOUNT", float("nan")),
    ("TX_AMOUNT", float("inf")),
    ("TX_AMOUNT", 1e300),
    ("TX_AMOUNT", -3.0),
    ("TX_DATETIME", datetime(1900, 1, 1)),
    ("TX_DATETIME", datetime(2999, 1, 1)),
    ("TX_DATETIME", None),
    ("CUSTOMER_ID", None),
    ("TRANSACTION_ID", None),
    ("TRANSACTION_ID", 5_000_000),  # of the first row
    ("TX_FRAUD", 7),
]


def score(home: Path, table: Path) -> dict:
    return run_flow(home / "assay.toml", "flows.score:score", table=str(table), force=True)


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_in_one_sentence_and_leaves_nothing(case: str, home: Path, tmp_path: Path) -> None:
    write, message = REFUSED[case]
    before = {path.name for path in (home / "assay-data").glob("batches/*")}
    with pytest.raises(AssayError, match=message) as caught:
        score(home, write(tmp_path))
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in (home / "assay-data").glob("batches/*")} == before


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_rows_are_quarantined_with_the_rule_and_the_rest_goes_on(kind: str, home: Path, tmp_path: Path) -> None:
    table, expected = rows(800), {}
    for place, (column, value) in enumerate(2 * QUARANTINED, start=1):
        table[column][place] = value
        expected[place] = column
    if kind == "csv":
        (tmp_path / "in.csv").write_bytes(as_csv(table))
    else:
        pq.write_table(pa.table(table), tmp_path / "in.parquet")
    result = score(home, tmp_path / f"in.{kind}")
    assert result.counts["quarantined"] == len(expected)
    assert result.counts["scored"] == 800 - len(expected)
    for row in pq.read_table(Path(result.folder) / "quarantine.parquet").to_pylist():
        column = expected.pop(row["source_row"])
        assert [rule for rule in row["rules"] if not rule.startswith(column)] == []
    assert expected == {}


def test_a_broken_line_and_a_cell_that_is_no_number_are_quarantined(home: Path, tmp_path: Path) -> None:
    lines = as_text(rows()).split(b"\n")
    lines[3] += b",one,cell,more"
    lines[5] = lines[5].replace(b"14.0", b"abc")
    (tmp_path / "in.csv").write_bytes(b"\n".join(lines))
    result = score(home, tmp_path / "in.csv")
    found = pq.read_table(Path(result.folder) / "quarantine.parquet").sort_by("source_row").to_pylist()
    assert [row["source_row"] for row in found] == [2, 4]
    assert "csv line" in found[0]["rules"][0]
    assert found[1]["TX_AMOUNT"] == "abc"


@pytest.mark.parametrize(
    "table",
    [
        rows(1),
        {name: [cells[0]] * 60 if name != "TRANSACTION_ID" else cells for name, cells in rows().items()},
        changed("COUNTRY", "Atlantis"),
        {**rows(), "NOTE": [None] * 60},
        {**rows(), **{f"extra_{i}": [float(i)] * 60 for i in range(500)}},
        {name: cells for name, cells in rows().items() if name != "TX_FRAUD"},
        {**rows(), "TX_DATETIME": pa.array(rows()["TX_DATETIME"], pa.timestamp("ms", "Europe/Berlin"))},
    ],
    ids=["one row", "all alike", "unseen category", "all-missing column", "500 columns", "no label", "time zone"],
)
def test_is_scored_all_the_same(table: Rows, home: Path, tmp_path: Path) -> None:
    result = score(home, parquet(table)(tmp_path))
    assert result.counts["scored"] == len(table["TRANSACTION_ID"])


def labelled(labels: object) -> Callable[[Rows], Rows]:
    return lambda table: {**table, "TX_FRAUD": labels}


TRAINING = {
    "no normal rows": (labelled([1] * 2000), "normal"),
    "too few rows": (lambda table: {name: cells[:50] for name, cells in table.items()}, "min_fit_rows|min_calibration"),
    "no labels yet": (labelled(pa.nulls(2000, pa.int64())), "TX_FRAUD"),
    "giveaway": (
        lambda table: {**table, "CHANNEL": ["bad" if label else "good" for label in table["TX_FRAUD"]]},
        "CHANNEL.*allow_giveaway",
    ),
}


@pytest.mark.parametrize("case", TRAINING)
def test_training_refuses(case: str, small: Path, prefect_server: str, tmp_path: Path) -> None:
    change, message = TRAINING[case]
    table = rows(2000)
    table["TX_FRAUD"] = [int(i % 20 == 0) for i in range(2000)]
    pq.write_table(pa.table(change(table)), tmp_path / "in.parquet")
    text = (small / "assay.toml").read_text()
    (tmp_path / "assay.toml").write_text(re.sub(r"(?m)^path = .*", 'path = "in.parquet"', text))
    with pytest.raises(AssayError, match=message):
        run_flow(tmp_path / "assay.toml", "flows.train:train", table="", first=date(2025, 3, 1), last=None)
    assert not list((tmp_path / "assay-data").glob("runs/*"))
