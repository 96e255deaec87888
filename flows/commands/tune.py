"""Tuning: validate what lies before the test block, encode it once, search, log every trial, show the best."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit

from flows import console
from flows.commands.compare import say_recovered
from flows.run import table_or_default
from pipeline.errors import ConfigError
from pipeline.selection.recovery import at_work, tags_of
from pipeline.selection.search_space import check_space
from pipeline.selection.tuning import Best, metric_of, open_study, search, search_name, searching
from pipeline.selection.tuning_data import Blocks, Material, period_of, prepare
from pipeline.settings.config import Config, ModelConfig
from pipeline.settings.file import read_config
from pipeline.tables.reading import content_digest
from pipeline.tables.scratch import hidden
from pipeline.tables.writing import write_text
from pipeline.tracking.groups import Child, children, close_group, log_child, log_group, open_group, reopen_group
from pipeline.workspace.workspace import Workspace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def tune_model(
    config_path: Path,
    table: str,
    *,
    first: date | None,
    last: date | None,
    trials: int | None,
    seconds: float | None,
    jobs: int | None,
    out: Path | None,
) -> Best:
    """Search for the best model on a validation block, and say how to use it.

    Parameters
    ----------
    config_path : Path
    table : str
        File or folder; the configuration's when empty.
    first, last : date, optional
        Period, both days inclusive; its last days are the test block, which stays untouched.
    trials, seconds, jobs : optional
        In the place of those of ``[tuning]``.
    out : Path, optional
        Configuration to write, the same but for the model.
    """
    config = _with(read_config(config_path), trials=trials, seconds=seconds, jobs=jobs)
    if out is not None and (out.suffix != ".toml" or out.resolve().parent != config_path.resolve().parent):
        raise ConfigError(f"--out {out} must name a .toml file beside {config_path}, for relative paths start there")
    check_space(config)
    say_recovered(config)
    path, workspace = table_or_default(table, config), Workspace(config)
    work = workspace.folder
    work.make(work.root)
    with console.live(), hidden(work.root, "tuning") as folder:
        with console.step("read"):
            digest = content_digest(path, config.table)
            blocks = Blocks.of(*period_of(workspace, path, folder, first=first, last=last), config)
        with console.step("validate and encode") as on_rows:
            prepare(workspace, path, blocks, folder, on_rows=on_rows)
        metric = metric_of(config, Material.load(folder))
        best, group = _search(config, search_name(config, digest, blocks), blocks, folder=folder, metric=metric)
    _show(config, config_path, blocks, best=best, group=group, out=out)
    return best


def _with(config: Config, **given: float | None) -> Config:
    changed = {name: value for name, value in given.items() if value is not None}
    return config.model_copy(update={"tuning": config.tuning.model_copy(update=changed)})


def _search(config: Config, name: str, blocks: Blocks, *, folder: Path, metric: str) -> tuple[Best, str]:
    """Run the trials that the search still lacks; return the best one, and the search's run in MLflow."""
    with searching(config, name), at_work(config) as intent:
        group = _group(config, name, {"metric": metric, **blocks.in_words()}, tags_of(intent))
        logged = children(config, group, "trial")
        with console.step("try", total=config.tuning.trials, unit="trials") as on_trial:
            best = search(
                config,
                name,
                folder=folder,
                metric=metric,
                on_trial=_log(config, group, logged, metric=metric, on_trial=on_trial),
            )
        log_group(config, group, metrics={f"best_{metric}": best.value}, tags={"best_trial": str(best.number)})
        close_group(config, group)
    return best, group


def _group(config: Config, name: str, words: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """Begin the search's run in MLflow, or let it go on, and return it."""
    study = open_study(config, name)
    group = study.user_attrs.get("mlflow_run")
    if group is None:
        group = open_group(config, f"tune {name}", {"kind": "tuning", **words, **tags})
        study.set_user_attr("mlflow_run", group)
    else:
        reopen_group(config, group, tags)
    return str(group)


def _log(
    config: Config, group: str, logged: set[str], *, metric: str, on_trial: Callable[[int], None]
) -> "Callable[[FrozenTrial], None]":
    def log(trial: "FrozenTrial") -> None:
        on_trial(1)
        if str(trial.number) in logged:
            return
        value = {metric: trial.value} if trial.state.name == "COMPLETE" and trial.value is not None else {}
        seconds = {"fit_seconds": trial.user_attrs["fit_seconds"]} if "fit_seconds" in trial.user_attrs else {}
        state = {"trial": str(trial.number), "state": trial.state.name.lower(), "kind": "trial"}
        log_child(
            config,
            group,
            Child(
                name=f"trial {trial.number}: {trial.params.get('family')}",
                params=trial.params,
                tags=state | {"failure": trial.user_attrs.get("failure", "")},
                metrics=value | seconds,
                series={f"{metric}_of_residuals": sorted(trial.intermediate_values.items())},
            ),
        )

    return log


def _show(config: Config, config_path: Path, blocks: Blocks, *, best: Best, group: str, out: Path | None) -> None:
    console.table("Blocks", blocks.in_words())
    settings = {name: value for name, value in _changes(best.model).items() if value is not None}
    value = f"{best.metric.replace('_', ' ')} {best.value:.3f} on the days judged on"
    console.table(f"Best of the search: trial {best.number}, {value}", settings)
    console.table("Where", {"MLflow run": group})
    if out is not None:
        write_text(out, configuration(config_path.read_text(encoding="utf-8"), best.model))
        console.commands(f"Wrote {out}, {config_path} with this model. Next", [f"assay train --config {out}"])
    else:
        lines = tomlkit.dumps({"model": settings}).strip().splitlines()
        console.commands(f"Put into {config_path}, or have it written with --out FILE.toml", lines)


def configuration(text: str, model: ModelConfig) -> str:
    r"""Return the text of a configuration with another model, comments kept.

    Examples
    --------
    >>> print(configuration('name = "a" # ours\n[model]\nname = "dense"\n', ModelConfig(name="knn")))
    name = "a" # ours
    [model]
    name = "knn"
    <BLANKLINE>
    """
    document = tomlkit.parse(text)
    section = document.setdefault("model", tomlkit.table())
    changes = _changes(model) | ({"trim": model.trim} if "trim" in section else {})
    for name, value in changes.items():
        if value is not None:
            section[name] = value
        else:
            with suppress(KeyError):
                section.remove(name)
    return tomlkit.dumps(document)


def _changes(model: ModelConfig) -> dict[str, object]:
    """Return what a search decides, in TOML's types; None for what is left to the family."""
    changes: dict[str, object] = {
        "name": model.name,
        "hidden": None if model.hidden is None else list(model.hidden),
        "code_size": model.code_size,
        "learning_rate": model.learning_rate,
        "score": model.score,
    }
    if model.options:
        table = tomlkit.inline_table()
        table.update(model.options)
        changes["options"] = table
    else:
        changes["options"] = None
    return changes
