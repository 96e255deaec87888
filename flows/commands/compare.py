"""Comparing versions: validate, features, score with each, measure, show, log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from flows import console
from pipeline.errors import AssayError, ConfigError
from pipeline.numbers import percent
from pipeline.pages import comparison as page
from pipeline.scoring.queue import QueueChange
from pipeline.selection.compared_rows import choose_rows, period_after, trained_until
from pipeline.selection.comparison import Comparison, Contender, compare
from pipeline.selection.gates import Gate
from pipeline.selection.recovery import changing, recover, tags_of
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.scratch import hidden
from pipeline.tables.writing import write_text
from pipeline.tracking.aliases import find_aliases, find_version
from pipeline.tracking.client import CANDIDATE, CHAMPION, StoreError
from pipeline.tracking.groups import Child, close_group, log_child, log_group, open_group
from pipeline.tracking.store import load_detector
from pipeline.workspace.workspace import Workspace


def compare_versions(
    config_path: Path, asked: Sequence[str], *, table: str, first: date | None, last: date | None
) -> dict[str, str]:
    """Compare registered versions on rows that none of them learned from, and show what came of it.

    Parameters
    ----------
    config_path : Path
    asked : sequence of str
        Versions, aliases or runs; the champion and the candidate when empty.
    table : str
        File or folder; see `pipeline.selection.compared_rows.choose_rows` for the default.
    first, last : date, optional
        Period, both days inclusive; the latest labelled days after all trainings by default.

    Returns
    -------
    dict
        Where the page lies, and which run in MLflow holds the same.
    """
    config = read_config(config_path)
    say_recovered(config)
    with console.live(), compared(config, _named(config, asked), table=table, first=first, last=last) as comparison:
        where = publish(comparison)
    show_comparison(comparison)
    console.table("Where", where)
    if tuple(asked or (CHAMPION, CANDIDATE)) == (CHAMPION, CANDIDATE):
        console.commands("Next", [f"assay promote {CANDIDATE} --config {config_path}"])
    return where


def say_recovered(config: Config) -> None:
    """Complete or undo what a killed command left half done, and say so."""
    for sentence in recover(config):
        console.warning(sentence)


@contextmanager
def compared(
    config: Config,
    asked: Sequence[str],
    *,
    table: str,
    first: date | None,
    last: date | None,
    earlier: Sequence[str] = (),
) -> Iterator[Comparison]:
    """Compare versions; the files that the comparison names lie in a scratch folder until the block ends.

    Those of ``earlier`` that can be compared come after the first of those asked for; the others are named.
    """
    workspace = Workspace(config)
    work = workspace.folder
    work.make(work.comparisons)
    with hidden(work.comparisons, "comparing") as scratch:
        with console.step("load the versions"):
            contenders = _contenders(config, asked)
            contenders[1:1] = _comparable(config, earlier, contenders)
        period, is_asked = period_after(
            {contender.title: contender.detector for contender in contenders}, first, last, config.table.time_zone
        )
        settings = [contender.detector.config for contender in contenders]
        rows = choose_rows(settings, period, table, scratch, all_days=is_asked, step=console.step)
        with console.step("score with each version, and compare") as on_rows:
            comparison = compare(contenders, rows, workspace, scratch, on_rows=on_rows)
        yield comparison


def publish(comparison: Comparison, gates: Sequence[Gate] = (), verdict: str = "") -> dict[str, str]:
    """Write the page, log everything to MLflow, and return where both are."""
    config, work = comparison.config, Workspace(comparison.config).folder
    numbers = "-".join(contender.version.number for contender in comparison.contenders)
    final = work.comparisons / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{config.name}-{numbers}"
    with (
        console.step("write the page and log it in MLflow"),
        changing(config, "runs", {}) as intent,
        work.staged(final) as folder,
    ):
        write_text(folder / "comparison.html", page.render_comparison(comparison, gates, verdict))
        tags = {"kind": "comparison", "versions": numbers, "verdict": verdict, **tags_of(intent)}
        group = open_group(config, f"compare {numbers.replace('-', ', ')}", tags)
        for place, contender in enumerate(comparison.contenders):
            log_child(config, group, _child(comparison, place, contender))
        values = {f"gate.{gate.name}": gate.value for gate in gates if gate.value == gate.value}
        log_group(config, group, artefacts=[folder / "comparison.html"], metrics=values)
        close_group(config, group)
    return {"page": str(final / "comparison.html"), "MLflow run": group}


def show_comparison(comparison: Comparison, *, brief: bool = False) -> None:
    """Print a comparison, or only its metrics."""
    first, last = comparison.days
    console.say(f"\n{comparison.source}, {first} to {last}: {page.labels_in_words(comparison)}.")
    for note in [*comparison.notes, *filter(None, comparison.degenerate)]:
        console.warning(note)
    header, rows = page.table_of(comparison)
    console.columns("Measured on rows that no version learned from", header, rows)
    if brief:
        return
    console.columns("Thresholds and training", header, [[name, *values] for name, values in _short(comparison)])
    if comparison.settings:
        console.columns(
            "Settings that differ", header, [[name, *values] for name, values in comparison.settings.items()]
        )
    for change in comparison.changes:
        console.table(f"The queue under {change.candidate}", _queue(change))
    for contender, drifts in zip(comparison.contenders[1:], comparison.drifts, strict=True):
        if drifts:
            moved = {drift.feature: f"{drift.index:.3f} ({drift.verdict})" for drift in drifts[:5]}
            console.table(f"Drift of the data that {contender.title} was trained on", moved)


def _queue(change: QueueChange) -> dict[str, object]:
    reasons = [
        f"{row.time}, {row.amount}: {row.reasons[0].text if row.reasons else 'no column stands out'}"
        for row in change.entering[:3]
    ]
    return {
        "change": change.sentence,
        "overlap": f"{percent(change.overlap)} of the alerts of either; scores correlate by "
        f"{change.rank_correlation:.3f}",
        **{f"enters, #{number}": text for number, text in enumerate(reasons, 1)},
    }


def _short(comparison: Comparison) -> list[tuple[str, list[str]]]:
    return [(name, values) for name, values in page.facts(comparison) if name != "What it promises"]


def _named(config: Config, asked: Sequence[str]) -> list[str]:
    """Return the versions to compare, the champion first: differences are to it."""
    aliases = find_aliases(config)
    if not asked and CANDIDATE not in aliases:
        raise ConfigError(
            f"model {config.name!r} has no candidate to compare with the champion; train one, or name versions: "
            "assay compare 1 2"
        )
    numbers = list(dict.fromkeys(find_version(config, name).number for name in asked or (CHAMPION, CANDIDATE)))
    if len(numbers) < 2:
        raise ConfigError(
            f"{' and '.join(asked or (CHAMPION, CANDIDATE))} {'are' if len(asked) != 1 else 'is'} one version, "
            f"{numbers[0]}; name two or more different ones"
        )
    return sorted(numbers, key=lambda number: number != aliases.get(CHAMPION))


def _contenders(config: Config, asked: Sequence[str]) -> list[Contender]:
    contenders = []
    for name in asked:
        detector, number = load_detector(config, name)
        current = replace(detector, config=detector.settle(config))
        contenders.append(Contender(find_version(config, number), current, detector.config))
    return contenders


def _comparable(config: Config, asked: Sequence[str], contenders: Sequence[Contender]) -> list[Contender]:
    """Return those of some versions that can be loaded and learned from no row that the contenders are compared on."""
    until = max(trained_until(contender.detector) for contender in contenders)
    comparable = []
    for name in asked:
        try:
            contender = _contenders(config, [name])[0]
        except StoreError:
            raise
        except AssayError as error:
            console.warning(f"version {name} was a champion, and could not be compared: {error}")
            continue
        if trained_until(contender.detector) <= until:
            comparable.append(contender)
    return comparable


def _child(comparison: Comparison, place: int, contender: Contender) -> Child:
    settings = {name: values[place] for name, values in comparison.settings.items()}
    return Child(
        name=contender.title,
        params={
            **settings,
            "family": contender.cost["Family"],
            "version": contender.version.number,
            "trained_on": contender.cost["Trained on"],
        },
        tags={"kind": "compared version", "version": contender.version.number, "trained_in": contender.version.run_id},
        metrics=comparison.metrics_of(place),
        series=page.series_of(comparison, place),
        pictures=page.pictures_of(comparison, place),
        model_id=contender.version.model_id,
    )
