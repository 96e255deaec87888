"""Everything that is kept about a version, in one place: what its document is written from. Nothing reads the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.detector.artefact import Detector
from pipeline.features import Feature
from pipeline.monitoring.checks import Seen, look_at
from pipeline.monitoring.watch import all_days
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.settings.config import Config
from pipeline.tracking.aliases import Version, find_version
from pipeline.tracking.derived import WEIGHTS_OF
from pipeline.tracking.runs import Compared, Run, backtest_like, comparison_of, run_of
from pipeline.tracking.store import load_detector
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.watch import WatchEvent, WatchEvents

OF_THE_SCORES = ("auroc", "average_precision", "precision_at_", "recall_at_", "money_recall_at_", "card_precision_at_")
"""Measures that another threshold leaves as they are, by how their names begin."""


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """Everything that is kept about a version.

    Attributes
    ----------
    version : Version
    detector : Detector
        With what is sensitive by then or by now, and today's ``[monitor]`` and titles of columns.
    run, training : Run
        The run that made the version, and the one that trained its weights: the same, but where the version has
        another threshold only.
    compared : Compared or None
        Its latest comparison with the version before.
    backtest : mapping of str to Any
        The latest one with its settings; empty without one.
    changes : sequence of AliasChange
        Of aliases that it got or lost, oldest first.
    events : sequence of WatchEvent
        Of batches that it scored, oldest first.
    batches : sequence of Entry
        Those that it scored, in the order of scoring; replaced ones, too.
    seen : Seen or None
        What the watch sees of all their days; None where none has a profile.
    """

    version: Version
    detector: Detector
    run: Run
    training: Run
    compared: Compared | None
    backtest: Mapping[str, Any]
    changes: Sequence[AliasChange]
    events: Sequence[WatchEvent]
    batches: Sequence[Entry]
    seen: Seen | None

    @property
    def features(self) -> Sequence[Feature]:
        """What the model looks at."""
        return self.detector.features

    @property
    def is_derived(self) -> bool:
        """Whether it has another version's weights, and a threshold of its own."""
        return self.run.run_id != self.training.run_id

    @property
    def measures(self) -> Mapping[str, float]:
        """What was measured on rows held out, and holds for this version: by another threshold, that of its scores."""
        measures = self.training.measures
        if not self.is_derived:
            return measures
        return {name: value for name, value in measures.items() if name.startswith(OF_THE_SCORES)}


def dossier(config: Config, asked: str) -> Dossier:
    """Return everything that is kept about a version.

    Parameters
    ----------
    config : Config
        Today's.
    asked : str
        Number, alias, or the id of the run that made it.

    Raises
    ------
    AssayError
        When there is no such version, or its files are gone.
    StoreError
        When the store does not answer.
    """
    version = find_version(config, asked)
    loaded, number = load_detector(config, version.number)
    detector = replace(loaded, config=_config(loaded.config, config))
    run = run_of(config, number)
    weights_of = run.tags.get(WEIGHTS_OF, number)
    batches = [entry for entry in Ledger(config).entries() if _is_by(entry, number)]
    days, marks = all_days([entry for entry in batches if entry.status == "scored"], number)
    training = run if weights_of == number else run_of(config, weights_of)
    return Dossier(
        version=version,
        detector=detector,
        run=run,
        training=training,
        compared=comparison_of(config, number),
        backtest=backtest_like(config, training),
        changes=[change for change in AliasRecords(config).all() if number in (change.version, change.replaced)],
        events=[event for event in WatchEvents(config).all() if event.model_version == number],
        batches=batches,
        seen=look_at(days, detector, marks.get("changes", ()), all_columns=True) if days else None,
    )


def _is_by(entry: Entry, version: str) -> bool:
    return entry.model_version == version and entry.status in ("scored", "replaced")


def _config(then: Config, now: Config) -> Config:
    """Return the settings of a training, with what is sensitive by these or by today's, and today's of the day."""
    sensitive = tuple(dict.fromkeys((*then.contract.sensitive, *now.contract.sensitive)))
    contract = then.contract.model_copy(update={"sensitive": sensitive})
    return then.model_copy(update={"contract": contract, "columns": now.columns, "monitor": now.monitor})
