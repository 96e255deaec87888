"""The sections of a model document: the words for what is kept about a version, and for what is not known.

Headings are those of the interagency guidance on model risk management of April 2026, as its summary in OCC Bulletin
2026-13 lists them, with the parts of validation that it took over from SR 11-7.
"""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.calibration.threshold import Threshold
from pipeline.detector.family import parameters_of
from pipeline.detector.feedback import Feedback
from pipeline.evaluation.injection import KINDS
from pipeline.evaluation.measures import LEFT_OUT, WITHOUT_CARDS, K
from pipeline.numbers import metric, minute, number, per_day, percent
from pipeline.pages.document import DocumentTable, ModelDocument, Section
from pipeline.selection.dossier import Dossier
from pipeline.settings.sensitive import mask
from pipeline.settings.titles import title

UNKNOWN = "not known"
GUIDANCE = (
    "The headings follow the interagency guidance on model risk management of April 2026 (SR 26-2, OCC Bulletin "
    "2026-13). What stands under them was read from what training, comparisons, scoring and the watch have kept; "
    "nothing was measured anew, and what none of them keeps is said to be not known."
)
MEASURES = {
    "average_precision": "Average precision",
    "auroc": "AUROC",
    f"card_precision_at_{K}": f"Card precision@{K} a day",
    "precision": "Precision at the threshold",
    "recall": "Recall at the threshold",
    "money_recall": "Share of the fraudulent money flagged",
    "alerts_per_day": "Alerts a day",
}
"""What tables show of what was measured, by the name that it is logged under."""
ONLY_FLAGS = (
    "A flag says that a row is unlike normal ones, not that it is fraud. The model is not made to refuse a payment, "
    "close an account or report anybody by itself: a person looks at each alert first."
)
NOT_FOR = (
    "It is not for another table, currency, country or kind of payment than the training had, not for credit "
    "decisions, and not for an estimate of losses."
)
SOUND = (
    "The threshold rests on p-values: a row's is the share of held-out normal rows that score at least as high, which "
    "is valid where rows are exchangeable with these, whatever the scores. No row that it is held against was fitted "
    "on, and every feature is made of what was known at the time of its row."
)
MADE_HERE = (
    "The weights were fitted by the run above, from the table above alone: no other model's weights or scores are in "
    "them, but for what the table's columns hold. The model needs these packages:"
)
BY_FIRST_TREES = (
    "The trees that score new rows have learned from known frauds of the calibration block, too; the block itself was "
    "scored by trees that had not, and on these scores the threshold was solved."
)
LAST = 30
"""The last changes of the watch that are listed."""


def model_document(dossier: Dossier, made_at: datetime) -> ModelDocument:
    """Return the document of a version.

    Parameters
    ----------
    dossier : Dossier
    made_at : datetime
        UTC.
    """
    return ModelDocument(
        title=f"{dossier.detector.config.name}: model document",
        subtitle=f"{dossier.version.title}, trained on {_period(dossier)}",
        made_at=made_at,
        sections=[
            _overview(dossier),
            Section(title="Model development and use", parts=[part(dossier) for part in DEVELOPMENT]),
            Section(title="Model validation and monitoring", parts=[part(dossier) for part in VALIDATION]),
            Section(title="Governance and controls", parts=[_changes(dossier), _controls()]),
            _third_parties(dossier),
        ],
    )


def _overview(dossier: Dossier) -> Section:
    detector, version = dossier.detector, dossier.version
    standing = {event.check: event.state for event in dossier.events}
    open_checks = [f"{check} {state}" for check, state in standing.items() if state != "ok"]
    rows = sum(entry.scored for entry in dossier.batches)
    return Section(
        title="Overview",
        texts=[GUIDANCE],
        facts={
            "Model": detector.config.name,
            "Version": version.title,
            "Made": f"{minute(version.created)} UTC, by run {dossier.run.run_id or UNKNOWN}",
            "Family": str(detector.summary["model"]),
            "Trained on": _period(dossier),
            "Threshold": f"{detector.cut.strategy.replace('_', ' ')}, {per_day(detector.cut.alerts_per_day)} expected",
            "Scored so far": f"{rows:,} rows in {_count(len(dossier.batches), 'batch', 'batches')}",
            "Watch": ", ".join(open_checks) or ("no check stands open" if dossier.seen else UNKNOWN),
            "Owner, materiality": f"{UNKNOWN}: to be added by whoever answers for the model's use",
        },
    )


