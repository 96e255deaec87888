"""Whether thresholds keep what they promise: realised false-alert rates beside the target, and queues beside theirs.

    python benchmarks/calibration.py --data FOLDER --seeds 5 --json out.json [--model NAME] [--handbook FILE]

The 22 classical tables of ADBench under the honest protocol (benchmarks/adbench.py): normal rows are shuffled, half of
them train and no row is drawn twice. Of the training rows one half, drawn by chance, fits the model and the scaling,
and the other calibrates. Each rate that these are enough for gives its conformal cut; the realised rate is that of the
test set's normal rows, and has to lie in the beta-binomial interval as often as the exact discrete law says. Beside it:
the p-value of a two-sample Kolmogorov-Smirnov test between calibration and test scores of normal rows, which is
uniform where the conformal p-values are valid (small in one case of twenty below 0.05), and the share of false alerts
of the strategy `fdr` at q = 0.1 on all test rows, which on average has to be at most q times the share of normal rows.

With --handbook, the Fraud Detection Handbook's transactions: for each week D, train on the 14 days from D as of the
15th, whose second half has no labels yet, set the threshold for --capacity alerts a day, and score the seven days from
D + 14. Printed are each week's queue with its predicted interval, and how many of the days kept theirs; the last line
counts the weeks whose first training row has all the history that features look back to, for scores drift before. With
--adapt, each week stands there twice, with the fixed cut and with one that is solved again each night on the seven days
before it, held out or scored (threshold.adapt); both are held against what was predicted before the first day.

The data: a folder with NAME.npz files with arrays X and y, where y = 1 is an anomaly; a table with the columns of the
Handbook's simulator.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from adbench import DEFAULT, find_sets, make, note, split
from handbook import DAY, accept, between, configuration, midnight
from scipy import stats
from sklearn.preprocessing import StandardScaler

from models.registry import MODELS
from pipeline.calibration.adapting import adapt
from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import INTERVAL, rank_for_rate, realised_count
from pipeline.calibration.p_values import Calibration
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.capacity import predicted_queue
from pipeline.calibration.strategies.choice import fulfilment
from pipeline.calibration.strategies.fdr import last_p_value
from pipeline.detector.artefact import Detector
from pipeline.features import compute
from pipeline.labels.known import Labels, taken_for_normal
from pipeline.settings.config import Config, ThresholdConfig
from pipeline.tables.parquet import read_batches

RATES = (0.01, 0.05, 0.1)
SHARE = 0.1
"""The share of false alerts that `fdr` is asked for."""
CALIBRATION_SHARE = 0.5
WEEKS = [date(2018, 5, 2) + timedelta(days=7 * number) for number in range(13)]


def calibrate(name: str, X: np.ndarray, y: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Fit on half of the training rows, calibrate on the others, and return what each rate got on the test rows."""
    data = split(X, y, "honest", seed)
    order = np.random.RandomState(seed).permutation(len(data.train))
    n = round(CALIBRATION_SHARE * len(order))
    scaler = StandardScaler().fit(data.train[order[n:]])
    model = make(name, seed).fit(scaler.transform(data.train[order[n:]]))
    known, scores = (model.anomaly_score(scaler.transform(rows)) for rows in (data.train[order[:n]], data.test))
    normal = scores[~data.anomalous]
    p_values = Calibration(known).p_value(scores)
    flags = p_values <= last_p_value(p_values, SHARE)
    shared = {
        "seed": seed,
        "calibration_rows": n,
        "test_normal_rows": len(normal),
        "uniform_p_value": float(stats.ks_2samp(known, normal).pvalue),
        "false_share_of_fdr": float(flags[~data.anomalous].sum() / max(flags.sum(), 1)),
        "fdr_bound": SHARE * len(normal) / len(scores),
    }
    found = []
    for rate in RATES:
        k = rank_for_rate(n, rate)
        if k == 0:
            continue
        low, high = realised_count(n, k, len(normal))
        law = stats.betabinom(len(normal), k, n + 1 - k)
        flagged = int((Calibration(known).p_value(normal) <= rate).sum())
        found.append(
            {
                "rate": rate,
                "expected": k / (n + 1),
                "realised": flagged / len(normal),
                "low": low / len(normal),
                "high": high / len(normal),
                "inside": low <= flagged <= high,
                "exact": float(law.cdf(high) - law.cdf(low - 1)),
                **shared,
            }
        )
    return found


