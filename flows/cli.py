"""The ``assay`` command. Every command is a few lines: the work is elsewhere, and heavy packages load when one runs."""

import atexit
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import console
from flows.environment import namesake, settle

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Assay learns what normal transactions look like and says which new ones do not fit, and why.",
)

user = typer.Typer(no_args_is_help=True, help="Who gets into the analysts' desk.")
audit = typer.Typer(no_args_is_help=True)
review = typer.Typer()
app.add_typer(user, name="user")
app.add_typer(audit, name="audit")
app.add_typer(review, name="review")

DAY = ["%Y-%m-%d"]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The table's configuration.")]
TableArgument = Annotated[str, typer.Argument(help="File or folder. Left out: table.path of the configuration.")]
First = Annotated[datetime | None, typer.Option("--from", formats=DAY, help="First day of the period, included.")]
Last = Annotated[datetime | None, typer.Option("--to", formats=DAY, help="Last day of the period, included.")]
Output = Annotated[Path | None, typer.Option(help="Parquet file to write.")]
VersionOption = Annotated[str, typer.Option(help="Version or alias of the model.")]
DEFAULT = Path("assay.toml")
UserName = Annotated[str, typer.Argument(help="Small letters and digits, and . _ @ - behind the first.")]
RoleOption = Annotated[str, typer.Option(help="viewer, analyst, lead or admin.")]
LOCAL, DESK_PORT = "127.0.0.1", 8765
KNOWN = "Whether tests leave out cards of which a fraud is known by the row's day."


@app.command(epilog="Example: assay init transactions.parquet --label is_fraud --ignore fraud_type")
def init(
    table: Annotated[str, typer.Argument(help="CSV or Parquet file, folder or partitioned dataset.")],
    *,
    id: Annotated[str | None, typer.Option(help="Column with one value a row.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column that says when.")] = None,
    amount: Annotated[str | None, typer.Option(help="Column that says how much.")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="Customer, card, terminal ... (repeatable).")] = None,
    categorical: Annotated[list[str] | None, typer.Option(help="Column with a few values (repeatable).")] = None,
    label: Annotated[str | None, typer.Option(help="Column that says fraud or not.")] = None,
    fraud_word: Annotated[list[str] | None, typer.Option(help="What the label says for fraud (repeatable).")] = None,
    normal_word: Annotated[list[str] | None, typer.Option(help="What it says for no fraud (repeatable).")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Column never to learn from (repeatable).")] = None,
    sensitive: Annotated[list[str] | None, typer.Option(help="Column to mask in outputs (repeatable).")] = None,
    delimiter: Annotated[str | None, typer.Option(help="What separates CSV cells.")] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding of CSV files.")] = "utf-8",
    column: Annotated[list[str] | None, typer.Option(help="Name of each column of a CSV without a header.")] = None,
    time_zone: Annotated[str, typer.Option(help="Zone of timestamps that name none.")] = "UTC",
    timestamp_format: Annotated[list[str] | None, typer.Option(help="Such as %d/%m/%Y %H:%M (repeatable).")] = None,
    few_features: Annotated[
        bool, typer.Option("--few-features", help="Only the features that suit a single network: quicker, sees less.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Configuration to write.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing configuration.")] = False,
) -> None:
    """Look at a table, infer each column's role, and write a commented configuration."""
    from flows.commands.start import initialise

    given: dict[str, Any] = {"id": id, "timestamp": timestamp, "amount": amount, "label": label}
    given["few_features"] = few_features
    several = {"entities": entity, "categorical": categorical, "ignore": ignore, "sensitive": sensitive}
    reading: dict[str, Any] = {"delimiter": delimiter, "encoding": encoding, "time_zone": time_zone}
    reading |= {"label_fraud": fraud_word, "label_normal": normal_word, "columns": column}
    reading["timestamp_formats"] = timestamp_format
    with _plain_errors():
        initialise(
            table,
            out,
            force=force,
            reading=reading,
            given={**given, **{name: tuple(cols or ()) for name, cols in several.items()}},
        )


