"""Labels from review: taken in as a whole or not at all, once, and read as cells of transactions are."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from pipeline.errors import ConfigError, InputError
from pipeline.labels.known import Labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.settings.columns import ColumnConfig
from pipeline.settings.config import Config
from pipeline.tables.writing import write_csv
from pipeline.workspace.history import History

NOW = datetime(2025, 3, 10, 12)


def config(key="integer", table=None, validation=None, **contract):
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", "types": {"tx": key}, **contract}
    return Config.model_validate({"contract": roles, "table": table or {}, "validation": validation or {}})


def written(folder, text, name="labels.csv"):
    (folder / name).write_text(text)
    return folder / name


def store(folder, settings=None):
    return ReviewedLabels(folder / "labels", settings or config())


def rows_of(labels):
    return [row for file in labels.files() for row in pq.read_table(file).to_pylist()]


def test_a_file_has_the_typed_labels_and_nothing_else(tmp_path):
    labels = store(tmp_path)
    text = "reviewer,fraud,tx,labelled_at\nann,1,7,2025-03-02\nbob,FALSE,8,2025-03-02T10:00:00+02:00\nann,true,7,\n"
    taken = labels.append(written(tmp_path, text), now=NOW)
    assert (taken.rows, taken.frauds, taken.unknown, taken.is_new) == (3, 2, 2, True)
    assert labels.files() == [taken.file]
    expected = pa.schema({"id": pa.int64(), "label": pa.int8(), "labelled_at": pa.timestamp("us")})
    assert pq.read_schema(taken.file).equals(expected)
    assert rows_of(labels) == [
        {"id": 7, "label": 1, "labelled_at": datetime(2025, 3, 2)},
        {"id": 8, "label": 0, "labelled_at": datetime(2025, 3, 2, 8)},
        {"id": 7, "label": 1, "labelled_at": NOW},
    ]


def test_cells_are_read_as_the_table_section_says(tmp_path):
    table = {"time_zone": "Europe/Berlin", "delimiter": ";", "decimal": ","}
    labels = store(tmp_path, config(key="text", table=table, labelled_at="seen"))
    labels.append(written(tmp_path, "tx;fraud;seen\n007;1,0;01.03.2025 12:00\n"), now=NOW)
    assert rows_of(labels) == [{"id": "007", "label": 1, "labelled_at": datetime(2025, 3, 1, 11)}]


@pytest.mark.parametrize(
    "text",
    [
        "tx;fraud;note\n7;1;stolen, twice\n8;0;\n",
        "tx\tfraud\n7\tYes\n8\tNo\n",
        "\ufefftx;fraud;note\r\n7;ja;\r\n8;nein;\r\n;;\r\n",
        "tx,fraud,note\n7,1,\n8,0,\n9,,not looked at yet\n",
        "tx,fraud,note\n7,fraud,\n8,legit,\n9,pending,\n",
    ],
)
def test_what_a_spreadsheet_makes_of_a_delivery_is_read(tmp_path, text):
    labels = store(tmp_path)
    taken = labels.append(written(tmp_path, text), now=NOW)
    assert [(row["id"], row["label"]) for row in rows_of(labels)] == [(7, 1), (8, 0)]
    assert (taken.rows, taken.frauds, taken.blank) == (2, 1, text.strip().count("\n") - 2)


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ("yes no yes", "'yes' (2) for fraud; 'no' (1) for none"),
        ("Y n N", "'Y' (1) for fraud; 'n' (1), 'N' (1) for none"),
        ("Fraud legit genuine", "'Fraud' (1) for fraud; 'legit' (1), 'genuine' (1) for none"),
        ("1 0 1.0", "'1' (1), '1.0' (1) for fraud; '0' (1) for none"),
        ("FALSE FALSE ?", "'FALSE' (2) for none"),
        ("true_positive False-Positive OK", "'true_positive' (1) for fraud; 'False-Positive' (1), 'OK' (1) for none"),
    ],
)
def test_the_words_that_were_understood_are_told(tmp_path, words, understood):
    cells = "".join(f"{row},{word},\n" for row, word in enumerate(words.split()))
    delivery = written(tmp_path, f"tx,fraud,note\n{cells}7,,\n8,,later\n")
    taken = store(tmp_path).append(delivery, now=NOW)
    assert taken.words == understood
    assert (taken.rows, taken.blank) == (3 - words.count("?"), 2 + words.count("?"))
    assert store(tmp_path).append(delivery, now=NOW).words == taken.words


def test_ids_come_back_as_they_were_before_a_spreadsheet(tmp_path):
    ids = ["=A1", "-7", "a\x1bb", "\u200e12", "'quoted'"]
    write_csv(
        tmp_path / "alerts.csv", [pa.table({"tx": ids, "fraud": [1] * 5})], pa.schema({"tx": "string", "fraud": "int8"})
    )
    labels = store(tmp_path, config(key="text"))
    labels.append(tmp_path / "alerts.csv", now=NOW)
    assert [row["id"] for row in rows_of(labels)] == ids


@pytest.mark.parametrize(("encoding", "sign"), [("cp1252", ";"), ("utf-16", "\t")])
def test_a_spreadsheets_letters_do_not_refuse_a_delivery(tmp_path, encoding, sign):
    text = "tx,fraud,note\n7,1,gestohlen in Köln\n8,0,\n".replace(",", sign)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    labels = store(tmp_path)
    labels.append(tmp_path / "labels.csv", now=NOW)
    assert [(row["id"], row["label"]) for row in rows_of(labels)] == [(7, 1), (8, 0)]


def test_a_label_is_read_in_the_words_of_the_table(tmp_path):
    labels = store(tmp_path, config(table={"label_fraud": ["2"], "label_normal": ["1", ""]}))
    assert labels.append(written(tmp_path, "tx,fraud\n7,2\n8,1\n9,\n"), now=NOW).blank == 1
    assert [(row["id"], row["label"]) for row in rows_of(labels)] == [(7, 1), (8, 0)]
    with pytest.raises(
        InputError, match=r"holds 'yes' .* 2 for fraud, 1 for none, or empty, or a word of label_fraud, .* in every row"
    ):
        labels.append(written(tmp_path, "tx,fraud\n7,yes\n"), now=NOW)


def test_two_labels_of_one_id_at_different_moments_are_no_contradiction(tmp_path):
    labels = store(tmp_path)
    text = "tx,fraud,labelled_at\n1,1,2025-03-01\n1,0,2025-03-02\n1,0,2025-03-02\n"
    assert labels.append(written(tmp_path, text), now=NOW).rows == 3


@pytest.mark.parametrize("name", ["seen", "labelled_at"])
def test_the_moment_may_have_the_contracts_name_or_its_own(tmp_path, name):
    labels = store(tmp_path, config(labelled_at="seen"))
    labels.append(written(tmp_path, f"tx,fraud,{name}\n1,0,2025-03-01\n"), now=NOW)
    assert rows_of(labels)[0]["labelled_at"] == datetime(2025, 3, 1)


def test_parquet_of_any_fitting_type_and_folders_are_taken(tmp_path):
    folder = tmp_path / "delivery"
    folder.mkdir()
    moments = pa.array([NOW.replace(tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC"))
    first = pa.table({"tx": pa.array([1.0, 2.0]), "fraud": [True, False], "labelled_at": moments})
    pq.write_table(first, folder / "a.parquet")
    pq.write_table(first.set_column(0, "tx", pa.array([3.0, 4.0])), folder / "b.parquet")
    labels = store(tmp_path)
    assert labels.append(folder, now=NOW).rows == 4
    assert [(row["id"], row["label"]) for row in rows_of(labels)] == [(1, 1), (2, 0), (3, 1), (4, 0)]


def test_without_a_moment_a_label_counts_from_its_taking_in(tmp_path):
    labels = store(tmp_path)
    zoned = datetime(2025, 3, 10, 13, tzinfo=UTC) + timedelta(hours=1)
    labels.append(written(tmp_path, "tx,fraud\n1,1\n"), now=zoned)
    assert rows_of(labels) == [{"id": 1, "label": 1, "labelled_at": datetime(2025, 3, 10, 14)}]
    before = datetime.now(UTC).replace(tzinfo=None)
    labels.append(written(tmp_path, "tx,fraud\n2,1\n"))
    taken = next(row for row in rows_of(labels) if row["id"] == 2)["labelled_at"]
    assert before <= taken <= datetime.now(UTC).replace(tzinfo=None)


def test_the_same_content_again_changes_nothing_whatever_its_name(tmp_path):
    labels = store(tmp_path)
    first = labels.append(written(tmp_path, "tx,fraud\n1,1\n2,0\n"), now=NOW)
    before = first.file.read_bytes()
    again = labels.append(written(tmp_path, "tx,fraud\n1,1\n2,0\n", "other.csv"), now=NOW + timedelta(days=1))
    assert (again.file, again.rows, again.frauds, again.is_new) == (first.file, 2, 1, False)
    assert labels.files() == [first.file]
    assert first.file.read_bytes() == before
    labels.append(written(tmp_path, "tx,fraud\n1,0\n2,0\n"), now=NOW + timedelta(days=2))
    rows = pa.table({"tx": [1, 2], "at": pa.array([NOW, NOW], pa.timestamp("us"))})
    for after, expected in {0: [1, 0], 1: [1, 0], 2: [0, 0]}.items():
        assert list(Labels(config(), tuple(labels.files())).known(rows, NOW + timedelta(days=after))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tx,fraud\n1,1\nx,0\n", r"labels\.csv: column 'tx' holds 'x' in labels\.csv, source_row 1, .* a whole number"),
        (
            "tx,fraud\n1,1\n2,2\n",
            r"'fraud' holds '2' in labels\.csv, source_row 1, and it is 1, true, yes, y or fraud for .*, or empty,",
        ),
        ("tx,fraud\n1,1\n2,maybe\n", r"'fraud' holds 'maybe' in .*; mend the cell and deliver the table again"),
        ("tx,fraud\n1,1\n,0\n", r"'tx' holds nothing in labels\.csv, source_row 1, and it is needed"),
        ("tx,fraud\n1,\n2,\n", r"has no label in any of its 2 rows; fill in the column 'fraud'"),
        ("tx,fraud\n1,1\n2,1\n1,0\n", "says fraud and not fraud at the same moment of 1 'tx', such as 1; keep one"),
        ("tx;fraud\n1;1\n2;2\n", r"'fraud' holds '2' in labels\.csv, source_row 1"),
        ("tx,fraud,labelled_at\n1,1,2025-03-01\n2,1,soon\n", "'labelled_at' holds 'soon' .* is a timestamp"),
        (
            "tx,fraud,labelled_at\n1,1,2025-03-11T12:00\n2,1,2025-03-11T12:00:01\n",
            r"'2025-03-11T12:00:01' in labels\.csv, source_row 1, .*latest_days_ahead = 1 days after now, 2025-03-10",
        ),
        ("tx,fraud,labelled_at\n1,1,1999-12-31\n", r"'1999-12-31' .* not before validation\.earliest = 2000-01-01"),
        ("tx,fraud\n1,1\n2\n", r"another number of cells than its header in labels\.csv, source_row 1"),
        ("tx,verdict\n1,1\n", r"lacks 'fraud' \(the contract's label\) and has tx, verdict; name its columns"),
        ("id,label\n1,1\n", r"lacks 'tx' \(the contract's id\) and 'fraud' \(the contract's label\)"),
        ("tx,fraud\n", "is empty: it has no rows"),
    ],
)
def test_a_table_with_one_mistake_is_refused_as_a_whole(tmp_path, text, message):
    labels = store(tmp_path, config(validation={"batch_rows": 1}))
    with pytest.raises(InputError, match=message):
        labels.append(written(tmp_path, text), now=NOW)
    assert labels.files() == []
    assert [path.name for path in (tmp_path / "labels").glob("*")] in ([], [".lock"])


def test_the_first_and_the_last_moment_that_a_label_may_have_are_taken(tmp_path):
    labels = store(tmp_path)
    text = "tx,fraud,labelled_at\n1,1,2000-01-01\n2,0,2025-03-11T12:00:00\n"
    labels.append(written(tmp_path, text), now=NOW)
    assert [row["labelled_at"] for row in rows_of(labels)] == [datetime(2000, 1, 1), NOW + timedelta(days=1)]
    late = "tx,fraud,labelled_at\n1,1,2025-03-11T12:00:00.000001\n"
    with pytest.raises(InputError, match="latest_days_ahead = 1 days after now"):
        labels.append(written(tmp_path, late), now=NOW)


def test_a_column_of_a_type_that_never_fits_is_refused(tmp_path):
    table = {"tx": [1], "fraud": pa.array([1], pa.int8()), "labelled_at": pa.array([1_741_000_000])}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="'labelled_at' is of type int64, not a timestamp"):
        store(tmp_path).append(tmp_path / "a.parquet", now=NOW)
    pq.write_table(pa.table({"tx": [[1]], "fraud": [1]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"'tx' is of type list.*cannot be a integer"):
        store(tmp_path).append(tmp_path / "b.parquet", now=NOW)


def test_a_masked_id_is_not_shown(tmp_path):
    with pytest.raises(InputError, match="column 'tx' holds ••• in") as error:
        store(tmp_path, config(sensitive=["tx"])).append(written(tmp_path, "tx,fraud\nsecret,1\n"), now=NOW)
    assert "secret" not in str(error.value)


def test_a_contract_without_a_label_takes_none(tmp_path):
    with pytest.raises(ConfigError, match=r"names no label, .* add label to \[contract\] and train again"):
        store(tmp_path, config(label=None)).append(written(tmp_path, "tx,fraud\n1,1\n"), now=NOW)


def test_labels_taken_in_under_another_type_of_id_are_said(tmp_path):
    taken = store(tmp_path).append(written(tmp_path, "tx,fraud\n1,1\n"), now=NOW)
    later = store(tmp_path, config(key="text"))
    with pytest.raises(ConfigError, match=rf"{taken.file.name} has labels of ids of type int64, .* now says string"):
        later.files()
    with pytest.raises(ConfigError, match=r"put contract\.types back"):
        later.append(written(tmp_path, "tx,fraud\n2,1\n"), now=NOW)


def test_ids_that_the_history_lacks_are_counted_once(tmp_path):
    settings = config(id='t"x', types={'t"x': "text"})
    history = History(tmp_path / "history", settings)
    rows = pa.table({'t"x': ["a", "b"], "at": pa.array([NOW, NOW], pa.timestamp("us")), "eur": [1.0, 2.0]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    history.append(tmp_path / "rows.parquet", "batch")
    labels = store(tmp_path, settings)
    pq.write_table(pa.table({'t"x': list("abccd"), "fraud": [1, 0, 1, 1, 1]}), tmp_path / "labels.parquet")
    assert labels.append(tmp_path / "labels.parquet", history.files(None, None), now=NOW).unknown == 2
    assert labels.append(tmp_path / "labels.parquet", now=NOW).unknown == 4


def test_one_process_writes_at_a_time(tmp_path):
    labels = store(tmp_path)
    path = written(tmp_path, "tx,fraud\n1,1\n")
    labels.folder.mkdir()
    with FileLock(labels.folder / ".lock"):
        writer = Thread(target=labels.append, args=(path,), kwargs={"now": NOW})
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert labels.files() == []
    writer.join(30)
    assert len(labels.files()) == 1


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def full(*given):
        raise OSError("disk full")

    labels = store(tmp_path)
    path = written(tmp_path, "tx,fraud\n1,1\n")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tables.writing.ParquetWriter.write", full)
        with pytest.raises(OSError, match="disk full"):
            labels.append(path, now=NOW)
    assert [file.name for file in labels.folder.iterdir()] == [".lock"]
    assert labels.append(path, now=NOW).is_new


SHEET = """tx,fraud,rank,note
{id},{label},{rank},note
7,1,1,
8,,2,
9,0,3,
"""


def titled(**columns):
    return config(key="text").model_copy(
        update={"columns": {name: ColumnConfig(title=title) for name, title in columns.items()}}
    )


@pytest.mark.parametrize(
    ("settings", "cells"),
    [
        (titled(tx="=Number", fraud="Fraud"), {"id": "'=Number", "label": "Fraud", "rank": "rank"}),
        # A spreadsheet that leaves Assay's own columns out, and one with the titles of another day.
        (titled(tx="Number", fraud="Fraud"), {"id": "Number ", "label": "Fraud", "rank": ""}),
        (titled(fraud="Checked"), {"id": "tx", "label": "Fraud", "rank": "rank"}),
        (config(key="text"), {"id": "Number", "label": "Fraud", "rank": "rank"}),
        (config(), {"id": "Number", "label": "Fraud", "rank": "rank"}),
    ],
)
def test_a_second_header_row_is_no_label(tmp_path, settings, cells):
    labels = store(tmp_path, settings)
    taken = labels.append(written(tmp_path, SHEET.format(**cells)), now=NOW)
    assert [(str(row["id"]), row["label"]) for row in rows_of(labels)] == [("7", 1), ("9", 0)]
    assert (taken.rows, taken.blank, taken.words) == (2, 1, "'1' (1) for fraud; '0' (1) for none")


def test_a_first_row_that_is_no_header_is_a_label(tmp_path):
    labels = store(tmp_path, titled(tx="Number", fraud="Fraud"))
    labels.append(written(tmp_path, SHEET.format(id="Number", label="1", rank="4")), now=NOW)
    assert [row["id"] for row in rows_of(labels)] == ["Number", "7", "9"]


def test_a_broken_cell_below_a_second_header_row_is_told_where_it_is(tmp_path):
    text = "tx,fraud,rank\nNumber,Fraud,rank\n7,1,1\n8,what,2\n"
    with pytest.raises(InputError, match=r"'fraud' holds 'what' in labels.csv, source_row 2"):
        store(tmp_path).append(written(tmp_path, text), now=NOW)
