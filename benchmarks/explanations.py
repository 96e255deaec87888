"""Whether the first reason of an alert names what is wrong with it: known anomalies, known scenarios of fraud.

    python benchmarks/explanations.py --data FILE_OR_FOLDER --week 2018-07-11 --week 2018-07-25 --seeds 3

Two kinds of truth, on the weeks of the Fraud Detection Handbook (benchmarks/handbook.py: trained on the 7 days from D,
tested on the 7 days from D + 14) and, with --simulator, on the package's own simulator:

- injected: rows of the test week that are normal and not flagged, changed in one encoded column
  (pipeline/evaluation/injection.py). Right is the column that was changed. Of swapped and rare values, which often are
  nothing unusual, only the flagged rows count.
- scenarios: flagged frauds. Right is, for those that are about the amount, a feature of the amount; for a compromised
  terminal, the terminal's risk.

The mark: 90 % of the injected anomalies at six standard deviations, and of each scenario. Weeks D up to 2018-06-27
are for choosing, later ones for reporting.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import handbook
import numpy as np
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.evaluation.injection import inject_into, share
from pipeline.features import compute
from pipeline.inference.roles import infer
from pipeline.labels.known import Labels
from pipeline.scoring.reasons import assign
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.file import read_config
from pipeline.simulation import simulate
from pipeline.tables.reading import open_table

SCENARIOS = {
    1: ("1: amount over 220", "amount"),
    2: ("2: compromised terminal", "risk"),
    3: ("3: leaked credentials", "amount"),
}
SIMULATED = {
    "amount_above_habit": ("amount above habit", "amount"),
    "compromised_terminal": ("compromised terminal", "risk"),
    "leaked_credentials": ("leaked credentials", "amount"),
}


def injected(source: str, detector: Detector, test: Path, seed: int) -> list[dict[str, Any]]:
    """Return a record a kind of injected anomaly."""
    rows = pq.read_table(test)
    scores, labels = detector.anomaly_scores(rows), Labels(detector.config).known(rows, detector.as_of)
    return [
        {
            "source": source,
            "what": item.text,
            "right": "the column that was changed",
            "seed": seed,
            "rows": item.rows,
            "flagged": item.flagged,
            "named": item.named if item.kind in ("plus", "minus") else item.flagged_and_named,
            "of": item.rows if item.kind in ("plus", "minus") else item.flagged,
        }
        for item in inject_into(test, detector, scores, labels, seed=seed)
    ]


def scenarios(
    source: str, detector: Detector, test: Path, members: dict[tuple[str, str], np.ndarray], *, seed: int
) -> list[dict[str, Any]]:
    """Return a record a scenario: its rows, how many are flagged, and of how many the first reason is right.

    Parameters
    ----------
    source : str
    detector : Detector
    test : Path
    members : dict of (scenario, right reason) to ids
    seed : int
    """
    contract = detector.config.contract
    rows = pq.read_table(test)
    matrix = detector.encoder.transform(rows)
    flagged = detector.matrix_scores(matrix) > detector.threshold
    top = assign(detector, matrix[flagged]).top
    ids = rows.column(contract.id).to_numpy(zero_copy_only=False)
    right = {
        "amount": np.array([name == contract.amount or name.endswith(f" {contract.amount}") for name in top], bool),
        "risk": np.array([name == "TERMINAL_ID: risk" for name in top], bool),
    }
    records = []
    for (name, reason), own in members.items():
        there = np.isin(ids, own)
        alerts = there[flagged]
        records.append(
            {
                "source": source,
                "what": name,
                "right": "an amount" if reason == "amount" else "the terminal's risk",
                "seed": seed,
                "rows": int(there.sum()),
                "flagged": int(alerts.sum()),
                "named": int((right[reason] & alerts).sum()),
                "of": int(alerts.sum()),
            }
        )
    return records


def of_week(first: date, accepted: Path, config: Config, folder: Path, *, seeds: int) -> list[dict[str, Any]]:
    """Return the records of one week of the handbook."""
    week = handbook.prepare(accepted, first, config, folder)
    rows = pq.read_table(week.test, columns=[config.contract.id, handbook.SCENARIO])
    scenario = rows.column(handbook.SCENARIO).to_numpy()
    ids = rows.column(config.contract.id).to_numpy()
    members = {names: ids[scenario == number] for number, names in SCENARIOS.items()}
    records = []
    for seed in range(seeds):
        detector = Detector.fit(week.train, seeded(config, seed), Labels(seeded(config, seed)), week.as_of)
        source = f"handbook, D = {first}"
        records += injected(source, detector, week.test, seed)
        records += scenarios(source, detector, week.test, members, seed=seed)
    return records


def of_simulator(folder: Path, seeds: int, rows: int) -> list[dict[str, Any]]:
    """Return the records of simulated tables, one a seed: 30 days of history, 23 to train on, 8 to test."""
    records = []
    for seed in range(seeds):
        made = simulate(folder / "simulated.parquet", rows=rows, days=61, seed=seed, malformed=False)
        settings = TableConfig(path="simulated.parquet")
        config = infer(open_table(made.path, TableConfig()), settings=settings, label=handbook.LABEL)[0]
        first = made.first_day + timedelta(days=30)
        pq.write_table(handbook.between(made.path, first, 31, config), folder / "rows.parquet")
        features = compute(folder / "rows.parquet", [made.path], config, folder / "features.parquet")
        train, test = folder / "train.parquet", folder / "test.parquet"
        pq.write_table(handbook.between(features, first, 23, config), train)
        pq.write_table(handbook.between(features, first + timedelta(days=23), 8, config), test)
        as_of = handbook.midnight(first) + timedelta(days=30)
        detector = Detector.fit(train, seeded(config, seed), Labels(seeded(config, seed)), as_of)
        members = {names: made.frauds[name] for name, names in SIMULATED.items()}
        records += injected("simulator", detector, test, seed)
        records += scenarios("simulator", detector, test, members, seed=seed)
    return records


def seeded(config: Config, seed: int) -> Config:
    """Return the configuration with another seed of the model."""
    return config.model_copy(update={"model": config.model.model_copy(update={"seed": seed})})


def summed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one record a line of the table: counts over the seeds, shares with their Wilson intervals."""
    frame: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in records:
        frame.setdefault((item["source"], item["what"], item["right"]), []).append(item)
    lines = []
    for (source, what, right), items in frame.items():
        rows, flagged, named, of = (sum(item[name] for item in items) for name in ("rows", "flagged", "named", "of"))
        found = share(named, of)
        line = {"source": source, "what": what, "right": right, "seeds": len(items), "rows": rows, "flagged": flagged}
        line |= {"first_reasons": of, "named": named}
        defined = {"top_reason": found.value, "low": found.low, "high": found.high} if of else {}
        lines.append(line | defined)
    return lines


