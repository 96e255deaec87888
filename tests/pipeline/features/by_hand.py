"""Small tables with ties, and the features of every row by a plain loop: the definitions once more, without DuckDB."""

import math
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features import compute
from pipeline.settings.config import ENTITY_FAMILIES, FAMILIES, Config

START = datetime(2025, 3, 28)
DAY = timedelta(days=1)
EVERY_FAMILY_AND_PAIR = (*FAMILIES, *(f"{family}:card+shop" for family in ENTITY_FAMILIES))
AGGREGATES = ("count", "sum", "mean", "std", "max", "distinct")


def config(contract=None, table=None, **features):
    """Two entities and a label."""
    return Config.model_validate(
        {
            "contract": {
                "id": "tx",
                "timestamp": "at",
                "amount": "eur",
                "entities": ("card", "shop"),
                "label": "fraud",
                "types": {"tx": "integer"},
                **(contract or {}),
            },
            "table": table or {},
            "features": {
                "families": ("amount", "calendar", "columns", "activity", "change", "recency", "risk"),
                "windows_days": (1, 3),
                "history_days": 5,
                **features,
            },
        }
    )


def transactions(rows=300, seed=0, days=12):
    """Rows in any order, with ties: moments are whole hours, amounts often equal, and there are few cards and shops."""
    random = np.random.default_rng(seed)
    hours = random.integers(0, days * 24, rows)
    return pa.table(
        {
            "tx": np.arange(rows),
            "at": pa.array([START + timedelta(hours=int(hour)) for hour in hours], pa.timestamp("us")),
            "card": [f"card-{number}" for number in random.integers(0, 8, rows)],
            "shop": [f"shop-{number}" for number in random.integers(0, 5, rows)],
            "eur": np.round(random.lognormal(3, 1, rows), 0) + 1,
            "fraud": pa.array(random.integers(0, 2, rows), pa.int8(), mask=random.random(rows) < 0.1),
        }
    )


def features_of(table, settings, folder, history=(), *, reviewed=None):
    """The feature table, by id."""
    files = []
    for number, part in enumerate((table, *history)):
        files.append(folder / f"part-{number}.parquet")
        pq.write_table(part, files[-1])
    labels = []
    if reviewed is not None:
        labels = [folder / "reviewed.parquet"]
        pq.write_table(reviewed, labels[0])
    return pq.read_table(compute(files[0], files[1:], settings, folder / "features.parquet", reviewed=labels)).sort_by(
        "tx"
    )


def reviews(verdicts):
    """Labels from review: tuples of id, label and moment."""
    keys, labels, moments = zip(*verdicts, strict=True) if verdicts else ((), (), ())
    return pa.table(
        {
            "id": pa.array(keys, pa.int64()),
            "label": pa.array(labels, pa.int8()),
            "labelled_at": pa.array(moments, pa.timestamp("us")),
        }
    )


def own_label(row, settings):
    """When the row's own label became known."""
    return row["at"] + timedelta(days=settings.features.label_delay_days)


def by_hand(table, settings, labelled=own_label, reviewed=()):
    """The features of every row, a dict each, by id; `reviewed` are tuples of id, label and moment."""
    limits = settings.features
    rows = sorted(table.to_pylist(), key=lambda row: row["tx"])
    longest = max(limits.windows_days)
    reach = (limits.max_window_days - longest) * DAY
    labels = [(r, max(labelled(r, settings), r["at"]), 0, r["fraud"]) for r in rows if r["fraud"] is not None]
    labels += [
        (r, own_label(r, settings), 0, 0.01)
        for r in rows
        if r["fraud"] is None and not settings.contract.labelled_at and not _is_reviewed(r, settings, reviewed)
    ]
    by_id = {row["tx"]: row for row in rows}
    labels += [(by_id[key], max(at, by_id[key]["at"]), 1, fraud) for key, fraud, at in reviewed if key in by_id]
    labels = [label for label in labels if label[1] - label[0]["at"] <= reach]
    made = []
    for row in rows:
        midnight = datetime(row["at"].year, row["at"].month, row["at"].day)
        back = midnight - (limits.history_days - 1) * DAY
        everybody = [r for r in rows if back <= r["at"] < midnight]
        out = {}
        holding = _holding(labels, midnight)
        known = [fraud for r, at, _, fraud in holding if at >= midnight - (longest - 1) * DAY]
        prior = (sum(known) + 1) / (len(known) + 100)
        for keys in (("card",), ("shop",), ("card", "shop")):
            same = [r for r in rows if all(r[key] == row[key] for key in keys)]
            out |= _of_a_party(row, keys, same=same, everybody=everybody, limits=limits)
            out |= _rarity(row, keys, rows, everybody, settings=settings)
            held = [label for label in _holding(labels, row["at"]) if all(label[0][key] == row[key] for key in keys)]
            for days in limits.windows_days:
                frauds = [fraud for _, at, _, fraud in held if at >= row["at"] - days * DAY]
                weight = limits.risk_weight
                risk = (sum(frauds) + weight * prior) / (len(frauds) + weight)
                out[f"{' + '.join(keys)}: risk over {_days(days)}"] = risk
            out |= _ways(row, keys, same, limits)
        if "lat" in row:
            out["km from home to place"] = _apart(_place(row, "home_lat", "home_lon"), _place(row))
        for name in settings.contract.categorical:
            out |= _against_peers(row, name, everybody, limits)
        made.append(out)
    return made


