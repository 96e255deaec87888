"""Hostile and sensitive values on their way through the commands: what people see of them, and what they don't."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from pipeline.settings.config import Config
from pipeline.settings.file import write_config
from pipeline.settings.pseudonyms import Pseudonyms
from tests.flows.assay import run
from tests.pipeline.fitted import config, transactions

SECRET = re.compile(r"SECRET|(?<![\d.])8[ ,]?675[ ,]?3\d\d(?!\d)|(?<!\d)8\.68e\+06")
"""What sensitive cells hold, and their numbers in every spelling."""
ACTING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
"""What a terminal acts on."""
HOSTILE = ["<script>alert(1)</script>", "\x1b[31mred\x07", "=1+1", "root:x:0", "a\nb", "\u202egnp"]
ODD = "km <b>\x1b[2J:x: [/red]"


def table(first_id: int, seed: int) -> pa.Table:
    """Rows with a sensitive column of each kind, some of them missing, and hostile cells and names elsewhere."""
    rows = transactions(1500, seed, first_id=first_id)
    generator = np.random.default_rng(seed)
    secret = {
        "card": pa.array([f"SECRET{card}" for card in rows["card"].to_pylist()]),
        "channel": pa.array(generator.choice([*HOSTILE, "web"], 1500)),
    }
    for name, column in secret.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    kinds = generator.choice(["SECRET-a", "SECRET-b", "SECRET-c"], 1500)
    rows = rows.append_column("iban", pa.array(kinds, mask=generator.random(1500) < 0.03))
    weights = 8_675_300.0 + generator.integers(0, 99, 1500)
    rows = rows.append_column("weight", pa.array(weights, mask=generator.random(1500) < 0.03))
    rows = rows.append_column("holder", pa.array([f"SECRET {number}" for number in range(1500)]))
    return rows.append_column(ODD, pa.array(generator.gamma(2, 3, 1500)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("eyes")
    roles = {"categorical": ("channel", "iban"), "numeric": ("weight", ODD), "ignored": ("holder", "note")}
    families = ("amount", "columns", "change", "recency", "activity", "peers")
    return config(
        contract={**roles, "sensitive": ("card", "iban", "weight", "holder")},
        features={"families": families, "windows_days": (7,)},
        threshold={"false_alert_rate": 0.05},
        audit={"share": 0.05},
        training={"allow_giveaway": ("eur",)},
        name="eyes",
        work_dir=str(folder / "work"),
        prefect=False,
    )


@pytest.fixture(scope="module")
def outputs(settings: Config) -> list[str]:
    """What the commands print, on a table and on one that is refused."""
    folder = Path(settings.work_dir).parent
    (folder / "assay.toml").write_text(write_config(settings))
    pq.write_table(table(0, 0), folder / "past.parquet")
    pq.write_table(table(9000, 1), folder / "day \x1b[31m<b>:x:.parquet")
    broken = table(20_000, 2).set_column(0, "tx", pa.array([7] * 1500))
    pq.write_table(broken, folder / "broken\x1b[2J.parquet")
    words = ["--config", folder / "assay.toml"]
    day = folder / "day \x1b[31m<b>:x:.parquet"
    results = [
        run("train", folder / "past.parquet", *words),
        run("score", day, *words),
        run("features", day, *words, "--out", folder / "features.parquet"),
        run("reconstruct", day, *words, "--out", folder / "expected.parquet"),
        run("encode", day, *words, "--out", folder / "codes.parquet"),
        run("validate", folder / "broken\x1b[2J.parquet", *words, "--out", folder / "validated"),
    ]
    assert [result.exit_code for result in results] == [0, 0, 0, 0, 0, 1], "".join(result.output for result in results)
    return [result.output for result in results]


def texts(settings: Config) -> Iterator[tuple[Path, str]]:
    """Yield every file that is for people, and the MLflow store, as text."""
    root = Path(settings.work_dir).parent
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).parts
        # What a model learned, and rows on their way, are in clear; keys and scratch are for programs.
        if not path.is_file() or path.suffix in (".parquet", ".key") or "detector" in inner or "models" in inner:
            continue
        yield path, path.read_bytes().decode(errors="replace")
    for name in ("features", "expected", "codes"):
        yield root / f"{name}.parquet", str(pq.read_table(root / f"{name}.parquet").to_pydict())


def test_no_sensitive_value_is_in_what_people_see(settings: Config, outputs: list[str]) -> None:
    seen = dict(texts(settings))
    names = {path.name for path in seen}
    assert {"report.html", "alerts.csv", "audit.csv", "mlflow.db", "ledger.db", "index.html", "config.json"} <= names
    assert {path.name for path, text in seen.items() if SECRET.search(text)} == set()
    assert not [output for output in outputs if SECRET.search(output)]
    clear = pq.read_table(next(Path(settings.work_dir).glob("batches/*/alerts.parquet")))
    assert SECRET.search(str(clear.to_pydict()))  # the search finds what is there


def test_a_sensitive_card_has_one_pseudonym_everywhere(settings: Config, outputs: list[str]) -> None:
    batch = next(Path(settings.work_dir).glob("batches/*"))
    cards = pq.read_table(batch / "alerts.parquet")["card"].to_pylist()
    pseudonyms = [Pseudonyms(settings.work_dir).of(card) for card in cards]
    sheet = pacsv.read_csv(batch / "alerts.csv", parse_options=pacsv.ParseOptions(newlines_in_values=True))
    assert sheet["card"].cast(pa.string()).to_pylist() == pseudonyms
    page = (batch / "report.html").read_text()
    assert all(f"<dd>{pseudonym}</dd>" in page for pseudonym in pseudonyms)
    exported = pq.read_table(Path(settings.work_dir).parent / "features.parquet")
    assert set(pseudonyms) <= set(exported["card"].to_pylist())


def test_no_hostile_value_acts_where_it_is_shown(settings: Config, outputs: list[str]) -> None:
    assert not [output for output in outputs if ACTING.search(output)]
    assert "broken\\x1b[2J.parquet" in outputs[-1]
    pages = [(path, text) for path, text in texts(settings) if path.suffix == ".html"]
    assert len(pages) >= 4
    for path, text in pages:
        assert text.count("<script") <= 1, path
        assert "<script>alert" not in text, path
        assert "<b>\x1b" not in text, path
        assert "km <b>" not in text, path
    batch = next(Path(settings.work_dir).glob("batches/*"))
    for name in ("alerts.csv", "audit.csv"):
        assert '"=1+1"' not in (batch / name).read_text()