@app.command(epilog="Example: assay simulate transactions.parquet --rows 50000 --days 30")
def simulate(
    out: Annotated[Path, typer.Argument(help="File to write, .parquet or .csv.")],
    *,
    rows: Annotated[int, typer.Option(min=1, help="Transactions.")] = 200_000,
    days: Annotated[int, typer.Option(min=1, help="Calendar days.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same table.")] = 0,
    clean: Annotated[bool, typer.Option("--clean", help="Without the rows that are malformed on purpose.")] = False,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="How frauds come about, e.g. card_testing; may be repeated. Left out: high amounts, compromised "
            "terminals, leaked credentials. A name that is none lists all."
        ),
    ] = None,
    scenario_column: Annotated[
        bool, typer.Option("--scenario-column", help="Also write how each row came to be a fraud. It is no input.")
    ] = False,
) -> None:
    """Simulate card transactions with known fraud."""
    from flows.commands.start import simulate_table

    with _plain_errors(), console.live():
        simulate_table(
            out,
            rows=rows,
            days=days,
            seed=seed,
            malformed=not clean,
            scenarios=scenario or (),
            scenario_column=scenario_column,
        )


@app.command(epilog="Example: assay validate new.parquet --config assay.toml")
def validate(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    out: Annotated[Path, typer.Option(help="Folder for quarantine and Data Docs.")] = Path("validated"),
) -> None:
    """Check a table against the contract and its suite, without training or scoring."""
    from flows.commands.inspect import validate_table

    with _plain_errors():
        validate_table(config, table, period=(_day(first), _day(last)), out=out)


@app.command(epilog="Example: assay features new.parquet --out features.parquet --config assay.toml")
def features(
    table: Annotated[str, typer.Argument(help="File or folder. Left out: the list of features is printed.")] = "",
    *,
    config: ConfigFile = DEFAULT,
    out: Output = None,
    first: First = None,
    last: Last = None,
) -> None:
    """List the features that the configuration declares, or write those of a table for use elsewhere."""
    from flows.commands.inspect import show_features, write_features

    with _plain_errors():
        if out is None and not table:
            show_features(config)
        else:
            write_features(config, table, period=(_day(first), _day(last)), out=out)


@app.command(epilog="Example: assay encode new.parquet --out codes.parquet --config assay.toml")
def encode(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    out: Output = None,
    first: First = None,
    last: Last = None,
    version: VersionOption = "champion",
) -> None:
    """Write each row's code in the model, a short description of it, as features for other models."""
    from flows.commands.inspect import write_representation

    with _plain_errors():
        period = _day(first), _day(last)
        write_representation("encode", config, table, period=period, out=out, version=version)


@app.command(epilog="Example: assay reconstruct new.parquet --out expected.parquet --config assay.toml")
def reconstruct(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    out: Output = None,
    first: First = None,
    last: Last = None,
    version: VersionOption = "champion",
) -> None:
    """Write what the model expects each row to be, in raw units, and fill in missing numbers from it."""
    from flows.commands.inspect import write_representation

    with _plain_errors():
        period = _day(first), _day(last)
        write_representation("reconstruct", config, table, period=period, out=out, version=version)


@app.command(epilog="Example: assay train --config assay.toml --from 2018-07-11 --to 2018-07-17")
def train(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    as_of: Annotated[datetime | None, typer.Option(help="Moment (UTC) as of which labels are known.")] = None,
) -> None:
    """Train on the normal rows of a period, and register the Detector in MLflow."""
    period = {"first": _day(first), "last": _day(last)}
    _run(config, "flows.train:train", table=table, **period, as_of=as_of)


@app.command(epilog="Example: assay score new.parquet --config assay.toml --from 2018-07-25 --to 2018-07-31")
def score(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    version: VersionOption = "champion",
    force: Annotated[
        bool, typer.Option("--force", help="Score again in place, or what is unlike the training.")
    ] = False,
    incoming: Annotated[bool, typer.Option("--incoming", help="Score every new file of the incoming folder.")] = False,
) -> None:
    """Score a table and write its alerts with reasons; what was scored before is left as it is."""
    if incoming:
        if table or first or last or force:
            raise typer.BadParameter("--incoming scores whole new files; leave out TABLE, --from, --to and --force")
        _run(config, "flows.score:score_incoming", version=version)
    else:
        period = {"first": _day(first), "last": _day(last)}
        _run(config, "flows.score:score", table=table, **period, version=version, force=force)


