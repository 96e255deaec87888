"""What stays between two runs of one configuration, as one object."""

from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Self

from pipeline.labels.known import AUDIT, Labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.settings.config import Config
from pipeline.workspace.decisions import DecisionLabels
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.history import History
from pipeline.workspace.ledger import Ledger


class Workspace:
    """What stays between two runs of one configuration. Nothing is read or made before it is asked for.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    folder : WorkFolder
        Where everything lies.
    history : History
        Accepted rows that features look back into.
    reviewed : ReviewedLabels
        Deliveries of labels from review.
    decisions : DecisionLabels
        What was decided at the desk.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = WorkFolder(config)
        self.history = History(self.folder.history, config)
        self.reviewed = ReviewedLabels(self.folder.labels, config)
        self.decisions = DecisionLabels(self.folder.decisions, config)

    def under(self, config: Config) -> Self:
        """Return the same rows and labels for another configuration of this table, whose features may be others."""
        workspace = type(self)(config)
        workspace.history = self.history.under(config)
        return workspace

    def with_history(self, history: History) -> Self:
        """Return the same workspace with another history."""
        workspace = copy(self)
        workspace.history = history
        return workspace

    @classmethod
    def of_history(cls, history: Path, config: Config) -> Self:
        """Return a workspace with the rows of a history folder and the labels from review that belong to it.

        Parameters
        ----------
        history : Path
            ``WORK_DIR/history/NAME``; the labels are in ``WORK_DIR/labels/NAME``.
        config : Config
        """
        workspace, folder = cls(config), history.resolve()
        workspace.history = History(folder, config)
        workspace.reviewed = ReviewedLabels(folder.parent.parent / "labels" / folder.name, config)
        decisions = folder.parent.parent / "decisions" / folder.name
        workspace.decisions = DecisionLabels(decisions, config, asks=False)
        return workspace

    @cached_property
    def ledger(self) -> Ledger:
        """What has been scored by what. The database is opened when it is first asked for."""
        return Ledger(self.config)

    @property
    def labels(self) -> Labels:
        """What is known of rows at this moment: deliveries that come later are not in what was returned."""
        audits = sorted(self.folder.batches.glob(f"*/{AUDIT}"))
        return Labels(self.config, (*self.reviewed.files(), *self.decisions.files()), tuple(audits))
