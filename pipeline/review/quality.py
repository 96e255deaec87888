"""How well alerts are reviewed: who was right, who agrees with whom, and how much fraud was missed. For leads."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.evaluation.missed import MissedFraud
from pipeline.evaluation.powered import total
from pipeline.review.figures import Share
from pipeline.review.store import Reading
from pipeline.workspace.schema import BATCHES, REVIEW_ALERTS, REVIEW_BATCHES, REVIEW_DECISIONS

FINAL = ("fraud", "not_fraud")
EVERYBODY = "all"
FIRST = ("decide", "supersede")
"""Events that decide an alert that no one else has a say in."""
MOST = 24
"""Pairs that are listed: those with the most rows."""


@dataclass(frozen=True)
class Quality:
    """The quality of reviews in a period. "Unsure" is no label, and counts neither for nor against anybody.

    Attributes
    ----------
    accuracy : mapping of str to Share
        By analyst, and under "all" of them together: decisions on golden rows that were right. Nobody knows which rows
        those are, so that this is the fair measure.
    delivered : mapping of str to Share
        The same for decisions on rows that a label was delivered for since: as often as not for those that were wrong.
    agreement : mapping of str to Share
        The same for second decisions that agree with the first.
    pairs : mapping of str to Share
        The same by the two who decided, whoever of them was first: "ann and bob"; those with most rows first.
    missed : mapping of str to MissedFraud
        By model version: what the audited rows of batches scored in the period say of fraud that was not flagged.
    """

    accuracy: Mapping[str, Share]
    delivered: Mapping[str, Share]
    agreement: Mapping[str, Share]
    pairs: Mapping[str, Share]
    missed: Mapping[str, MissedFraud]


def quality(reading: Reading, weeks: int) -> Quality:
    """Return the quality of the reviews of the last weeks, from the queue's tables alone: no file is read."""
    start, decisions, alerts = reading.at - timedelta(weeks=weeks), REVIEW_DECISIONS.c, REVIEW_ALERTS.c
    is_first = decisions.kind.in_(FIRST)
    return Quality(
        accuracy=_right(reading, start, decisions.kind == "golden", decisions.truth),
        delivered=_right(reading, start, is_first, alerts.delivered),
        agreement=_right(reading, start, decisions.kind == "second", decisions.truth),
        pairs=_pairs(reading, start),
        missed=missed(reading, start),
    )


def _pairs(reading: Reading, start: datetime) -> dict[str, Share]:
    """Return the share of second decisions that agree with the first, by the two who decided."""
    second, first, other = REVIEW_DECISIONS.c, REVIEW_DECISIONS.alias("first").c, REVIEW_DECISIONS.alias("other").c
    # Not who the alert says has decided it: after a difference, that is the lead.
    held_then = (
        *(other.model_name == second.model_name, other.key == second.key, other.number < second.number),
        *(other.kind.in_(FIRST), sa.or_(other.undone_by.is_(None), other.undone_by > second.number)),
    )
    before = sa.select(sa.func.max(other.number)).where(*held_then).correlate(REVIEW_DECISIONS).scalar_subquery()
    here = sa.and_(first.model_name == second.model_name, first.number == before)
    agrees = sa.func.sum(sa.case((second.label == second.truth, 1), else_=0))
    query = (
        sa.select(first.who, second.who, agrees, sa.func.count())
        .where(here, second.model_name == reading.name, second.at >= start, second.undone_by.is_(None))
        .where(second.kind == "second", second.label.in_(FINAL), second.truth.in_(FINAL))
        .group_by(first.who, second.who)
    )
    parts: Counter[str] = Counter()
    wholes: Counter[str] = Counter()
    for *names, part, whole in reading.connection.execute(query):
        pair = " and ".join(sorted(names))
        parts[pair], wholes[pair] = parts[pair] + part, wholes[pair] + whole
    most = sorted(wholes, key=lambda pair: (-wholes[pair], pair))[:MOST]
    return {pair: Share(parts[pair], wholes[pair]) for pair in most}