def show(lines: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"\n{'':26}{'anomaly':46}{'rows':>7}{'flagged':>9}  {'first reason is':30}{'share':>7}")
    for item in lines:
        share_of = (
            f"{item['top_reason']:7.3f} ({item['low']:.3f} to {item['high']:.3f})" if "low" in item else "      -"
        )
        print(
            f"{item['source']:26}{item['what']:46}{item['rows']:7,}{item['flagged'] / max(item['rows'], 1):9.3f}  "
            f"{item['right']:30}{share_of}"
        )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="file or folder with the handbook's columns")
    parser.add_argument("--week", type=date.fromisoformat, action="append", default=[], help="D; may be repeated")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the model, 0 and up")
    parser.add_argument("--config", type=Path, help="assay.toml; without it, what `assay init` would write")
    parser.add_argument("--simulator", type=int, default=0, metavar="ROWS", help="simulate tables of so many rows, too")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    if bool(arguments.week) != bool(arguments.data) or not (arguments.week or arguments.simulator):
        parser.error("give --data with one --week or more, or --simulator ROWS, or both")
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.data:
            config = read_config(arguments.config) if arguments.config else handbook.configuration(arguments.data)
            accepted = handbook.accept(arguments.data, config, folder / "accepted.parquet")
            for first in arguments.week:
                handbook.note(f"{first}")
                records += of_week(first, accepted, config, folder, seeds=arguments.seeds)
        if arguments.simulator:
            handbook.note("simulator")
            records += of_simulator(folder, arguments.seeds, arguments.simulator)
    lines = summed(records)
    show(lines)
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