@app.command(epilog="Example: assay monitor --config assay.toml")
def monitor(config: ConfigFile = DEFAULT, *, version: VersionOption = "champion") -> None:
    """Hold every scored day against the training, and measure the weeks whose labels came; write a page over time."""
    _run(config, "flows.monitor:monitor", version=version)


@app.command(epilog='Example: assay retrain, or: assay retrain --now --why "a new terminal fleet"')
def retrain(
    config: ConfigFile = DEFAULT,
    *,
    now: Annotated[bool, typer.Option("--now", help="Whether or not one is due.")] = False,
    why: Annotated[str, typer.Option(help="With --now: reason, kept with the training.")] = "",
) -> None:
    r"""Where \[retrain] makes it due, train a candidate on the latest days, and hold it against the champion."""
    if why and not now:
        raise typer.BadParameter("--why is the reason of a training that nothing else makes due; add --now")
    _run(config, "flows.retrain:retrain", now=now, why=why)


@app.command(epilog="Example: assay threshold --capacity 80 --config assay.toml")
def threshold(
    config: ConfigFile = DEFAULT,
    *,
    version: VersionOption = "champion",
    capacity: Annotated[float | None, typer.Option(help="Alerts a calendar day.")] = None,
    customers: Annotated[float | None, typer.Option(help="Customers with an alert a calendar day.")] = None,
    false_alert_rate: Annotated[float | None, typer.Option(help="Share of normal rows flagged.")] = None,
    tail: Annotated[float | None, typer.Option(help="The same, extrapolated to very low rates.")] = None,
    fdr: Annotated[float | None, typer.Option(help="Share of each batch's alerts that are false.")] = None,
    cost: Annotated[float | None, typer.Option(help="Cost of a review: the cut that saves the most.")] = None,
    recovered: Annotated[float | None, typer.Option(help="With --cost: share of the amount recovered.")] = None,
    f_beta: Annotated[float | None, typer.Option(help="The beta of the F-beta to be highest.")] = None,
    precision: Annotated[float | None, typer.Option(help="Share of alerts that are fraud, at least.")] = None,
    recall: Annotated[float | None, typer.Option(help="Share of frauds that are flagged, at least.")] = None,
    segment: Annotated[str | None, typer.Option(help="Column whose values get a cut each.")] = None,
) -> None:
    """Set another threshold without training or scoring; without an option, the one of the configuration."""
    from flows.commands.threshold import set_threshold

    asked = {"capacity": capacity, "customers": customers, "false_alert_rate": false_alert_rate, "tail": tail}
    asked |= {"fdr": fdr, "cost": cost, "f_beta": f_beta, "precision": precision, "recall": recall}
    with _plain_errors():
        set_threshold(config, version, asked, recovered=recovered, segment=segment)


@app.command(epilog="Example: assay backtest --config assay.toml --from 2018-06-01 --to 2018-08-14")
def backtest(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    train_days: Annotated[int, typer.Option(min=1, help="Days to train on, for each test.")] = 7,
    test_days: Annotated[int, typer.Option(min=1, help="Days of a test; so far each block moves on.")] = 7,
    leave_out: Annotated[bool, typer.Option("--leave-out-known/--keep-known", help=KNOWN)] = True,
    by: Annotated[str, typer.Option(help="Column whose values are measured apart, such as the channel.")] = "",
    stability: Annotated[bool, typer.Option("--stability", help="Fit each block with a second seed, too.")] = False,
) -> None:
    """Train on a block of days, wait until its labels are known, test on the next, roll forward; print the measures."""
    period = {"first": _day(first), "last": _day(last), "train_days": train_days, "test_days": test_days}
    options = {"leave_out_known": leave_out, "segment": by, "stability": stability}
    _run(config, "flows.backtest:backtest", table=table, **period, **options)


@app.command(epilog="Example: assay label reviewed.csv --config assay.toml")
def label(
    labels: Annotated[str, typer.Argument(help="File or folder with the id, label and labelled_at of rows.")],
    config: ConfigFile = DEFAULT,
) -> None:
    """Take in the labels that review gave to rows, for training and for the features of later batches."""
    from flows.commands.label import take_labels

    with _plain_errors():
        take_labels(config, labels)


@user.command("add", epilog="Example: assay user add ann --role analyst")
def user_add(name: UserName, role: RoleOption = "analyst", config: ConfigFile = DEFAULT) -> None:
    """Add somebody who may log in to the desk; the password is asked for, or read from what is piped in."""
    from flows.commands.desk import add_user

    with _plain_errors():
        add_user(config, name, role)  # type: ignore[arg-type]  # what is no role is refused