def _purpose(dossier: Dossier) -> Section:
    detector = dossier.detector
    entities = [title(name, detector.config) for name in detector.config.contract.entities]
    parameters = {name: value for name, value in parameters_of(detector.model).items() if value is not None}
    of_whom = f" of each {' and '.join(entities)}" if entities else ""
    return Section(
        title="Purpose and method",
        texts=[
            "The model says of each transaction how unlike normal ones it is, and flags the most unlike for a person "
            "to look at, each with reasons. It is fitted on rows that count as normal, not on examples of fraud"
            + (", and known frauds add to its score." if detector.feedback is not None else "."),
            (
                f"It looks at the row itself and at the past{of_whom} up to the row, no longer than "
                f"{_days(detector.config.features.max_window_days)} back."
            ),
        ],
        facts={
            "Family": str(detector.summary["model"]),
            "Parameters": ", ".join(f"{name} = {value}" for name, value in parameters.items()),
            "Known frauds": str(detector.summary.get("feedback", "play no part")),
            "Columns of the model": f"{detector.summary['columns']:,}",
        },
    )


def _data(dossier: Dossier) -> Section:
    summary, table, detector = dossier.detector.summary, dossier.training.table, dossier.detector
    counts = [f"{name} {count:,}" for name, count in table.items() if name not in ("uri", "sha256", "num_rows")]
    labels = {
        "none": "none was there",
        "from review": "from review",
    }.get(str(summary["labels"]), f"column {summary['labels']}, and review where there was one")
    known = int(summary["rows"]) - int(summary["unknown_label_rows"])
    return Section(
        title="Data and periods",
        facts={
            "Table": Path(str(table["uri"])).name if "uri" in table else UNKNOWN,
            "SHA-256 of the table": str(table.get("sha256") or dossier.run.tags.get("data_digest") or UNKNOWN),
            "Rows of the table": ", ".join(counts) or UNKNOWN,
            "Training period": f"{minute(summary['first_timestamp'])} to {minute(summary['last_timestamp'])} UTC",
            "Rows of the period": f"{summary['rows']:,}",
            "Fitted on": f"{summary['fit_rows']:,} normal rows before {minute(detector.calibration_start)} UTC",
            "Early stopping": f"{summary['early_stopping_rows']:,} rows of the same days",
            "Calibration": f"{summary['calibration_rows']:,} rows from {minute(detector.calibration_start)} UTC on, "
            f"{summary['calibration_normal_rows']:,} of them normal: none of them was fitted on",
            "Labels": f"{labels}; as known on {minute(detector.as_of)} UTC",
            "Labels known": f"{known:,} of {summary['rows']:,} rows, {summary['fraud_rows']:,} of them fraud",
        },
    )


def _features(dossier: Dossier) -> Section:
    rows = [(feature.name, feature.family or UNKNOWN, feature.text) for feature in dossier.features]
    left_out = [
        f"{text}: {dossier.detector.summary[name]}."
        for name, text in {
            "unused_features": "Not used, for they never varied or are risks with too few labels",
            "ignored_features": "Looked at only where known frauds count",
        }.items()
        if dossier.detector.summary.get(name)
    ]
    sensitive = [title(name, dossier.detector.config) for name in dossier.detector.config.contract.sensitive]
    hidden = [f"Sensitive, and masked wherever people read: {', '.join(sensitive)}."] if sensitive else []
    return Section(
        title="Features", tables=[DocumentTable(("Feature", "Family", "What it is"), rows)], texts=[*left_out, *hidden]
    )


def _threshold(dossier: Dossier) -> Section:
    cut, config = dossier.detector.cut, dossier.detector.config
    settings = ", ".join(f"{name} = {number(value)}" for name, value in cut.settings.items())
    rows = [
        (mask(value, config.contract, cut.segment), f"{part.value:.6g}", number(part.alerts_per_day, 1), part.promise)
        for value, part in cut.parts.items()
    ]
    header = (title(cut.segment, config), "Flagged above", "Alerts a day", "Promise")
    return Section(
        title="Threshold and its promise",
        texts=[cut.promise],
        facts={
            "Strategy": cut.strategy.replace("_", " ") + (f" ({settings})" if settings else ""),
            "Flagged above": "a line drawn anew for each batch" if cut.is_per_batch else f"a score of {cut.value:.6g}",
            "Expected": f"{per_day(cut.alerts_per_day)}, {percent(cut.alert_share)} of rows",
            "Explores": _explored(cut),
        },
        tables=[DocumentTable(header, rows)] if rows else [],
    )


