"""The backtest flow: validate, features once for the whole period, then fit and test block after block."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prefect import flow
from prefect.artifacts import create_link_artifact
from prefect.states import Failed

from flows import console
from flows.stages import say_what_to_do, stage, validate
from pipeline import features as behaviour
from pipeline.detector.family import build_model
from pipeline.errors import AssayError, ConfigError
from pipeline.evaluation.backtest import Block, Tested, blocks, run, scores_table
from pipeline.evaluation.measures import measure
from pipeline.evaluation.results import Measures, Result, counts, figures, summarise
from pipeline.inference.giveaways import refuse_giveaways
from pipeline.labels.known import latest_moment
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.pages.backtest import agreements, render_backtest
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import batch_id
from pipeline.tables.parquet import span
from pipeline.tables.period import Period, local_days
from pipeline.tables.reading import open_table
from pipeline.tables.writing import ParquetWriter, write_text
from pipeline.tracking.backtests import BacktestRun, backtest_run
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.history import History


@flow(name="assay-backtest", flow_run_name="backtest-{config_path}", on_failure=[say_what_to_do])
def backtest(
    config_path: str,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    train_days: int = 7,
    test_days: int = 7,
    leave_out_known: bool = True,
    segment: str = "",
    stability: bool = False,
) -> Any:
    """Train on a block, wait the label delay, test on the next, roll forward; nothing is registered or remembered.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    table : str
        File or folder; the configuration's ``table.path`` when empty.
    first, last : date, optional
        The first day to train on and the last to test on; rows before it serve as history.
    train_days, test_days : int
    leave_out_known : bool
        Leave cards out of a test once a fraud of theirs is known.
    segment : str
        A column whose values are measured apart.
    stability : bool
        Fit each block with another seed, too, and compare.
    """
    try:
        config = read_config(config_path)
        asked = {
            "train_days": train_days,
            "test_days": test_days,
            "leave_out_known": leave_out_known,
            "segment": segment,
            "stability": stability,
        }
        return _backtest(config, table or config.table.path, first, last, asked)
    except AssayError as error:
        return Failed(message=str(error))


def _backtest(
    config: Config, path: str, first: date | None, last: date | None, asked: dict[str, Any]
) -> dict[str, Any]:
    build_model(config.model)  # a wrong name or option shall not wait for the features
    work, period = WorkFolder(config), Period.of_days(first, last, config.table.time_zone)
    with console.step("read"):
        table = open_table(path, config.table)
        digest = table.digest()
    if asked["segment"] and asked["segment"] not in config.contract.columns:
        raise ConfigError(
            f"--by {asked['segment']} is no column of the contract; it has {', '.join(sorted(config.contract.columns))}"
        )
    if asked["segment"] in config.contract.sensitive:
        raise ConfigError(
            f"--by {asked['segment']} is a sensitive column, and its values would stand in clear in the page and in "
            "MLflow; name one that is not, or take it out of contract.sensitive"
        )
    batch = batch_id(digest, period, config.contract)
    reviewed = ReviewedLabels(work.labels, config).files()
    final = work.backtests / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{batch}"
    with work.staged(final) as folder:
        validated = validate(table, config, folder, batch, period)
        refuse_giveaways(validated.accepted, config)
        start, end = span(validated.accepted, config.contract.timestamp)
        planned = _plan(config, first, last, start, end, asked)
        rows = all_features(validated.accepted, validated.lookback, config, folder, reviewed)
        moment = latest_moment(end, config, reviewed)
        settings = {**asked, "from": str(planned[0].train_first), "to": str(planned[-1].test_last)}
        with backtest_run(config, settings, {"batch_id": batch, "data_digest": digest}) as tracked:
            tested, measured = fit_and_test(rows, planned, config, folder, reviewed, moment, asked, tracked)
            with console.step("measure all blocks"):
                result = summarise(tested, measured)
            settings |= {"table": str(table.path), "digest": digest, "measured_as_of": moment.isoformat()}
            _write(result, config, folder, settings, tracked)
    create_link_artifact(key="assay-backtest", link=(final / "report.html").as_uri(), link_text="backtest")
    return _shown(result, final, asked["segment"], tracked.run_id)


def _plan(
    config: Config, first: date | None, last: date | None, start: datetime, end: datetime, asked: dict[str, Any]
) -> list[Block]:
    """Return the blocks of the period asked for, as far as the table has rows of it."""
    import pyarrow as pa

    days = local_days(pa.array([start, end], pa.timestamp("us")), config.table.time_zone).tolist()
    return blocks(
        first or days[0],
        min(last, days[1]) if last else days[1],
        asked["train_days"],
        asked["test_days"],
        config.features.label_delay_days,
        config.table.time_zone,
    )


@stage(name="features")
def all_features(accepted: Path, lookback: Path, config: Config, folder: Path, reviewed: Sequence[Path]) -> Path:
    """Compute the features of the whole period once; the history is read and not added to."""
    with console.step("features"):
        stored = History(WorkFolder(config).history, config).behind(*span(accepted, config.contract.timestamp))
        return behaviour.compute(accepted, [*stored, lookback], config, folder / ".features.parquet", reviewed)


@stage(name="train and test")
def fit_and_test(
    rows: Path,
    planned: Sequence[Block],
    config: Config,
    folder: Path,
    reviewed: Sequence[Path],
    moment: datetime,
    asked: dict[str, Any],
    tracked: BacktestRun,
) -> tuple[list[Tested], list[Measures]]:
    """Fit and test every block, and log each as it is done."""
    tested: list[Tested] = []
    measured: list[Measures] = []
    scratch = folder / ".blocks"
    scratch.mkdir()
    with console.step("train and test", total=len(planned), unit=f"of {len(planned)} blocks") as on_blocks:
        for item in run(
            rows,
            planned,
            config,
            scratch,
            reviewed=reviewed,
            measured_as_of=moment,
            leave_out_known=asked["leave_out_known"],
            segment=asked["segment"],
            fit_again=asked["stability"],
        ):
            tested.append(item)
            measured.append(measure(item.outcomes))
            agree = {f"before_{name}": value for name, value in (item.before.figures if item.before else {}).items()}
            agree |= {f"seeds_{name}": value for name, value in (item.again.figures if item.again else {}).items()}
            numbers = {"threshold": item.threshold, "fit_seconds": item.seconds, **counts(item)}
            days = {"train": f"{item.block.train_first} to {item.block.train_last}", "test": item.block.name}
            tracked.log_block(item.block.number, item.block.name, {**figures(measured[-1]), **numbers, **agree}, days)
            on_blocks(1)
    if not tested:
        raise AssayError("no block has rows both to train and to test on; give another period, or longer blocks")
    return tested, measured


def _write(result: Result, config: Config, folder: Path, settings: dict[str, Any], tracked: BacktestRun) -> None:
    """Write the tables and the page, and log them."""
    pq.write_table(result.table(), folder / "measures.parquet")
    scores = scores_table(result.tested, config)
    with ParquetWriter(folder / "scores.parquet", scores.schema) as writer:
        writer.write(scores)
    write_text(folder / "backtest.json", result.to_json(settings))
    facts = {name.replace("_", " "): str(value) for name, value in settings.items() if value != ""}
    page = render_backtest(
        result,
        title=f"{config.name}: backtest",
        subtitle=f"{Path(settings['table']).name}, {settings['from']} to {settings['to']}, {len(result.tested)} tests",
        notes=_notes(result),
        facts={**facts, "model": config.model.name, "MLflow run": tracked.run_id},
        segment=settings["segment"],
    )
    write_text(folder / "report.html", page)
    files = [folder / name for name in ("report.html", "backtest.json", "measures.parquet")]
    tracked.log_result(result.figures, files)


def _notes(result: Result) -> list[str]:
    """Return what a reader has to know besides the figures."""
    of = [counts(item) for item in result.tested]
    left_out, unknown, rows = (sum(each[name] for each in of) for name in ("left_out", "without_label", "rows"))
    notes = []
    if left_out:
        frauds = sum(each["left_out_frauds"] for each in of)
        notes.append(
            f"{left_out:,} test rows, {frauds:,} of them fraud, are left out: their card had a fraud since the "
            "training block began that was known before the row's day."
        )
    if unknown:
        notes.append(
            f"{unknown:,} of {rows:,} test rows have no known label: they count as alerts where they are flagged, and "
            "neither as fraud nor as normal."
        )
    return notes


def _shown(result: Result, final: Path, segment: str, run_id: str) -> dict[str, Any]:
    """Return what the terminal shows."""
    years = " to ".join(sorted({str(item.block.test_first.year) for item in result.tested}))
    brief = [{name: text for name, text in row.items() if name != "rows"} for row in result.rows]
    grids = {f"Tests in {years}, each by a model of the days before": brief}
    if result.segment_rows:
        grids[f"By {segment}, all tests together"] = result.segment_rows
    k = result.k
    legend = (
        f"AP: average precision. CP@{k}: share of the {k} most suspicious cards a day with a fraud. money: share of "
        f"the fraudulent amount flagged. In the last row AUROC and AP are the means over the tests. {result.left_out}"
    )
    agree = dict(agreements(result)[-2:]) if result.tested[-1].again else dict(agreements(result)[-1:])
    where = {name: str(final / name) for name in ("report.html", "measures.parquet", "scores.parquet", "backtest.json")}
    return {
        "grids": grids,
        "notes": [*_notes(result), legend],
        "tables": {**({"How far models agree": agree} if agree else {}), "Where": {**where, "MLflow run": run_id}},
        "folder": str(final),
        "figures": result.figures,
    }