@user.command("change", epilog="Example: assay user change ann --role lead")
def user_change(
    name: UserName,
    *,
    role: Annotated[str | None, typer.Option(help="viewer, analyst, lead or admin.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for another password.")] = False,
    is_ended: Annotated[bool | None, typer.Option("--end/--open", help="Whether the user may log in no more.")] = None,
    config: ConfigFile = DEFAULT,
) -> None:
    """Give somebody another role or password, or no access any more; who is logged in is logged out."""
    from flows.commands.desk import change_user

    with _plain_errors():
        change_user(config, name, role=role, password=password, is_ended=is_ended)  # type: ignore[arg-type]


@user.command("list", epilog="Example: assay user list")
def user_list(config: ConfigFile = DEFAULT) -> None:
    """Say who may log in to the desk, and as what."""
    from flows.commands.desk import list_users

    with _plain_errors():
        list_users(config)


@audit.callback()
def audit_group() -> None:
    """Whether what was done at the desk is as it was written."""


@audit.command("verify", epilog="Example: assay audit verify --config assay.toml")
def audit_verify(
    head: Annotated[str, typer.Option(help="What an earlier run said of the last event, NUMBER:HASH.")] = "",
    config: ConfigFile = DEFAULT,
) -> None:
    """Walk the chain of what was done at the desk, and name the first event that was changed, removed or moved."""
    from flows.commands.desk import verify_events

    with _plain_errors():
        verify_events(config, head)


@review.callback(invoke_without_command=True, epilog="Example: assay review --config assay.toml")
def review_desk(
    context: typer.Context,
    *,
    config: ConfigFile = DEFAULT,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = DESK_PORT,
    host: Annotated[str, typer.Option(help="Address to listen at; another than this machine's own needs TLS.")] = LOCAL,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file of the certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    proxy: Annotated[str, typer.Option(help="Address of the proxy before it that speaks TLS.")] = "",
) -> None:
    """Serve the analysts' desk: the queue of alerts in the browser."""
    if context.invoked_subcommand:
        return
    with _plain_errors():
        from flows.commands.review import serve_desk
        from pipeline.review.web.serving import Door

        serve_desk(config, Door(host, port, tls_certificate, tls_key, proxy=proxy))


@review.command("rebuild", epilog="Example: assay review rebuild --config assay.toml")
def review_rebuild(config: ConfigFile = DEFAULT) -> None:
    """Make the desk's queue again from its events and the results of scored batches."""
    from flows.commands.desk import rebuild_queue

    with _plain_errors():
        rebuild_queue(config)


@review.command("export-packet", epilog="Example: assay review export-packet monday.html --user ann --day 2018-07-30")
def review_export_packet(
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    *,
    user: Annotated[str, typer.Option(help="User in whose name it is decided, and as whom it is masked.")],
    day: Annotated[datetime | None, typer.Option(formats=DAY, help="Day of the transactions. Left out: all.")] = None,
    view: Annotated[str, typer.Option(help="Address of a view of the queue, or what is behind its ?.")] = "",
    config: ConfigFile = DEFAULT,
) -> None:
    """Write open alerts as one page that is worked without the desk, by keyboard, and gives a file of decisions."""
    from flows.commands.desk import export_packet

    with _plain_errors():
        export_packet(config, out, user=user, day=_day(day), view=view)


@review.command("import-packet", epilog="Example: assay review import-packet decisions-5f3c.json")
def review_import_packet(
    file: Annotated[Path, typer.Argument(help="File that the packet's page saved.")], config: ConfigFile = DEFAULT
) -> None:
    """Take in a packet's file of decisions, once; alerts that were decided or withdrawn since stay as they are."""
    from flows.commands.desk import import_packet

    with _plain_errors():
        import_packet(config, file)


@app.command(epilog="Example: assay compare champion candidate --from 2018-07-25 --to 2018-07-31")
def compare(
    versions: Annotated[list[str] | None, typer.Argument(help="Versions, aliases or run ids.")] = None,
    *,
    table: Annotated[str, typer.Option(help="File or folder. Left out: table.path, else the history.")] = "",
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
) -> None:
    """Compare versions (by default champion and candidate) on rows that none of them learned from."""
    from flows.commands.compare import compare_versions

    with _plain_errors():
        compare_versions(config, versions or [], table=table, first=_day(first), last=_day(last))