def _explored(cut: Threshold) -> str:
    if cut.explore is None:
        return "no part of the queue"
    return f"rows that are not flagged, above a one-class score of {cut.explore:.6g}"


def _limits(dossier: Dossier) -> Section:
    summary, detector = dossier.detector.summary, dossier.detector
    return Section(
        title="Use and its limits",
        points=[
            ONLY_FLAGS,
            NOT_FOR,
            "A fraud that looks like the customer's ordinary payments in every feature above is not found.",
            _limit_of_drift(summary),
            _limit_of_labels(summary),
            _limit_of_normal_rows(summary),
            (
                f"A gap in the history of up to {_days(detector.config.features.max_window_days)} before a batch makes "
                "the past of its entities shorter than it was, and their rows look newer than they are."
            ),
        ],
    )


def _limit_of_drift(summary: Mapping[str, Any]) -> str:
    return (
        f"Drift: the promise holds for rows like the {summary['calibration_normal_rows']:,} normal ones of the "
        f"{float(summary['calibration_days']):.1f} days of calibration. Where customers, amounts or frauds change, the "
        "share that is flagged moves with them until another threshold is set, or another version trained."
    )


def _limit_of_labels(summary: Mapping[str, Any]) -> str:
    if summary["labels"] == "none":
        return "Labels: there were none, so that how much fraud is found, or missed, is not known."
    unknown = int(summary["unknown_label_rows"])
    return (
        f"Labels: {unknown:,} of {summary['rows']:,} rows had none yet. One that came later, or was wrong, is in "
        "no figure here; where only alerts are reviewed, fraud that was never flagged counts as normal."
    )


def _limit_of_normal_rows(summary: Mapping[str, Any]) -> str:
    if summary["labels"] != "none" and not summary["unknown_label_rows"]:
        return (
            "Contamination: every row of the training had a label. Fraud with a wrong one makes its like look normal, "
            "and lifts the threshold; how much of it there is, is not known."
        )
    silent, share = summary.get("taken_for_normal_rows"), summary.get("contamination")
    if not silent:
        return (
            "Contamination: fraud among the rows that count as normal makes its like look normal, and lifts the "
            "threshold. How much of it there is, is not known beyond the labels above."
        )
    said = (
        f"about {percent(float(share))} of them fraud"
        if share is not None
        else "how many of them are fraud is not known"
    )
    return (
        f"Contamination: {silent:,} rows whose label is overdue were taken for normal, {said}. They make their like "
        "look normal and score high in calibration, so that fewer normal rows are flagged than promised."
    )


def _soundness(dossier: Dossier) -> Section:
    measures = dossier.training.measures
    rows = [
        (what, *(percent(measures.get(f"injected_{kind}_{name}", math.nan)) for name in ("recall", "top_reason")))
        for kind, what in KINDS.items()
        if f"injected_{kind}_recall" in measures
    ]
    header = ("What was done to normal rows", "Flagged", "Named first")
    return Section(
        title="Conceptual soundness",
        texts=[
            SOUND,
            *([BY_FIRST_TREES] if isinstance(dossier.detector.feedback, Feedback) else []),
            "Anomalies made from normal rows show whether what lies beyond everything usual is flagged and named; they "
            "do not stand for fraud."
            if rows and not dossier.is_derived
            else "What becomes of anomalies made from normal rows is not known at this threshold.",
        ],
        tables=[DocumentTable(header, rows)] if rows and not dossier.is_derived else [],
    )


def _outcomes(dossier: Dossier) -> Section:
    measures = dossier.measures
    rows = [(name, _interval(measures, key)) for key, name in MEASURES.items() if key in measures]
    rows_of = f"{dossier.detector.summary['calibration_rows']:,} rows of the calibration block"
    texts = [f"On the {rows_of}, which took no part in fitting."]
    if dossier.is_derived:
        weights_of = dossier.run.tags.get("weights_of", UNKNOWN)
        texts.append(f"Measured for version {weights_of}, which has the same weights; at this threshold: {UNKNOWN}.")
    if not rows:
        texts = ["How well frauds are found is not known: no label was there, or the run's measures are gone."]
    left_out = LEFT_OUT if dossier.detector.config.contract.entities else WITHOUT_CARDS
    return Section(
        title="Outcomes analysis",
        texts=[*texts, *([left_out] if rows else [])],
        tables=[DocumentTable(("Measure", "Value, and its interval"), rows)] if rows else [],
    )