def _is_reviewed(row, settings, reviewed):
    """Whether review gave a row a label before its own was overdue."""
    return any(key == row["tx"] and moment <= own_label(row, settings) for key, _, moment in reviewed)


def _holding(labels, moment):
    """The label of each row that holds at a moment: the latest before it, the reviewed one and fraud first."""
    last = {}
    for label in sorted(labels, key=lambda label: label[1:]):
        if label[1] < moment:
            last[label[0]["tx"]] = label
    return list(last.values())


def _days(days):
    return "1 day" if days == 1 else f"{days} days"


def _of_a_party(row, keys, *, same, everybody, limits):
    name = " + ".join(keys)
    now, eur, weight = row["at"], row["eur"], limits.past_weight
    before = [r for r in same if r["at"] < now]
    out = {}
    for days in limits.windows_days:
        recent = [r for r in before if r["at"] >= now - days * DAY]
        amounts, span = np.array([r["eur"] for r in recent]), _days(days)
        some = len(recent) > 0
        out[f"{name}: transactions in {span}"] = len(recent)
        out[f"{name}: sum eur in {span}"] = amounts.sum()
        out[f"{name}: mean eur in {span}"] = mean = amounts.mean() if some else None
        out[f"{name}: std eur in {span}"] = amounts.std() if some else None
        out[f"{name}: max eur in {span}"] = amounts.max() if some else None
        for other in {"card", "shop"} - set(keys):
            out[f"{name}: different {other} in {span}"] = len({r[other] for r in recent})
    out[f"eur over the mean of {name}"] = eur / mean if some else None
    out |= _recency(now, name, [r for r in before if r["at"] >= now - limits.history_days * DAY], limits)
    settled = now - timedelta(hours=limits.past_gap_hours)
    past = [r for r in before if now - limits.history_days * DAY <= r["at"] < settled]
    out |= _pace(now, name, before=before, past=past, limits=limits)
    amounts, n = np.array([r["eur"] for r in past]), len(past)
    rank = (sum(amounts < eur) + (sum(amounts == eur) + weight) / 2) / (n + weight)
    out[f"eur: rank for {name}"] = rank
    against = [f"eur against {name}", f"eur against {name} (log)", f"eur above the highest of {name}"]
    against += [f"eur against the median of {name}", f"{name}: usual eur", f"{name}: median eur"]
    against += [f"{name}: highest of {_days(limits.recent_days)} above usual eur", f"hours from the usual of {name}"]
    against += [f"{name}: share at night (22 to 6 h)", f"night against {name}"]
    against += [f"{name}: share on weekends", f"weekend against {name}", f"{name}: eur of the last hour"]
    if not everybody:
        return out | dict.fromkeys(against)
    all_amounts = np.array([r["eur"] for r in everybody])
    usual = (amounts.sum() + weight * all_amounts.mean()) / (n + weight)
    deviation = math.sqrt(((amounts.var() * n if n else 0) + weight * all_amounts.var()) / (n + weight))
    least = -math.inf if limits.change_counts == "both" else 0
    above = max(eur - amounts.max(), 0) if n else 0.0
    low, middle, high = _quartiles(all_amounts)
    q25, q50, q75 = np.quantile(amounts, [0.25, 0.5, 0.75]) if n else (0, 0, 0)
    median = (n * q50 + weight * middle) / (n + weight)
    spread = (n * (q75 - q25) + weight * (high - low)) / (n + weight) / 1.349
    values = [
        max((eur - usual) / deviation, least) if deviation else None,
        max(math.log1p(eur) - math.log1p(usual), least),
        above / deviation if deviation else None,
        max((eur - median) / spread, least) if spread else None,
        usual,
        median,
    ]
    week = [r["eur"] for r in before if r["at"] >= now - limits.recent_days * DAY]
    values.append(max(max(week) - usual, 0) / deviation if week and deviation else 0.0)
    values.append(_hours_away(row, past, everybody, weight))
    for happened in (_at_night, _on_a_weekend):
        share = (sum(map(happened, past)) + weight * np.mean([happened(r) for r in everybody])) / (n + weight)
        values += [share, happened(row) - share]
    hour = sum(r["eur"] for r in before if r["at"] >= now - timedelta(hours=1))
    values.append(hour / deviation if deviation else None)
    return out | dict(zip(against, values, strict=True))