@app.command(epilog='Example: assay promote candidate, or: assay promote 3 --force --why "the old one is broken"')
def promote(
    version: Annotated[str, typer.Argument(help="Version, alias or run id.")],
    *,
    table: Annotated[str, typer.Option(help="File or folder to compare on. Left out: as assay compare does.")] = "",
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever the gates say; needs --why.")] = False,
    why: Annotated[str, typer.Option(help="Reason, kept with the change.")] = "",
) -> None:
    r"""Make a version the champion, if it passes the gates of \[promotion]."""
    from flows.commands.promote import promote_version

    with _plain_errors():
        promote_version(config, version, table=table, first=_day(first), last=_day(last), force=force, why=why)


@app.command(epilog='Example: assay rollback --why "too many alerts since Monday"')
def rollback(
    config: ConfigFile = DEFAULT,
    why: Annotated[str, typer.Option(help="Reason, kept with the change.")] = "",
) -> None:
    """Make the previous champion the champion again."""
    from flows.commands.promote import roll_back_champion

    with _plain_errors():
        roll_back_champion(config, why)


@app.command(epilog="Example: assay tune --from 2018-06-01 --to 2018-07-10 --trials 60 --jobs 2 --out tuned.toml")
def tune(
    table: TableArgument = "",
    *,
    config: ConfigFile = DEFAULT,
    first: First = None,
    last: Last = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try, in all.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="No trial begins later than this.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at the same time.")] = None,
    out: Annotated[Path | None, typer.Option(help="Configuration to write, with the best model.")] = None,
) -> None:
    """Search for the best model, judged on days before the last ones, which stay untouched; stopped, it goes on."""
    from flows.commands.tune import tune_model

    with _plain_errors():
        tune_model(
            config, table, first=_day(first), last=_day(last), trials=trials, seconds=seconds, jobs=jobs, out=out
        )


@app.command(epilog="Example: assay status --config assay.toml")
def status(
    config: ConfigFile = DEFAULT,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; moments are UTC.")] = False,
    tells: Annotated[bool, typer.Option("--notify", help="Also tell whoever [notify] names, unless told.")] = False,
) -> None:
    """Say how scoring stands. Exit status 0: fine, 1: something needs attention, 2: nothing is scored."""
    from flows.commands.status import show_status

    with _plain_errors():
        code = show_status(config, as_json=as_json, tells=tells)
    raise typer.Exit(code)