def _segments(dossier: Dossier) -> Section:
    backtest, config = dossier.backtest, dossier.detector.config
    if not backtest:
        text = "Not known: no backtest has the settings of this version; assay backtest --by COLUMN makes one."
        return Section(title="Over time and by segment", texts=[text])
    settings = backtest["settings"]
    column = settings["segment"]
    about = (
        f"A backtest with the settings of this version, {settings['from']} to {settings['to']}: each test by a model "
        f"of its own, trained on {settings['train_days']} days before it. It is of these settings, not of this "
        "version's weights."
    )
    names = [name for name in MEASURES if name in backtest["all"]]
    parts = {"all tests": backtest["all"]}
    parts |= {f"{block['test'][0]} to {block['test'][1]}": block["measures"] for block in backtest["blocks"]}
    parts |= {
        f"{title(column, config)} {mask(value, config.contract, column)}": part
        for value, part in backtest["segments"].items()
    }
    rows = [
        (part, *(_ends(**each[name]) if name in each else UNKNOWN for name in names)) for part, each in parts.items()
    ]
    return Section(
        title="Over time and by segment",
        texts=[
            about,
            *([] if column else [f"By segment: {UNKNOWN}; assay backtest --by COLUMN says it."]),
            str(backtest["intervals"]),
        ],
        tables=[DocumentTable(("Tested", *(MEASURES[name] for name in names)), rows)],
    )


def _stability(dossier: Dossier) -> Section:
    compared = dossier.compared
    if compared is None:
        text = "Not known: no comparison with a version before it was logged; assay compare makes one."
        return Section(title="Stability: the version before", texts=[text])
    measures = compared.measures
    rows = [
        (name, _interval(measures, key), _interval(measures, f"{key}_less_baseline", sign=True))
        for key, name in MEASURES.items()
        if key in measures
    ]
    verdict = f" {compared.verdict}." if compared.verdict else ""
    queue = {
        "Alerts in both queues": percent(measures.get("queue_overlap", math.nan)),
        "Rank correlation of scores": metric(measures.get("rank_correlation", math.nan)),
    }
    return Section(
        title="Stability: the version before",
        texts=[
            (
                f"Compared with version {compared.versions[0]} on {minute(compared.at)} UTC, on "
                f"{number(int(measures.get('compared_rows', 0)))} rows that neither learned from.{verdict}"
            )
        ],
        facts=queue,
        tables=[DocumentTable(("Measure", "This version", f"Less version {compared.versions[0]}"), rows)]
        if rows
        else [],
    )


def _reproduction(dossier: Dossier) -> Section:
    detector, run = dossier.detector, dossier.training
    scores = sha256(detector.held_out.scores.tobytes()).hexdigest()
    return Section(
        title="Reproducibility",
        texts=[
            "Same rows, same settings, same seed and same packages give the same artefact, in whatever order rows come."
        ],
        facts={
            "Seed": str(detector.config.model.seed),
            "SHA-256 of the table": str(run.table.get("sha256") or run.tags.get("data_digest") or UNKNOWN),
            "SHA-256 of the held-out scores": scores,
            "Batch": run.tags.get("batch_id", UNKNOWN),
            "Run of the weights": run.run_id or UNKNOWN,
            "Python": run.python or UNKNOWN,
        },
    )


def _monitoring(dossier: Dossier) -> Section:
    batches, seen = dossier.batches, dossier.seen
    if not batches:
        return Section(title="Ongoing monitoring", texts=["This version has scored no batch yet."])
    totals = Counter[str]()
    for entry in batches:
        totals.update(read=entry.read, accepted=entry.accepted, quarantined=entry.quarantined, flagged=entry.flagged)
        totals.update(scored=entry.scored, replaced=entry.status == "replaced")
    ends = [entry.last_timestamp for entry in batches if entry.last_timestamp]
    starts = [entry.first_timestamp for entry in batches if entry.first_timestamp]
    facts = {
        "Batches scored": f"{len(batches):,}, {totals['replaced']:,} of them replaced since",
        "Rows of": f"{minute(min(starts))} to {minute(max(ends))} UTC" if ends else UNKNOWN,
        "Rows": f"{totals['read']:,} read, {totals['accepted']:,} accepted, {totals['quarantined']:,} quarantined, "
        f"{totals['scored']:,} scored",
        "Flagged": f"{totals['flagged']:,} ({percent(totals['flagged'] / max(totals['scored'], 1))})",
        "Promise kept": _kept(dossier),
    }
    checks = [(check.name, check.state, check.text) for check in seen.checks] if seen else []
    missing = "How days stand against the training is not known: the watch was off, or their profiles are gone."
    return Section(
        title="Ongoing monitoring",
        texts=[] if seen else [missing],
        facts=facts,
        tables=[DocumentTable(("Check", "State", f"As of {seen.days[-1]}"), checks)] if seen else [],
    )