def tables(folder: Path, names: Sequence[str] | None, model: str, seeds: int) -> list[dict[str, Any]]:
    """Return the rows of the first table: each set and rate, means over the seeds, then each rate over all sets."""
    records, everything = [], []
    for set_name, path in find_sets(folder, names).items():
        with np.load(path) as file:
            X, y = file["X"], file["y"]
        note(f"{set_name}: {seeds} seeds")
        found = [{"set": set_name, **item} for seed in range(seeds) for item in calibrate(model, X, y, seed)]
        everything += found
        for rate in RATES:
            records += _summary(set_name, model, rate, [item for item in found if item["rate"] == rate])
    for rate in RATES:
        of_rate = [item for item in everything if item["rate"] == rate]
        records += _summary(f"all of {len({item['set'] for item in of_rate})}", model, rate, of_rate)
    return records


def _summary(set_name: str, model: str, rate: float, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if not found:
        return []
    names = ("expected", "realised", "low", "high", "inside", "exact", "false_share_of_fdr", "fdr_bound")
    rejected = float(np.mean([item["uniform_p_value"] < 0.05 for item in found]))
    return [
        {
            "part": "adbench",
            "set": set_name,
            "model": model,
            "rate": rate,
            **{name: float(np.mean([item[name] for item in found])) for name in names},
            "not_uniform": rejected,
            "calibration_rows": int(np.mean([item["calibration_rows"] for item in found])),
            "test_normal_rows": int(np.mean([item["test_normal_rows"] for item in found])),
            "runs": len(found),
        }
    ]


def weeks(
    data: Path, chosen: Sequence[date], *, model: str | None, seeds: int, alerts_per_day: float, adapts: bool
) -> list[dict[str, Any]]:
    """Return the rows of the second table: each week and seed."""
    config = configuration(data)
    threshold = ThresholdConfig(strategy="capacity", alerts_per_day=alerts_per_day)
    config = config.model_copy(update={"threshold": threshold})
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        note("features")
        accepted = accept(data, config, folder / "accepted.parquet")
        days = (max(chosen) - min(chosen)).days + 21
        earliest = pc.min(pq.read_table(accepted, columns=[config.contract.timestamp]).column(0)).as_py().date()
        pq.write_table(between(accepted, min(chosen), days, config), folder / "rows.parquet")
        features = compute(folder / "rows.parquet", [accepted], config, folder / "features.parquet")
        for first in chosen:
            pq.write_table(between(features, first, 14, config), folder / "train.parquet")
            pq.write_table(between(features, first + 14 * DAY, 7, config), folder / "test.parquet")
            for seed in range(seeds):
                settings = {"seed": seed, **({"name": model} if model else {})}
                chosen_model = config.model_copy(update={"model": config.model.model_copy(update=settings)})
                history = {
                    "history_days": min((first - earliest).days, config.features.max_window_days),
                    "window_days": config.features.max_window_days,
                }
                records += [{**week, **history} for week in _week(folder, first, chosen_model, adapts=adapts)]
                note(f"{first} seed {seed}: {records[-1]['queue']:,} in {records[-1]['days']} days")
    return records


def _week(folder: Path, first: date, config: Config, *, adapts: bool) -> list[dict[str, Any]]:
    detector = Detector.fit(folder / "train.parquet", config, Labels(config), midnight(first + 14 * DAY))
    batches = detector.score(read_batches(folder / "test.parquet"))
    scores = np.concatenate([batch.column("anomaly_score").to_numpy() for batch in batches])
    flags, _ = detector.flag(scores)
    rows = ScoredRows.of(
        pq.read_table(folder / "test.parquet", columns=ScoredRows.columns(config)),
        config,
        scores=scores,
        labels=(unknown := np.full(len(scores), np.nan)),
        normal=taken_for_normal(unknown, in_table=detector.summary["labels"] == config.contract.label),
    )
    weeks_flags = {"fixed": flags, **({"adapting": _adapting(detector, rows)} if adapts else {})}
    return [_record(detector, first, rows, flags=each, cut=cut) for cut, each in weeks_flags.items()]


def _adapting(detector: Detector, rows: ScoredRows) -> np.ndarray:
    """Return which rows of a week are flagged where the cut of each day but the first follows the days before it."""
    settings, held_out, cut = detector.config.threshold, detector.held_out, detector.cut
    start = int(held_out.day.max()) + 1
    scored = held_out.followed_by(replace(rows, day=rows.day + start))
    flags = rows.scores > cut.value
    for day in range(1, int(rows.day.max(initial=0)) + 1):
        before = scored.take((scored.day < start + day) & (scored.day >= start + day - settings.adapt_days))
        before = replace(before, days=float(len(np.unique(before.day))))
        moved = adapt(cut, before, step=settings.adapt_step, nights=1)
        cut = moved.threshold if moved else cut
        flags = np.where(rows.day == day, rows.scores > cut.value, flags)
    return flags


def _record(detector: Detector, first: date, rows: ScoredRows, *, flags: np.ndarray, cut: str) -> dict[str, Any]:
    config, counts = detector.config, rows.daily(flags, "alerts")
    (low, high), (day_low, day_high) = predicted_queue(detector.cut, len(counts)), predicted_queue(detector.cut)
    return {
        "part": "handbook",
        "week": str(first),
        "test_week": str(first + 14 * DAY),
        "model": config.model.name,
        "seed": config.model.seed,
        "cut": cut,
        "alerts_per_day": config.threshold.alerts_per_day,
        "solved_on_days": detector.cut.facts["days"],
        "queue": int(counts.sum()),
        "low": low,
        "high": high,
        "inside": bool(fulfilment(detector.cut, Realised.of(rows, flags)).is_inside),
        "day_low": day_low,
        "day_high": day_high,
        "queues": counts.tolist(),
        "days": len(counts),
        "days_inside": int(((counts >= day_low) & (counts <= day_high)).sum()),
    }


def show(records: Sequence[dict[str, Any]]) -> None:
    """Print both tables."""
    of_sets = [item for item in records if item["part"] == "adbench"]
    if of_sets:
        print(f"{'set':18}{'rate':>6}{'n':>8}{'m':>8}{'expected':>10}{'realised':>10}{'interval':>18}", end="")
        print(f"{'inside':>8}{'exact':>7}{'p < .05':>9}{'false of fdr':>14}{'bound':>7}{'runs':>6}")
    for item in of_sets:
        print(
            f"{item['set']:18}{item['rate']:6.2f}{item['calibration_rows']:8,}{item['test_normal_rows']:8,}"
            f"{item['expected']:10.4f}{item['realised']:10.4f}{item['low']:9.4f}-{item['high']:.4f}  "
            f"{item['inside']:8.2f}{item['exact']:7.2f}{item['not_uniform']:9.2f}{item['false_share_of_fdr']:14.3f}"
            f"{item['fdr_bound']:7.3f}{item['runs']:6}"
        )
    of_weeks = [item for item in records if item["part"] == "handbook"]
    if not of_weeks:
        return
    print(f"\n{'test week':12}{'cut':10}{'seed':>5}{'queue':>8}{'interval':>16}{'':10}{'a day':>16}{'days inside':>13}")
    for item in of_weeks:
        verdict = "inside" if item["inside"] else "outside"
        print(
            f"{item['test_week']:12}{item['cut']:10}{item['seed']:5}{item['queue']:8,}{item['low']:9,}-{item['high']:<7,}{verdict:10}"
            f"{item['day_low']:9,}-{item['day_high']:<7,}{item['days_inside']:8} of {item['days']}"
        )
    whole = [item for item in of_weeks if item["history_days"] == item["window_days"]]
    cuts = dict.fromkeys(item["cut"] for item in of_weeks)
    for which, cut in [(which, cut) for which in ("all weeks", "weeks with a whole history") for cut in cuts]:
        items = [item for item in (of_weeks if which == "all weeks" else whole) if item["cut"] == cut]
        if items:
            kept, days = sum(item["inside"] for item in items), sum(item["days"] for item in items)
            inside = sum(item["days_inside"] for item in items)
            print(
                f"inside, {which}, {cut} cut: {kept} of {len(items)} queues ({kept / len(items):.0%}), {inside} of "
                f"{days} days ({inside / days:.0%}); stated: {INTERVAL:.0%}"
            )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with NAME.npz files")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of split and model, 0 and up")
    parser.add_argument("--model", choices=MODELS, help=f"without it, {DEFAULT}; for --handbook, what init chooses")
    parser.add_argument("--sets", nargs="+", action="extend", help="without it, every set of the folder")
    parser.add_argument("--handbook", type=Path, help="file or folder with the Handbook's columns")
    parser.add_argument("--week", type=date.fromisoformat, action="append", help="D; may be repeated")
    parser.add_argument("--handbook-seeds", type=int, default=1, help="seeds of the model on each week")
    parser.add_argument("--capacity", type=float, default=100, help="alerts a day, for --handbook")
    parser.add_argument("--adapt", action="store_true", help="each week also with a cut that follows the days")
    parser.add_argument("--json", type=Path, help="write both tables as a list of records")
    arguments = parser.parse_args()
    if not (arguments.data or arguments.handbook):
        parser.error("name the folder of the sets with --data, or the transactions with --handbook")
    records = []
    if arguments.data:
        records += tables(arguments.data, arguments.sets, arguments.model or DEFAULT, arguments.seeds)
    if arguments.handbook:
        chosen = arguments.week or WEEKS
        records += weeks(
            arguments.handbook,
            chosen,
            model=arguments.model,
            seeds=arguments.handbook_seeds,
            alerts_per_day=arguments.capacity,
            adapts=arguments.adapt,
        )
    show(records)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