@app.command(epilog="Example: assay backfill --from 2018-06-01 --to 2018-06-30 --version candidate")
def backfill(
    table: Annotated[str, typer.Argument(help="File or folder. Left out: table.path, else the history.")] = "",
    *,
    first: Annotated[datetime, typer.Option("--from", formats=DAY, help="First day, included.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAY, help="Last day, included.")],
    config: ConfigFile = DEFAULT,
    version: VersionOption = "champion",
    missing: Annotated[bool, typer.Option("--missing", help="Only rows without published scores.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish them as batches, with alerts, as assay score does.")
    ] = False,
) -> None:
    """Score days of the past with a version, beside what was published; stopped, it goes on where it was."""
    with _plain_errors():
        from flows.commands.backfill import Asked
        from flows.commands.backfill import backfill as fill

        days = {"first": first.date(), "last": last.date()}
        fill(Asked(config_path=config, table=table, **days, version=version, only_missing=missing, publishes=publish))


@app.command(epilog="Example: assay backup /mnt/backups, then: assay backup --check /mnt/backups/cards-20250301T031500")
def backup(
    folder: Annotated[Path, typer.Argument(help="Where a new folder with the copy is made.")] = Path("assay-backups"),
    config: ConfigFile = DEFAULT,
    *,
    check: Annotated[
        Path | None, typer.Option(help="A copy to hold against its manifest; nothing is copied then.")
    ] = None,
) -> None:
    """Copy what must be kept (databases, models, labels, history, results) at one moment, with a list of digests."""
    from flows.commands.backup import check_backup, make_backup

    with _plain_errors():
        if check:
            check_backup(check)
        else:
            make_backup(config, folder)


@app.command(epilog="Example: assay retention --keep 400d --dry-run")
def retention(
    keep: Annotated[str, typer.Option(help="How long everything is kept, in days, such as 400d.")],
    config: ConfigFile = DEFAULT,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove results, runs and history that are past their time, and that no version and no open alert needs."""
    from flows.commands.retention import remove_old

    with _plain_errors():
        remove_old(config, keep, is_dry_run=dry_run)


@app.command(epilog="Example: assay history")
def history(config: ConfigFile = DEFAULT) -> None:
    """Show who made which version champion, when and why."""
    from flows.commands.promote import show_history

    with _plain_errors():
        show_history(config)


@app.command(epilog="Example: assay document candidate --out documents")
def document(
    version: Annotated[str, typer.Argument(help="Version, alias or run id.")] = "champion",
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. Left out: documents in the work folder.")
    ] = None,
    config: ConfigFile = DEFAULT,
) -> None:
    """Write what is known of a version, for those who answer for its use, as HTML and Markdown; MLflow gets both."""
    from flows.commands.document import write_document

    with _plain_errors():
        write_document(config, version, out)


@app.command(epilog="Example: assay demo")
def demo(
    rows: Annotated[int, typer.Option(min=20_000, help="Transactions to simulate.")] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same transactions.")] = 0,
    work_dir: Annotated[Path, typer.Option(help="Work folder.")] = Path("assay-data"),
    *,
    review: Annotated[bool, typer.Option("--review", help="Then serve the analysts' desk, with a user.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the desk.")] = DESK_PORT,
) -> None:
    """Simulate 61 days of transactions, train, score the last day, and show what came out."""
    with _plain_errors():
        settle(work_dir)
        from flows.commands.demo import run_demo

        config = run_demo(work_dir, rows=rows, seed=seed)
        if review:
            from flows.commands.review import serve_demo
            from pipeline.review.web.serving import Door

            serve_demo(config, Door(port=port))


@app.command(epilog='Example: assay schedule --config assay.toml --score "0 2 * * *"')
def schedule(
    config: ConfigFile = DEFAULT,
    score: Annotated[str, typer.Option("--score", help="Cron line: when new files are scored.")] = "0 2 * * *",
    train: Annotated[str | None, typer.Option("--train", help="Cron line: when a candidate is trained.")] = None,
    retrain: Annotated[
        str | None, typer.Option("--retrain", help="Cron line: when it is looked whether a training is due.")
    ] = None,
) -> None:
    """Serve scoring (and training) on a schedule, against a Prefect server."""
    with _plain_errors():
        from pipeline.settings.file import read_config

        settings = read_config(config)
        settle(settings.work_dir)
        from flows.deployments import schedule as serve

        serve(str(config), score, train, retrain)


def main() -> None:
    """Run the command line, unless files of the user's own would be imported in place of ours."""
    if text := namesake():
        # Not by the console, which spells out signs with a module of the package that is not there.
        print(f"Error: {text}", file=sys.stderr)
        raise SystemExit(1)
    status = [1]
    atexit.register(_leave, status)  # before any other, and so called after all of them
    try:
        app()
    except SystemExit as end:
        status[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _leave(status: list[int]) -> None:
    """End the process when all is done and said.

    Taking libraries down whose threads are at work has ended in an abort, and in a hundred lines about objects that
    somebody still held, behind the one sentence that the user needs.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or a pipe that nobody reads
            stream.flush()
    os._exit(status[0])


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print a user's error, or the system's, in its one sentence, and end with status 1."""
    from pipeline.errors import INTERRUPTED, AssayError, sentence

    try:
        yield
    except AssayError as error:
        console.error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read what is printed has gone
            raise
        console.error(f"{sentence(error)}; mend that, and run the same command again")
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, RuntimeError) as error:
        if isinstance(error, RuntimeError) and str(error) != INTERRUPTED:
            raise
        console.error("stopped; nothing is half written, the same command may be run again")
        raise typer.Exit(130) from None


def _run(config: Path, flow: str, **parameters: Any) -> None:
    """Run a flow in this process; show its result, or its one sentence of failure."""
    with _plain_errors():
        from flows.run import FlowFailed, run_flow

        try:
            console.show(run_flow(config, flow, **parameters).screen)
        except FlowFailed as error:
            console.show(error.screen)
            raise


if __name__ == "__main__":
    main()
