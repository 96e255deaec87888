"""The demo: simulated transactions through everything, once."""

import shutil
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows import console
from flows.run import run_flow
from pipeline.inference.roles import infer
from pipeline.settings.config import TableConfig
from pipeline.settings.file import write_config
from pipeline.simulation import Simulation, simulate
from pipeline.tables.reading import open_table
from pipeline.tables.writing import write_text

if TYPE_CHECKING:
    from flows.score import BatchResult
    from flows.train import TrainingResult

DAYS = 61  # one more than features look back, so that the last day's past is whole
WARM_UP_DAYS = 30  # what came before the training period fills the windows that features look back over


def run_demo(work_dir: Path, *, rows: int, seed: int) -> Path:
    """Simulate 61 days, train on days whose labels are known, score the last day, and print what came out.

    Parameters
    ----------
    work_dir : Path
        Work folder; the demo's table and configuration go into its folder ``demo``.
    rows : int
        Transactions to simulate.
    seed : int

    Returns
    -------
    Path
        The configuration.
    """
    folder = work_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "assay.toml"
    with console.live():
        with console.step("simulate", total=rows) as on_rows:
            simulation = simulate(folder / "transactions.parquet", rows=rows, days=DAYS, seed=seed, on_rows=on_rows)
        with console.step("infer the contract"):
            _configure(simulation, config)
    delay = timedelta(days=7)
    train: TrainingResult = run_flow(
        config,
        "flows.train:train",
        table="",
        first=simulation.first_day + timedelta(days=WARM_UP_DAYS),
        last=simulation.last_day - delay - timedelta(days=1),
    )
    score: BatchResult = run_flow(
        config,
        "flows.score:score",
        table="",
        first=simulation.last_day,
        last=simulation.last_day,
        version=train.version,
        force=True,
    )
    _show(simulation, config, train, score)
    return config


def _configure(simulation: Simulation, config: Path) -> None:
    """Write the configuration that `assay init` would write for named entities, with a suite of the demo's own."""
    shutil.copyfile(str(files("expectations") / "demo.json"), config.parent / "suite.json")
    inferred, reasons, _ = infer(
        open_table(simulation.path, TableConfig()),
        settings=TableConfig(path=simulation.path.name),
        entities=("CUSTOMER_ID", "TERMINAL_ID"),
        label="TX_FRAUD",
        name="demo",
    )
    validation = inferred.validation.model_copy(update={"suite": "suite.json"})
    table = inferred.table.model_copy(update={"path": simulation.path.name})
    update = {"work_dir": "..", "validation": validation, "table": table}
    write_text(config, write_config(inferred.model_copy(update=update), reasons))


def _show(simulation: Simulation, config: Path, train: "TrainingResult", score: "BatchResult") -> None:
    """Print the short table that the demo ends with."""
    day = simulation.last_day
    scores = pq.read_table(score.folder / "scores.parquet", columns=["TRANSACTION_ID", "is_flagged"])
    fraud = pc.is_in(scores.column("TRANSACTION_ID"), value_set=pa.array(simulation.fraud_ids))
    caught = pc.sum(pc.and_(fraud, scores.column("is_flagged"))).as_py()
    rows = dict(score.counts)
    console.table(f"Training ({train.period})", train.counts)
    console.table(
        f"Scoring, the last day ({day})",
        {
            **rows,
            "flagged that are fraud": f"{caught:,} of {rows['flagged']:,} (only a simulation can know so soon)",
            "fraud in all": pc.sum(fraud).as_py(),
            "expected": score.screen.tables["Alerts"]["expected"],
        },
    )
    console.table(
        "Where",
        {
            "report of the batch": f"{score.folder}/report.html",
            "alerts": f"{score.folder}/alerts.csv",
            "all scores": f"{score.folder}/scores.parquet",
            "quarantine": f"{score.folder}/quarantine.parquet",
            "report of the training": f"{train.folder}/report.html",
            "configuration": str(config),
        },
    )
    console.commands(
        "Next",
        [
            f"assay review --config {config}   # the analysts' desk, in the browser",
            train.ui,
            f"assay score --config {config} --from {day} --to {day}   # recognised: nothing twice",
            "assay init YOUR_TABLE --label YOUR_LABEL",
        ],
    )
