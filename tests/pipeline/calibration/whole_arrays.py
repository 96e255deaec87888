"""What each strategy says of a batch, by its formula on all rows at once, read off the table itself."""

import math

import numpy as np
import pyarrow as pa

from pipeline.calibration.intervals import HIGH, LOW, predicted_count, realised_count
from pipeline.calibration.p_values import TailLaw
from pipeline.calibration.strategies.capacity import predicted_queue
from pipeline.calibration.strategies.fdr import Fdr
from pipeline.calibration.strategies.tail import rates
from pipeline.calibration.threshold import Fulfilment
from pipeline.numbers import percent


def on_whole_arrays(threshold, rows, *, labels, flags):
    """What came of the typed rows of `tests.pipeline.fitted`, labelled as the table says nothing of itself."""
    labels = np.full(len(flags), np.nan) if labels is None else labels
    say = FORMULAS[threshold.strategy]
    whole = say(threshold, rows, labels, flags)
    if not threshold.parts or threshold.strategy in ("capacity", "fdr"):
        return whole
    values = np.array(rows[threshold.segment].to_pylist())
    of_parts = {
        value: say(part, rows.filter(pa.array(values == value)), labels[values == value], flags[values == value])
        for value, part in threshold.parts.items()
    }
    verdicts = {value: part.is_inside for value, part in of_parts.items() if part.is_inside is not None}
    if not verdicts:
        return Fulfilment(whole.text)
    misses = [value for value, is_inside in verdicts.items() if not is_inside]
    text = f"By {threshold.segment}, {len(verdicts) - len(misses)} of {len(verdicts)} lie inside their interval"
    return Fulfilment(text + "".join(f"; {value}: {of_parts[value].text[:-1]}" for value in misses) + ".", not misses)


def within(text, low, value, high):
    word = "inside" if low <= value <= high else "outside, above it" if value > high else "outside, below it"
    text = f"{text}, {word}: between {low:,} and {high:,} were predicted."
    return Fulfilment(text, bool(low <= value <= high))


def false_alerts(labels, flags, interval):
    normal = labels == 0
    rows, false = int(normal.sum()), int((flags & normal).sum())
    if not rows:
        return Fulfilment("No label of these rows is known yet, so the realised false-alert rate is not known either.")
    low, high = interval(rows)
    text = f"Of {rows:,} rows taken for normal by now, {false:,} were flagged ({percent(false / rows)})"
    return within(text, low, false, high)


def false_alert_rate(threshold, _, labels, flags):
    n, k = (int(threshold.facts[name]) for name in ("normal_rows", "k"))
    return false_alerts(labels, flags, lambda rows: realised_count(n, k, rows))


def tail(threshold, _, labels, flags):
    facts = threshold.facts
    law = TailLaw(facts["level"], int(facts["exceedances"]), facts["shape"], facts["scale"])
    draws = rates(law, int(facts["normal_rows"]), threshold.value)

    def interval(rows):
        counts = np.random.default_rng(0).binomial(rows, draws)
        return [int(each) for each in np.quantile(counts, [LOW, HIGH], method="inverted_cdf")]

    return false_alerts(labels, flags, interval)


def capacity(threshold, rows, _, flags):
    days = rows["at"].to_numpy().astype("datetime64[D]")
    cards = np.array(rows["card"].to_pylist(), dtype=object)
    queue = {(day, card) for day, card in zip(days[flags], cards[flags], strict=True)}
    counts = [sum(day == each for day, _ in queue) for each in np.unique(days)]
    (low, high), (first, last) = predicted_queue(threshold, len(counts)), predicted_queue(threshold)
    kept = sum(first <= count <= last for count in counts)
    whole = within(f"The queue of {len(queue):,} customers lies", low, len(queue), high)
    text = whole.text.replace("lies,", "lies").removesuffix(".")
    text += f" for the {len(counts)} days together, and {first:,} to {last:,} for a day, which {kept} of {len(counts)} "
    return Fulfilment(f"{text}days kept.", whole.is_inside)


def fdr(threshold, _, labels, flags):
    n, share = int(threshold.facts["normal_rows"]), threshold.settings["share"]
    text = f"No group of fewer than {Fdr(share=share).least(n, len(flags)):,} alerts could be flagged among these "
    text += f"{len(flags):,} rows (m / (q (n + 1)), n = {n:,})."
    alerts, false = (flags & ~np.isnan(labels)).sum(), (flags & (labels == 0)).sum()
    if not alerts:
        return Fulfilment(text + (" The label of no alert is known yet." if flags.any() else ""))
    text += f" Of {alerts:,} alerts with a known label {false:,} are false ({percent(false / alerts)}), where "
    return Fulfilment(f"{text}{percent(share)} or less is promised on average over batches.")


def cost(threshold, rows, labels, flags):
    known, settings = ~np.isnan(labels), threshold.settings
    if not known.any():
        return Fulfilment("No label of these rows is known yet, so what was saved is not known either.")
    recovered = settings["recovered_share"] * rows["eur"].to_numpy() * (labels == 1)
    saved = math.fsum(np.where(flags & known, recovered - settings["review_cost"], 0.0))
    days = len(np.unique(rows["at"].to_numpy().astype("datetime64[D]")[known]))
    text = f"The {(flags & known).sum():,} alerts among {known.sum():,} rows with a known label saved {saved:,.2f}, "
    text += f"{saved / days:,.2f} a day, where about {threshold.facts['saved_per_day']:,.2f} was expected."
    return Fulfilment(text)


def f_beta(threshold, _, labels, flags):
    known, fraud = ~np.isnan(labels), labels == 1
    if not fraud.any():
        return Fulfilment("No fraud among these rows is known yet, so that F-beta is not known either.")
    hits, alerts, frauds = (flags & fraud).sum(), (flags & known).sum(), fraud.sum()
    text = f"F-1 is {2 * hits / (frauds + alerts):.3f} on the {known.sum():,} rows with a known label, where about "
    text += f"{threshold.facts['f_beta']:.3f} was expected: {hits:,} of {alerts:,} alerts are fraud, of {frauds:,} "
    return Fulfilment(f"{text}frauds.")


def precision_at_least(threshold, _, labels, flags):
    alerts, hits = int((flags & ~np.isnan(labels)).sum()), int((flags & (labels == 1)).sum())
    if not alerts:
        return Fulfilment("No label of an alert is known yet, so the realised precision is not known either.")
    low, high = predicted_count(int(threshold.facts["frauds"]), int(threshold.facts["alerts"]), alerts)
    text = f"Of {alerts:,} alerts with a known label {hits:,} are fraud ({percent(hits / alerts)})"
    return within(text, low, hits, high)


def recall_at_least(threshold, _, labels, flags):
    frauds, hits = int((labels == 1).sum()), int((flags & (labels == 1)).sum())
    if not frauds:
        return Fulfilment("No fraud among these rows is known yet, so the realised recall is not known either.")
    low, high = realised_count(int(threshold.facts["frauds"]), int(threshold.facts["rank"]), frauds)
    return within(f"Of {frauds:,} known frauds {hits:,} were flagged ({percent(hits / frauds)})", low, hits, high)


FORMULAS = {
    formula.__name__: formula
    for formula in (
        *(false_alert_rate, tail, capacity, fdr),
        *(cost, f_beta, precision_at_least, recall_at_least),
    )
}
