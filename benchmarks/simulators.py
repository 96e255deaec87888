"""Runs a simulator of transactions from PyPI and writes its rows as CSV; benchmarks/make_streams.py mends them.

    python benchmarks/simulators.py finforge --rows 60000 --seed 7 out.csv

It needs the simulator and the standard library only, so that any interpreter will do: fraudtwin wants Python 3.12.
"""

import argparse
import csv
import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DAYS = 42
ABSENT = 3
"""Exit status where the simulator is not installed."""


def finforge(rows: int, seed: int) -> Iterable[Mapping[str, Any]]:
    """Return the rows of so many users over four months, about 19 rows a month each; 1.2 % are fraud."""
    generator = importlib.import_module("finforge").DatasetGenerator(seed=seed, start_date="2026-01-01")
    generator = generator.with_users(max(10, rows // 74)).with_persona("mixed").for_months(4)
    frame = generator.with_fraud(rate=0.012).with_anomalies(rate=0.03).generate()
    # What else the simulator writes gives the label away: spending_style is "fraud_injected", and so on.
    columns = ["transaction_id", "user_id", "timestamp", "merchant", "category", "amount", "transaction_type"]
    columns += ["balance_before", "balance_after", "persona", "account_type", "is_fraud", "fraud_type"]
    return list(frame[columns].to_dict("records"))


def fraudtwin(rows: int, seed: int) -> Iterable[Mapping[str, Any]]:
    """Return the payments of six weeks, with the device of each; campaigns lie all over them, 1 % of rows are fraud."""
    package, yaml = importlib.import_module("fraudtwin"), importlib.import_module("yaml")
    _without_balances(importlib.import_module("fraudtwin.simulation.payments").PaymentGenerator)
    text = (Path(str(package.__file__)).parent / "defaults" / "minimal.yaml").read_text(encoding="utf-8")
    path = Path(sys.argv[-1]).with_suffix(".yaml")
    settings = _fraudtwin_settings(yaml.safe_load(text), rows, seed)
    path.write_text(json.dumps(settings, default=lambda moment: moment.isoformat()), encoding="utf-8")
    behavior = package.generate(path).behavior
    path.unlink()
    devices: dict[str, Any] = {}
    for event in behavior.payment_events:
        devices.setdefault(event.payment_id, event)
    frauds = {record.payment_id: record for record in behavior.fraud_records}
    return [
        {
            "payment_id": payment.payment_id,
            "initiated_at": payment.initiated_at.strftime("%Y-%m-%d %H:%M:%S"),
            "customer_id": devices[payment.payment_id].customer_id,
            "payer_account_id": payment.payer_account_id,
            "payee_account_id": payment.payee_account_id,
            "merchant_id": payment.merchant_id,
            "card_id": payment.card_id,
            "device_id": devices[payment.payment_id].device_id,
            "amount": payment.amount,
            "payment_rail": payment.payment_rail,
            "online": devices[payment.payment_id].online,
            "record_type": getattr(frauds.get(payment.payment_id), "record_type", None),
            "scenario": getattr(frauds.get(payment.payment_id), "scenario_type", None),
            "campaign": getattr(frauds.get(payment.payment_id), "scenario_id", None),
        }
        for payment in behavior.payments
    ]


def _fraudtwin_settings(settings: dict[str, Any], rows: int, seed: int) -> dict[str, Any]:
    daily, customers = max(1, rows // DAYS), max(20, rows // 26)
    settings["simulation"] |= {"seed": seed, "duration_days": DAYS}
    settings["population"] |= {
        "customers": customers,
        "institutions": 8,
        "accounts": customers * 3 // 2,
        "cards": customers * 6 // 5,
        "merchants": max(20, customers // 4),
        "devices": customers * 13 // 10,
        "pix_keys": customers * 4 // 5,
    }
    settings["payments"]["daily_target"] = daily
    settings["behavior"]["amount_max"] = 2000.0
    settings["fraud_workflow"]["enabled"] = settings["dataset"]["enabled"] = False
    # Without a regime all campaigns start with the first second.
    whole = {"id": "whole", "from": "2026-01-01T00:00:00Z", "to": "2026-02-10T00:00:00Z"}
    settings["backtest"] = {"regimes": [whole]}
    campaigns = {"F01": 40, "F02": 10, "F03": 40, "F04": 80, "F05": 10}
    scenarios = {
        name: {"count": max(1, round(count * rows / 52_500)), "weight": float(count)}
        for name, count in campaigns.items()
    }
    settings["fraud"] |= {"enabled": True, "target_rate": 0.05, "scenario_count": 100_000, "scenarios": scenarios}
    return settings


def _without_balances(generator: Any) -> None:
    """Let accounts never run empty: over weeks some do, and the simulator ends there."""

    class Forgetful(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return default

    start = generator.__init__

    def start_rich(self: Any, *words: Any, **settings: Any) -> None:
        start(self, *words, **settings)
        self._account_spend, self._card_daily_spend = Forgetful(), Forgetful()

    generator.__init__ = start_rich
    generator._materialize_ledger = lambda self, specs: ()  # noqa: SLF001 (it has no setting for it)
    generator.materialize_ledger = lambda self, payments, events: ()


SIMULATORS = {"finforge": finforge, "fraudtwin": fraudtwin}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulator", choices=SIMULATORS)
    parser.add_argument("--rows", type=int, default=60_000, help="about as many")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    try:
        importlib.import_module(arguments.simulator)
    except ImportError:
        raise SystemExit(ABSENT) from None
    rows = list(SIMULATORS[arguments.simulator](arguments.rows, arguments.seed))
    with arguments.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