def _kept(dossier: Dossier) -> str:
    """Return on how many days the alerts lay where the calibration lets one expect them."""
    seen = dossier.seen
    if seen is None or not seen.tested:
        return UNKNOWN
    mean, low, high = seen.alerts.mean, seen.alerts.low, seen.alerts.high
    inside = sum(low <= seen.profiles[day].flagged <= high for day in seen.tested)
    return (
        f"{inside:,} of {_count(len(seen.tested), 'whole day', 'whole days')} have {low:,.0f} to {high:,.0f} alerts, "
        f"as nine days in ten should ({mean:,.1f} on average)"
    )


def _events(dossier: Dossier) -> Section:
    events = list(dossier.events)[-LAST:]
    rows = [
        (str(event.day), event.check, "worse" if event.is_worse else f"{event.previous} to {event.state}", event.reason)
        for event in events
    ]
    if not rows:
        text = "No check of the watch has changed its state on what this version scored."
        return Section(title="Changes of the watch", texts=[text])
    more = len(dossier.events) - len(rows)
    return Section(
        title="Changes of the watch",
        texts=[f"The last {len(rows):,}, and {more:,} before."] if more else [],
        tables=[DocumentTable(("Day", "Check", "State", "Why"), rows)],
    )


def _changes(dossier: Dossier) -> Section:
    number_of = dossier.version.number
    rows = [
        (
            f"{minute(change.at)} UTC",
            f"{change.alias} {'given' if change.version == number_of else 'taken'} ({change.action})",
            change.who,
            change.why + (f" (failed gates: {', '.join(change.failed_gates)})" if change.failed_gates else ""),
        )
        for change in dossier.changes
    ]
    if not rows:
        return Section(title="Changes of alias", texts=[f"Who gave it which alias, and why, is {UNKNOWN}."])
    return Section(title="Changes of alias", tables=[DocumentTable(("When", "What", "Who", "Why"), rows)])


def _controls() -> Section:
    return Section(
        title="Controls",
        points=[
            "A version becomes champion by passing the gates of [promotion], or by force with a reason that is kept.",
            "A contract that has changed since the training is refused, and so is a damaged artefact.",
            "Each batch is scored once by a version; the ledger has its digest, its counts and its threshold.",
            f"Independent validation, its findings, and who approved the use: {UNKNOWN} here.",
        ],
    )


def _third_parties(dossier: Dossier) -> Section:
    packages = [tuple(line.split("==", 1)) for line in dossier.training.packages if "==" in line]
    if not packages:
        text = f"The packages that the model was made with are {UNKNOWN}: its files do not say."
        return Section(title="Vendor and other third-party products", texts=[text])
    return Section(
        title="Vendor and other third-party products",
        texts=[MADE_HERE],
        tables=[DocumentTable(("Package", "Version"), packages)],
    )


def _period(dossier: Dossier) -> str:
    summary = dossier.detector.summary
    return f"{summary['first_timestamp']:.10} to {summary['last_timestamp']:.10}"


def _interval(measures: Mapping[str, float], name: str, *, sign: bool = False) -> str:
    return _ends(*(measures.get(key) for key in (name, f"{name}_low", f"{name}_high")), sign=sign)


def _ends(value: float | None, low: float | None, high: float | None, *, sign: bool = False) -> str:
    """Return a value with its interval; "not known" for one that is not there."""
    if value is None:
        return UNKNOWN
    digits = 3 if abs(value) <= 1 else 1
    text = metric(value, digits, sign=sign)
    if low is None or high is None:
        return text
    return f"{text} ({metric(low, digits, sign=sign)} to {metric(high, digits, sign=sign)})"


def _days(days: float) -> str:
    return _count(days, "day", "days")


def _count(amount: float, one: str, many: str) -> str:
    return f"{number(amount)} {one if amount == 1 else many}"


DEVELOPMENT = (_purpose, _data, _features, _threshold, _limits)
VALIDATION = (_soundness, _outcomes, _segments, _stability, _reproduction, _monitoring, _events)