def _right(
    reading: Reading, start: datetime, condition: sa.ColumnElement[bool], truth: sa.ColumnElement[str]
) -> dict[str, Share]:
    """Return the share of decisions that say what is true, by analyst and of all."""
    decisions, alerts = REVIEW_DECISIONS.c, REVIEW_ALERTS.c
    here = sa.and_(alerts.model_name == decisions.model_name, alerts.key == decisions.key)
    query = (
        sa.select(decisions.who, sa.func.sum(sa.case((decisions.label == truth, 1), else_=0)), sa.func.count())
        .select_from(REVIEW_DECISIONS.join(REVIEW_ALERTS, here))
        .where(decisions.model_name == reading.name, decisions.at >= start, decisions.undone_by.is_(None))
        .where(condition, decisions.label.in_(FINAL), truth.in_(FINAL))
        .group_by(decisions.who)
        .order_by(decisions.who)
    )
    shares = {name: Share(part, whole) for name, part, whole in reading.connection.execute(query)}
    if not shares:
        return {}
    parts, wholes = zip(*((share.part, share.whole) for share in shares.values()), strict=True)
    return {EVERYBODY: Share(sum(parts), sum(wholes)), **shares}


def missed(reading: Reading, start: datetime) -> dict[str, MissedFraud]:
    """Return what the audited rows of batches scored since a moment say of fraud that was not flagged, by version.

    As `pipeline.evaluation.missed.missed_fraud`, of what the queue holds: each fraud among rows drawn with the chance p
    stands for 1 / p, and for the audited rows of its batch without a label. A delivered label goes before a decision.
    The scores of all rows are not in the queue, so that they do not make the interval narrower here.
    """
    batches = defaultdict(list)
    for version, alert, audit in _counts(reading, start):
        if audit["rows"] and audit["labelled"]:
            batches[version].append((alert, audit))
    return {version: _estimate(of) for version, of in sorted(batches.items())}


def _counts(reading: Reading, start: datetime) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Return, for each batch and version, what the queue holds of its alerts and of its audited rows."""
    alerts, batches = REVIEW_ALERTS.c, REVIEW_BATCHES.c
    label = sa.case((alerts.delivered != "", alerts.delivered), else_=alerts.label)
    place = [alerts[name] == batches[name] for name in ("model_name", "batch_id", "model_version")]
    ledger = [BATCHES.c[name] == batches[name] for name in ("model_name", "batch_id", "model_version")]
    of_a_batch = (batches.batch_id, batches.model_version, alerts.kind, BATCHES.c.scored, BATCHES.c.flagged)
    counts = {
        "rows": sa.func.count(),
        "labelled": sa.func.sum(sa.case((label.in_(FINAL), 1), else_=0)),
        "frauds": sa.func.sum(sa.case((label == "fraud", 1), else_=0)),
        "chance": sa.func.max(alerts.chance),
    }
    query = (
        sa.select(*of_a_batch, *(count.label(name) for name, count in counts.items()))
        .select_from(REVIEW_BATCHES.join(REVIEW_ALERTS, sa.and_(*place)).join(BATCHES, sa.and_(*ledger)))
        .where(batches.model_name == reading.name, batches.status == "published", batches.scored_at >= start)
        .group_by(*of_a_batch)
    )
    rows: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for row in reading.connection.execute(query):
        rows[row.batch_id, row.model_version][row.kind] = row._asdict()
    nothing = dict.fromkeys(counts, 0)
    return [(version, kinds.get("alert", nothing), kinds.get("audit", nothing)) for (_, version), kinds in rows.items()]


def _estimate(batches: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> MissedFraud:
    """Return the estimate of one version from its batches."""
    audits = [audit for _, audit in batches]
    weights = [np.full(audit["labelled"], audit["rows"] / audit["labelled"] / audit["chance"]) for audit in audits]
    frauds = [np.arange(audit["labelled"]) < audit["frauds"] for audit in audits]
    return MissedFraud(
        batches=len(batches),
        rows=sum(audit["scored"] - audit["flagged"] for audit in audits),
        audited=sum(audit["rows"] for audit in audits),
        labelled=sum(audit["labelled"] for audit in audits),
        found=sum(audit["frauds"] for audit in audits),
        missed=total(np.concatenate(weights), np.concatenate(frauds)),
        caught=sum(alert["frauds"] for alert, _ in batches),
        alerts=sum(alert["rows"] for alert, _ in batches),
        unlabelled_alerts=sum(alert["rows"] - alert["labelled"] for alert, _ in batches),
    )
