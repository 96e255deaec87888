"""The backtest flow: take the table in, features for the whole period at once, then fit and test block by block."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prefect import flow
from prefect.states import Failed, State

from flows import console
from flows.console import Screen
from flows.stages import run_name, say_what_to_do, show_on_server, stage
from pipeline.detector.family import build_model
from pipeline.errors import AssayError, ConfigError
from pipeline.evaluation.backtest import Block, Tested, blocks, run_blocks, scores_table
from pipeline.evaluation.measures import measure
from pipeline.evaluation.results import Measures, Result, counts, figures, summarise
from pipeline.inference.giveaways import refuse_giveaways
from pipeline.intake import TakenIn, take_in
from pipeline.pages.backtest import agreements, render_backtest
from pipeline.pages.validation import data_docs
from pipeline.selection.recovery import at_work, recover, tags_of
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import Batch
from pipeline.tables.parquet import span
from pipeline.tables.period import Period, local_days
from pipeline.tables.writing import ParquetWriter, write_text
from pipeline.tracking.backtests import BacktestRun, backtest_run
from pipeline.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """What came of a backtest.

    Parameters
    ----------
    folder : Path
        Where its outputs lie.
    figures : mapping of str to float
        Measures of all tests together, by the name they are logged under.
    screen : Screen
    """

    folder: Path
    figures: Mapping[str, float]
    screen: Screen


@dataclass(frozen=True, kw_only=True)
class Design:
    """How blocks are cut and measured.

    Parameters
    ----------
    train_days, test_days : int
    leave_out_known : bool
        Leave cards out of a test once a fraud of theirs is known.
    segment : str
        A column whose values are measured apart.
    stability : bool
        Fit each block with another seed, too, and compare.
    """

    train_days: int = 7
    test_days: int = 7
    leave_out_known: bool = True
    segment: str = ""
    stability: bool = False


@flow(name="assay-backtest", flow_run_name=run_name("backtest"), on_failure=[say_what_to_do])
def backtest(
    config_path: str,
    *,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    train_days: int = 7,
    test_days: int = 7,
    leave_out_known: bool = True,
    segment: str = "",
    stability: bool = False,
) -> BacktestResult | State:
    """Train on a block, wait the label delay, test on the next, roll forward; nothing is registered or remembered.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    table : str
        File or folder; the configuration's ``table.path`` when empty.
    first, last : date, optional
        The first day to train on and the last to test on; rows before it serve as history.
    train_days, test_days, leave_out_known, segment, stability
        See `Design`.
    """
    try:
        config = read_config(config_path)
        build_model(config.model)  # a wrong name or option shall not wait for the features
        design = Design(
            train_days=train_days,
            test_days=test_days,
            leave_out_known=leave_out_known,
            segment=segment,
            stability=stability,
        )
        _check_segment(segment, config)
        for sentence in recover(config):
            console.warning(sentence)
        with console.step("read"):
            batch = Batch.of(table or config.table.path, config, Period.of_days(first, last, config.table.time_zone))
        return _backtest(batch, Workspace(config), design, first=first, last=last)
    except AssayError as error:
        return Failed(message=str(error))


def _check_segment(segment: str, config: Config) -> None:
    if segment and segment not in config.contract.columns:
        raise ConfigError(
            f"--by {segment} is no column of the contract; it has {', '.join(sorted(config.contract.columns))}"
        )
    if segment in config.contract.sensitive:
        raise ConfigError(
            f"--by {segment} is a sensitive column, and its values would stand in clear in the page and in "
            "MLflow; name one that is not, or take it out of contract.sensitive"
        )


def _backtest(
    batch: Batch, workspace: Workspace, design: Design, *, first: date | None, last: date | None
) -> BacktestResult:
    config, work = workspace.config, workspace.folder
    final = work.backtests / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{batch.id}"
    with work.staged(final) as folder:
        plan: list[Block] = []

        def check(accepted: Path) -> None:
            """Refuse what cannot be tested on before features are computed."""
            refuse_giveaways(accepted, config)
            ends = span(accepted, config.contract.timestamp)
            plan.extend(_plan(config, design, ends, first=first, last=last))

        intake = take_in_period(batch, workspace, folder, check)
        moment = intake.labels.latest_moment(intake.last)
        settings = {**asdict(design), "from": str(plan[0].train_first), "to": str(plan[-1].test_last)}
        tags = {"batch_id": batch.id, "data_digest": batch.digest}
        with at_work(config) as intent, backtest_run(config, settings, tags | tags_of(intent)) as tracked:
            tested, measured = fit_and_test(intake, plan, design, folder=folder, moment=moment, tracked=tracked)
            with console.step("measure all blocks"):
                result = summarise(tested, measured)
            settings |= {"table": str(batch.path), "digest": batch.digest, "measured_as_of": moment.isoformat()}
            _write(result, config, folder, settings=settings, tracked=tracked)
    screen = _screen(result, final, design.segment, tracked.run_id)
    show_on_server("assay-backtest", config, screen)
    return BacktestResult(folder=final, figures=result.figures, screen=screen)


def _plan(
    config: Config, design: Design, ends: tuple[datetime, datetime], *, first: date | None, last: date | None
) -> list[Block]:
    """Return the blocks of the period asked for, as far as the table has rows of it."""
    import pyarrow as pa

    days = local_days(pa.array(ends, pa.timestamp("us")), config.table.time_zone).tolist()
    return blocks(
        first or days[0],
        min(last, days[1]) if last else days[1],
        train_days=design.train_days,
        test_days=design.test_days,
        delay_days=config.features.label_delay_days,
        time_zone=config.table.time_zone,
    )


@stage("take in")
def take_in_period(batch: Batch, workspace: Workspace, folder: Path, check: Callable[[Path], None]) -> TakenIn:
    """Validate the table and compute the features of the whole period once; the history is read and not added to."""
    docs = data_docs(batch, workspace.config, folder / "data-docs")
    return take_in(batch, workspace, folder, remember=False, check=check, docs=docs, step=console.step)


@stage("train and test")
def fit_and_test(
    intake: TakenIn,
    plan: Sequence[Block],
    design: Design,
    *,
    folder: Path,
    moment: datetime,
    tracked: BacktestRun,
) -> tuple[list[Tested], list[Measures]]:
    """Fit and test every block, and log each as it is done."""
    tested: list[Tested] = []
    measured: list[Measures] = []
    scratch = folder / ".blocks"
    scratch.mkdir()
    with console.step("train and test", total=len(plan), unit=f"of {len(plan)} blocks") as on_blocks:
        for item in run_blocks(
            intake.features,
            plan,
            intake.labels,
            scratch,
            measured_as_of=moment,
            leave_out_known=design.leave_out_known,
            segment=design.segment,
            fit_again=design.stability,
        ):
            tested.append(item)
            measured.append(measure(item.outcomes))
            _log_block(tracked, item, measured[-1])
            on_blocks(1)
    if not tested:
        raise AssayError("no block has rows both to train and to test on; give another period, or longer blocks")
    return tested, measured


def _log_block(tracked: BacktestRun, item: Tested, measures: Measures) -> None:
    agree = {f"before_{name}": value for name, value in (item.before.figures if item.before else {}).items()}
    agree |= {f"seeds_{name}": value for name, value in (item.again.figures if item.again else {}).items()}
    numbers = {"threshold": item.threshold, "fit_seconds": item.seconds, **counts(item)}
    days = {"train": f"{item.block.train_first} to {item.block.train_last}", "test": item.block.name}
    tracked.log_block(item.block.number, item.block.name, {**figures(measures), **numbers, **agree}, days)


def _write(result: Result, config: Config, folder: Path, *, settings: dict[str, Any], tracked: BacktestRun) -> None:
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


def _screen(result: Result, final: Path, segment: str, run_id: str) -> Screen:
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
    return Screen(
        grids=grids,
        notes=[*_notes(result), legend],
        tables={**({"How far models agree": agree} if agree else {}), "Where": {**where, "MLflow run": run_id}},
    )