def _recency(now, name, past, limits):
    return {
        f"{name}: days since the last": (now - max(r["at"] for r in past)) / DAY if past else limits.history_days,
        f"{name}: first in {limits.history_days} days": int(not past),
    }


def _pace(now, name, *, before, past, limits):
    least = 0 if limits.change_counts == "both" else 1
    hours = limits.history_days * 24 - limits.past_gap_hours
    out = {}
    for span, length in (("10 minutes", 1 / 6), ("hour", 1), ("day", 24)):
        recent = len([r for r in before if r["at"] >= now - timedelta(hours=length)])
        out[f"{name}: pace of the last {span}"] = max((recent + 1) / (len(past) / hours * length + 1), least)
    return out


def _rarity(row, keys, rows, everybody, *, settings):
    limits, name, out = settings.features, " + ".join(keys), {}
    last = row["at"] - timedelta(hours=limits.past_gap_hours)
    past = [r for r in rows if row["at"] - limits.history_days * DAY <= r["at"] < last]
    own = [r for r in past if all(r[key] == row[key] for key in keys)]
    for other in {*settings.contract.entities, *settings.contract.categorical} - set(keys):
        alike = sum(r[other] == row[other] for r in own)
        share = min((sum(r[other] == row[other] for r in past) + 1) / (len(everybody) + 1), 1)
        weight = limits.past_weight
        rarity = -math.log((alike + weight * share) / (len(own) + weight)) if everybody else None
        out |= {f"{name}: {other} rarity": rarity, f"{name}: transactions with this {other}": alike}
    return out


def _place(row, latitude="lat", longitude="lon"):
    """The place as a point on the ball, or None."""
    north, east = row.get(latitude), row.get(longitude)
    if north is None or east is None or north == east == 0 or not (abs(north) <= 90 and abs(east) <= 180):
        return None
    north, east = math.radians(north), math.radians(east)
    return np.array([math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)])


def _apart(one, other):
    """The arc over the chord between two points."""
    if one is None or other is None:
        return None
    return 2 * 6371 * math.asin(min(np.linalg.norm(one - other) / 2, 1))


def _ways(row, keys, same, limits):
    name, now, out = " + ".join(keys), row["at"], {}
    for place, columns in {"home": ("home_lat", "home_lon"), "place": ("lat", "lon")}.items():
        past = [r for r in same if now - limits.history_days * DAY <= r["at"] < now and _place(r, *columns) is not None]
        last = max(past, key=lambda r: (r["at"], r["tx"]), default=None)
        away = _apart(_place(row, *columns), _place(last, *columns)) if last else None
        hours = (now - last["at"]) / timedelta(hours=1) if last else None
        out[f"{name}: km from the last {place}"] = away
        out[f"{name}: km/h from the last {place}"] = away / (hours + 0.25) if away is not None else None
    return out


def _quartiles(amounts):
    """Middle of the bin of log amounts, 64 for a factor of e, in which the quartile lies."""
    bins = np.sort(np.round(np.log1p(amounts) * 64))
    return [math.expm1(bins[math.ceil(share * len(bins)) - 1] / 64) for share in (0.25, 0.5, 0.75)]


def _hours_away(row, past, everybody, weight):
    def hands(rows):
        return np.exp(2j * np.pi * np.array([r["at"].hour + r["at"].minute / 60 for r in rows]) / 24)

    usual = hands(past).sum() + weight * hands(everybody).mean()
    return abs(np.angle(hands([row])[0] / usual)) * 12 / np.pi


def _at_night(row):
    return row["at"].hour < 6 or row["at"].hour >= 22


def _on_a_weekend(row):
    return row["at"].weekday() >= 5


def _against_peers(row, name, everybody, limits):
    weight = limits.past_weight
    own = [r["eur"] for r in everybody if r[name] == row[name] and row[name] is not None]
    everything = [r["eur"] for r in everybody]
    if not everybody:
        return {f"eur against {name}": None, f"{name}: usual eur": None}

    def drawn(values, others):
        return (sum(values) + weight * np.mean(others)) / (len(values) + weight)

    mean = drawn(np.log1p(own), np.log1p(everything))
    variance = drawn(np.log1p(own) ** 2, np.log1p(everything) ** 2) - mean**2
    return {
        f"eur against {name}": (math.log1p(row["eur"]) - mean) / math.sqrt(variance) if variance > 1e-12 else None,
        f"{name}: usual eur": drawn(own, everything),
    }


def assert_alike(table, expected, inputs):
    """Every column that is not an input and not of the calendar, within rounding."""
    names = set(table.column_names) - set(inputs) - {"hour of day", "weekday"}
    assert names <= set(expected[0])
    for name in sorted(names):
        wanted = np.array([row[name] if row[name] is not None else np.nan for row in expected], float)
        found = table[name].to_numpy(zero_copy_only=False).astype(float)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6, err_msg=name)
