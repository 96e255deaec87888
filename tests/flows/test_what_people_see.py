"""Hostile and sensitive values on their way through the commands: what people see of them, and what they don't."""

import logging
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from pipeline.settings.config import Config
from pipeline.settings.file import write_config
from pipeline.settings.pseudonyms import Pseudonyms
from tests.flows.assay import client_of, run
from tests.pipeline.fitted import config, transactions

SECRET = re.compile(r"(?<!ASSAY_WEBHOOK_)(?<!ASSAY_OIDC_)SECRET|(?<![\d.])8[ ,]?675[ ,]?3\d\d(?!\d)|(?<!\d)8\.68e\+06")
"""What sensitive cells hold, and their numbers in every spelling."""
ACTING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
"""What a terminal acts on."""
HOSTILE = ["<script>alert(1)</script>", "\x1b[31mred\x07", "=1+1", "root:x:0", "a\nb", "\u202egnp"]
ODD = "km <b>\x1b[2J:x: [/red]"
CHANNEL = "way <b>\x1b[2J|`"


def table(first_id: int, seed: int) -> pa.Table:
    """Rows with a sensitive column of each kind, some of them missing, and hostile cells and names elsewhere."""
    rows = transactions(1500, seed, first_id=first_id)
    generator = np.random.default_rng(seed)
    cards = pa.array([f"SECRET{card}" for card in rows["card"].to_pylist()])
    rows = rows.set_column(rows.schema.get_field_index("card"), "card", cards)
    rows = rows.set_column(
        rows.schema.get_field_index("channel"), CHANNEL, pa.array(generator.choice([*HOSTILE, "web"], 1500))
    )
    kinds = generator.choice(["SECRET-a", "SECRET-b", "SECRET-c"], 1500)
    rows = rows.append_column("iban", pa.array(kinds, mask=generator.random(1500) < 0.03))
    weights = 8_675_300.0 + generator.integers(0, 99, 1500)
    rows = rows.append_column("weight", pa.array(weights, mask=generator.random(1500) < 0.03))
    rows = rows.append_column("holder", pa.array([f"SECRET {number}" for number in range(1500)]))
    return rows.append_column(ODD, pa.array(generator.gamma(2, 3, 1500)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("eyes")
    roles = {"categorical": (CHANNEL, "iban"), "numeric": ("weight", ODD), "ignored": ("holder", "note")}
    families = ("amount", "columns", "change", "recency", "activity", "peers")
    return config(
        contract={**roles, "sensitive": ("card", "iban", "weight", "holder")},
        features={"families": families, "windows_days": (7,)},
        threshold={"false_alert_rate": 0.05},
        audit={"share": 0.05},
        training={"allow_giveaway": ("eur",)},
        name="eyes",
        work_dir=str(folder / "assay-data"),
        table={"incoming": str(folder / "incoming")},
        tuning={"families": ("pca",), "trials": 1},
        prefect=False,
    )


@pytest.fixture(scope="module")
def outputs(settings: Config) -> list[str]:
    """What the commands print, on a table and on what is refused, on one after the other."""
    folder = Path(settings.work_dir).parent
    (folder / "assay.toml").write_text(write_config(settings))
    past, day, broken = (folder / f"{name} \x1b[31m<b>:x:.parquet" for name in ("past", "day", "broken"))
    pq.write_table(table(0, 0), past)
    pq.write_table(table(9000, 1), day)
    pq.write_table(table(20_000, 2).set_column(0, "tx", pa.array([7] * 1500)), broken)
    words, last = ["--config", folder / "assay.toml"], date(2025, 3, 22)
    trained = run("train", past, *words, "--to", last)
    scored = run("score", day, *words)
    results = [
        trained,
        scored,
        run("features", day, *words, "--out", folder / "features.parquet"),
        run("reconstruct", day, *words, "--out", folder / "expected.parquet"),
        run("encode", day, *words, "--out", folder / "codes.parquet"),
        run("threshold", *words, "--capacity", 20, "--segment", CHANNEL),
        run("compare", *words, "--table", past),
        run(
            "promote",
            "candidate",
            *words,
            "--table",
            folder / "gone \x9b2J.csv",
            "--force",
            "--why",
            "as \x1b[2J<b> said",
        ),
        run("history", *words),
        run("backtest", past, *words, "--train-days", 12, "--by", CHANNEL),
        run("tune", past, *words),
    ]
    assert [result.exit_code for result in results] == [0] * 11, "".join(result.output for result in results)
    refused = [
        run("label", labels_of(folder), *words),
        run("score", day, *words, "--version", "9\x1b[2J"),
        run("validate", broken, *words, "--out", folder / "validated"),
    ]
    assert [result.exit_code for result in refused] == [1, 1, 1], "".join(result.output for result in refused)
    return [result.output for result in (*results, *refused)]


def labels_of(folder: Path) -> Path:
    """Write labels that nobody understands, under a name that acts, and return where."""
    path = folder / "labels \x9b2J.csv"
    path.write_text("tx,fraud\n9000,\x1b[2Jperhaps\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_of_server(settings: Config, outputs: list[str], prefect_server: str) -> str:
    """What a server and the logs show of a run on new files, one of them good."""
    from prefect.client.orchestration import get_client

    folder = Path(settings.work_dir).parent
    incoming = folder / "incoming"
    incoming.mkdir()
    pq.write_table(table(30_000, 3), incoming / "good \x1b[2J<b>`.parquet")
    rows = table(40_000, 4)
    rows = rows.rename_columns([f"{name}\x9b2J" for name in rows.column_names])
    pq.write_table(rows, incoming / "renamed\u202e.parquet")
    (incoming / "cut\x1b[2J.parquet").write_bytes(b"PAR1\x1b[2JSECRET")
    (folder / "server.toml").write_text(write_config(settings.model_copy(update={"prefect": True})))
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    loggers = [
        logging.getLogger(name) for name in ("prefect", "prefect.assay", "prefect.flow_runs", "prefect.task_runs")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        result = run("score", "--incoming", "--config", folder / "server.toml")
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    assert result.exit_code == 1, result.output
    assert "2 of 3 new files refused" in " ".join(result.output.split())
    with get_client(sync_client=True) as client:
        artifacts = [str(artifact.data) for artifact in client.read_artifacts()]
        runs = client.read_flow_runs()
        shown = [f"{each.name} {each.state.message}" for each in runs if each.state]
    assert any("good" in text for text in artifacts)
    assert any("renamed" in line for line in lines)
    return "\n".join([result.output, *artifacts, *shown, *lines])


def words_of_store(settings: Config) -> Iterator[tuple[str, str]]:
    """Yield every word that MLflow's pages show of runs and versions, with what it is."""
    client = client_of(Path(settings.work_dir).parent)
    for experiment in client.search_experiments():
        for each in client.search_runs([experiment.experiment_id]):
            yield "name", str(each.info.run_name)
            yield from each.data.tags.items()
            yield from ((f"parameter {name}", value) for name, value in each.data.params.items())
            yield from (("dataset", item.dataset.name) for item in each.inputs.dataset_inputs)
    for model in client.search_registered_models():
        yield "description", str(model.description)
    for version in client.search_model_versions():
        yield "description", str(version.description)
        yield from version.tags.items()


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


def test_no_sensitive_value_is_in_what_people_see(settings: Config, outputs: list[str], run_of_server: str) -> None:
    seen = dict(texts(settings))
    names = {path.name for path in seen}
    assert {"report.html", "alerts.csv", "audit.csv", "mlflow.db", "ledger.db", "index.html", "config.json"} <= names
    assert {path.name for path, text in seen.items() if SECRET.search(text)} == set()
    assert not [output for output in (*outputs, run_of_server) if SECRET.search(output)]
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


def test_no_hostile_value_acts_where_it_is_shown(settings: Config, outputs: list[str], run_of_server: str) -> None:
    assert not [output for output in outputs if ACTING.search(output)]
    assert not ACTING.search(run_of_server), ACTING.sub("@@@@", run_of_server)
    assert "broken \\x1b[31m<b>:x:.parquet" in outputs[-1]
    pages = [(path, text) for path, text in texts(settings) if path.suffix == ".html"]
    assert {"report.html", "index.html", "comparison.html"} <= {path.name for path, _ in pages}
    for path, text in pages:
        assert text.count("<script") <= 1, path
        assert "<script>alert" not in text, path
        assert "km <b>" not in text, path
        assert "way <b>" not in text, path
    for path, text in texts(settings):
        if path.suffix in (".html", ".svg", ".json", ".md", ".toml", ".yaml", ".txt"):
            assert not ACTING.search(text), path
        if path.suffix == ".svg":
            assert ET.fromstring(text) is not None, path  # noqa: S314 (our own)
    written = [(path, text) for path, text in texts(settings) if path.name in ("alerts.csv", "audit.csv")]
    assert len(written) >= 4
    for path, text in written:
        assert not ACTING.search(re.sub("[\t\r]", "", text)), path
        assert '"=1+1"' not in text, path


def test_no_hostile_value_acts_in_the_store(settings: Config, outputs: list[str]) -> None:
    words = list(words_of_store(settings))
    assert not [(name, text) for name, text in words if ACTING.search(text)]
    in_markdown = [text for name, text in words if name in ("description", "mlflow.note.content")]
    assert any("way" in text for text in in_markdown)
    assert not [text for text in in_markdown if "<" in text]
