import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.capabilities import WithContributions
from pipeline.detector.artefact import Detector
from pipeline.features import list_features
from pipeline.scoring import reasons
from pipeline.scoring.reasons import REASONS_TYPE, Trials, _distances, assign, explain, most_usual, sentence
from pipeline.settings.sensitive import MASK
from tests.pipeline.fitted import config, detector_of, feature_table, quiet_frauds, replace, transactions

ROWS = 2000
COUNT, MEAN, RISK = "card: transactions in 7 days", "card: mean eur in 7 days", "card: risk over 7 days"
USUAL = "card: usual eur"


def settings(**contract):
    return config(
        contract={"categorical": ("channel", "mcc"), "numeric": ("km",), "types": {"tx": "integer", "mcc": "integer"}}
        | contract,
        features={
            "families": ("amount", "calendar", "columns", "activity", "change", "risk"),
            "windows_days": (7,),
        },
        model={"hidden": (64,), "code_size": 24, "max_epochs": 25},
    )


def settled_of(detector, matrix, own, *, source, tried):
    [pair] = most_usual(detector, [Trials(detector, matrix, own, source=source, tried=tried)])
    return pair


def drawn(rows=ROWS, seed=0):
    """A feature table whose columns are drawn, not computed, so that what is usual is known."""
    generator = np.random.default_rng(seed)
    plain = transactions(rows, seed)
    amount = np.round(generator.lognormal(3.5, 0.4, rows), 2)
    usual = 30 + generator.normal(0, 2, rows)
    columns = {
        "tx": plain["tx"],
        "at": plain["at"],
        "card": plain["card"],
        "fraud": pa.array(np.zeros(rows, np.int8)),
        "eur": amount,
        "channel": generator.choice(["web", "shop"], rows, p=[0.7, 0.3]),
        "mcc": generator.choice([5411, 5999], rows),
        "km": np.round(generator.gamma(2, 3, rows), 3),
        "hour of day": generator.normal(13, 1.5, rows) % 24,
        "weekday": generator.integers(0, 5, rows).astype(float),
        COUNT: generator.poisson(6, rows).astype(float),
        MEAN: pa.array(generator.lognormal(3.5, 0.3, rows), mask=generator.random(rows) < 0.03),
        RISK: generator.beta(2, 200, rows),
        USUAL: usual,
        "eur over the mean of card": amount / usual,
        "eur against card": (amount - usual) / 12,
        "eur against card (log)": np.log1p(amount) - np.log1p(usual),
        "eur above the highest of card": np.maximum(amount - 80, 0) / 12,
    }
    table = pa.table(columns)
    assert {feature.column for feature in list_features(settings())} <= set(table.schema.names)
    return table


@pytest.fixture(scope="module")
def table():
    return drawn()


@pytest.fixture(scope="module")
def detector(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("drawn") / "features.parquet"
    pq.write_table(table, path)
    return detector_of(path, settings())


@pytest.fixture(scope="module")
def ordinary(detector, table):
    """The row with the lowest score, as a table of one row."""
    scores = detector.model.anomaly_score(detector.encoder.transform(table))
    return table.slice(int(scores.argmin()), 1)


def best(detector, row, **values):
    """The first reason of a row after some of its values were replaced."""
    for column, value in values.items():
        row = replace(row, column, [value])
    return explain(detector, row)[0].as_py()[0]


def masked(detector, *columns):
    """The same detector with columns marked as sensitive."""
    contract = detector.config.contract.model_copy(update={"sensitive": columns})
    found = Detector(**{**vars(detector), "config": detector.config.model_copy(update={"contract": contract})})
    assert found.config.contract.sensitive == columns
    return found


def test_an_amount_is_told_in_money_beside_what_the_card_usually_spends(detector, ordinary):
    found = best(
        detector,
        ordinary,
        **{
            "eur": 1240.0,
            USUAL: 35.2,
            "eur over the mean of card": 35.0,
            "eur against card": 100.0,
            "eur against card (log)": 3.5,
            "eur above the highest of card": 90.0,
        },
    )
    assert (found["column"], found["actual"], found["expected"]) == ("eur", "1,240.00", "35.20")
    assert found["text"] == "eur 1,240.00, expected about 35.20"
    assert found["share"] > 0.5


@pytest.mark.parametrize(
    ("column", "value", "source", "actual", "expected"),
    [
        ("hour of day", 3 + 10 / 60, "hour of day", "03:10", ("12:00", "14:00")),
        ("weekday", 6.0, "weekday", "Sunday", ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")),
        (COUNT, 400.0, "card: transactions", "400", (2, 9)),
        (RISK, 0.85, "card: risk", "85 %", (0.001, 0.02)),
        ("km", 512.25, "km", "512", (2, 9)),
        (MEAN, 4000.0, "card: mean eur", "4,000.00", (20, 50)),
    ],
)
def test_each_kind_of_column_is_told_in_its_own_unit(detector, ordinary, *, column, value, source, actual, expected):
    found = best(detector, ordinary, **{column: value})
    assert (found["column"], found["actual"]) == (source, actual)
    assert found["text"] == f"{column} {actual}, expected about {found['expected']}"
    if isinstance(expected[0], str):
        assert expected[0] <= found["expected"] <= expected[-1] or found["expected"] in expected
    else:
        number = float(found["expected"].removesuffix(" %")) / (100 if "%" in actual else 1)
        assert expected[0] <= number <= expected[-1]


def test_a_category_never_seen_says_so(detector, ordinary):
    found = best(detector, ordinary, channel="fax")
    assert found["text"] == "channel 'fax' (never seen in training), expected 'web'"
    assert (found["column"], found["actual"], found["expected"]) == ("channel", "'fax'", "'web'")
    other = best(detector, ordinary, mcc=1)
    assert other["text"].startswith("mcc '1' (never seen in training), expected '5")


def test_a_very_long_category_is_clipped(detector, ordinary):
    assert best(detector, ordinary, channel="x" * 5000)["actual"] == f"'{'x' * 80}…'"


def test_a_missing_value_says_so(detector, ordinary):
    found = {reason["column"]: reason for reason in explain(detector, replace(ordinary, "km", [None]))[0].as_py()}
    row = replace(ordinary, MEAN, [None])
    told = {reason["column"]: reason for reason in explain(detector, row)[0].as_py()}["card: mean eur"]
    assert told["actual"] == "missing"
    assert told["text"].startswith("card: mean eur in 7 days missing, expected about ")
    # km was never missing among the fit rows: nothing was learned of that, so it is no reason.
    assert "km" not in found or found["km"]["share"] < 0.5


def test_the_perturbed_column_is_the_first_reason(detector, table):
    normal = detector.encoder.transform(table.slice(0, 60))
    sources = {feature.name: feature.source for feature in detector.features}
    hits = []
    for place, column in enumerate(detector.encoder.columns):
        if column.role != "value":
            continue
        perturbed = normal.copy()
        perturbed[:, place] += 6
        own, every = detector.model.anomaly_score(perturbed), np.ones(60, dtype=bool)
        gains = {
            source: own - settled_of(detector, perturbed, own, source=source, tried=every)[1]
            for source in dict.fromkeys(sources.values())
        }
        right = gains.pop(sources[column.feature])
        hits.append(np.mean(right > np.max(list(gains.values()), axis=0)))
    assert len(hits) > 5  # features of several kinds
    assert np.mean(hits) >= 0.95


def test_reasons_are_best_first_and_their_shares_are_of_one_whole(detector, table):
    reasons = explain(detector, table)
    assert reasons.type == REASONS_TYPE
    assert len(reasons) == table.num_rows
    known = {feature.source for feature in detector.features}
    for row in reasons.to_pylist():
        shares = [reason["share"] for reason in row]
        assert 1 <= len(row) <= 3
        assert shares == sorted(shares, reverse=True)
        assert min(shares) > 0
        assert sum(shares) <= 1 + 1e-12
        sources = [source for reason in row for source in reason["column"].split(", ")]
        assert len(set(sources)) == len(sources)
        assert set(sources) <= known


def test_the_share_is_what_goes_away_of_the_score_worked_out_by_hand(detector, table):
    row = replace(table.slice(5, 1), "hour of day", [3.0])
    matrix = detector.encoder.transform(row)
    own = detector.model.anomaly_score(matrix)[0]
    gains = {}
    for source in dict.fromkeys(feature.source for feature in detector.features):
        places, usual = detector.encoder.usual(source)
        scores = []
        for setting in usual:
            changed = matrix.copy()
            changed[0, places] = setting
            scores.append(detector.model.anomaly_score(changed)[0])
        gains[source] = max(0, own - min(scores))
    shares = {name: gain / sum(gains.values()) for name, gain in gains.items()}
    expected = sorted(shares.items(), key=lambda item: -item[1])[:3]
    expected = [item for item in expected if item == expected[0] or item[1] >= 0.1]
    found = [(reason["column"], reason["share"]) for reason in explain(detector, row)[0].as_py()]
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([share for _, share in found], [share for _, share in expected])


def told(detector, table):
    """Reasons of rows, one after the other, those of combinations apart."""
    rows = explain(detector, table).to_pylist()
    pairs = [(number, reason) for number, row in enumerate(rows) for reason in row]
    alone = [(number, reason) for number, reason in pairs if not reason["text"].startswith("the combination of ")]
    return alone, [reason for _, reason in pairs if reason["text"].startswith("the combination of ")]


def number_of(text):
    """The number that a text begins with."""
    return float(text.replace(",", "").split(" ")[0])


def test_a_reason_is_only_what_is_unusual_on_the_side_that_raised_the_score(detector, table):
    rows = pa.concat_tables([table, replace(table.slice(0, 200), "eur", [300.0] * 200)])
    alone, together = told(detector, rows)
    assert len(alone) > 200
    assert len(together) > 200
    for number, reason in alone:
        column = reason["text"].split(" ")[0] if reason["column"] == "channel" else reason["column"]
        if column == "eur":
            actual, expected = number_of(reason["actual"]), number_of(reason["expected"])
            assert abs(actual - expected) >= 0.249 * max(actual, expected), reason
        if column == "card: risk":
            assert number_of(reason["actual"]) > number_of(reason["expected"]), reason
            assert rows[RISK][number].as_py() >= np.quantile(table[RISK], 0.9)
        if column == "km":
            value, cut = rows["km"][number].as_py(), np.quantile(table["km"], [0.07, 0.93])
            assert not cut[0] < value < cut[1], reason
        # Half of the rows have each merchant's code, and seven in ten and three in ten each channel.
        assert column not in ("mcc", "channel"), reason


def test_what_is_unusual_only_together_is_told_together(detector, table):
    _, together = told(detector, table)
    one = next(reason for reason in together if "," in reason["column"])
    sources = one["column"].split(", ")
    assert one["expected"] == ""
    assert all(one["actual"].count(source) for source in sources)
    *others, last = one["actual"].split(", ")
    assert one["text"] == f"the combination of {', '.join(others)} and {last}"
    alone = next(reason for reason in together if "," not in reason["column"])
    assert alone["text"] == f"the combination of {alone['actual']} with the rest of the row"
    hidden = told(masked(detector, sources[0]), table)[1]
    hidden = [reason for reason in hidden if sources[0] in reason["column"].split(", ")]
    assert {reason["actual"] for reason in hidden} == {MASK}
    assert one["column"].replace(", ", " and ") in {
        reason["text"].removeprefix("the combination of ").replace(", ", " and ") for reason in hidden
    }


UNITS = {
    "card: recent eur": r"highest of \d+ days above usual eur [\d.,e+]+ times the usual spread, expected about ",
    "card: last seen": r"(the last [\d.,e-]+ days, expected about [\d.,e-]+ days|first in \d+ days yes, expected no)$",
    "card: eur of the last hour": r"hour [\d.,]+ times the usual spread, expected about [\d.,]+ times",
    "card: pace": r"pace of the last (10 minutes|hour|day) [\d.,]+ times, expected about [\d.,]+ times$",
    "card: night": r"[\d.e-]+ %, expected about [\d.e-]+ %$",
    "card: hours": r"hours from the usual of card [\d.,]+ hours, expected about [\d.,]+ hours$",
    "eur": r"eur [\d.,]+\d\d, expected about [\d.,]+\d\d$",
}


def test_a_reason_has_the_unit_that_a_person_uses(tmp_path):
    families = ("amount", "recent", "recency", "velocity", "rhythm", "hours", "highest")
    units = config(features={"families": families}, model={"name": "pca"})
    path = feature_table(tmp_path, transactions(), units)
    alone, _ = told(detector_of(path, units), pq.read_table(path))
    for source, pattern in UNITS.items():
        texts = [reason["text"] for _, reason in alone if reason["column"] == source and reason["actual"] != "missing"]
        assert texts, source
        assert [text for text in texts if not re.search(pattern, text)] == []


def test_a_value_that_is_new_or_rare_for_its_party_is_told_as_that(tmp_path):
    random = np.random.default_rng(3)
    rarity = random.uniform(0.1, 0.5, ROWS)
    rarity[:2] = -np.log([0.002, 0.004])
    alike = np.full(ROWS, 40.0)
    alike[:2] = 0, 1
    table = drawn().append_column("card: channel rarity", pa.array(rarity))
    table = table.append_column("card: transactions with this channel", pa.array(alike))
    pq.write_table(table, tmp_path / "features.parquet")
    features = {"families": ("amount", "seen:card")}
    known = config(
        contract={"entities": ("card",), "categorical": ("channel",)}, features=features, model={"name": "pca"}
    )
    detector = detector_of(tmp_path / "features.parquet", known)
    new, rare = (row[0] for row in explain(detector, table.slice(0, 2)).to_pylist())
    assert new["text"] == "new channel for this card (none in 60 days, the last 24 hours aside), expected about 73.7 %"
    assert (rare["actual"], rare["expected"]) == ("0.4 %", "73.7 %")
    assert rare["text"] == "channel that makes up 0.4 % for this card, expected about 73.7 %"
    secret = masked(detector, "channel")
    assert explain(secret, table.slice(0, 1)).to_pylist()[0][0]["text"].startswith("card: channel rarity •••")


def test_a_row_is_explained_alike_alone_and_among_others(detector, table):
    whole = explain(detector, table.slice(0, 40)).to_pylist()
    assert [explain(detector, table.slice(row, 1))[0].as_py() for row in range(40)] == whole


def test_values_of_sensitive_columns_are_masked(detector, ordinary):
    found = best(masked(detector, "channel"), ordinary, channel="fax")
    assert found["text"] == f"channel {MASK}, not what was expected"
    assert (found["actual"], found["expected"]) == (MASK, MASK)
    mean = best(masked(detector, "eur"), ordinary, **{MEAN: 4000.0})
    assert mean["text"] == f"card: mean eur in 7 days {MASK}, not what was expected"
    assert best(masked(detector, "eur"), ordinary, **{MEAN: None})["text"] == mean["text"]  # a missing cell is a value
    hour = best(masked(detector, "at"), ordinary, **{"hour of day": 3.5})
    assert hour["text"] == f"hour of day {MASK}, not what was expected"
    count = best(masked(detector, "card"), ordinary, **{COUNT: 400.0})
    assert count["text"].startswith("card: transactions in 7 days 400, expected about ")


def test_the_sentence_joins_the_reasons(detector, ordinary):
    reasons = explain(detector, replace(ordinary, COUNT, [400.0]))
    told = "; ".join(f"{item['text']} ({100 * item['share']:.0f} % of the score)" for item in reasons[0].as_py())
    assert told.startswith("card: transactions in 7 days 400, expected about ")
    assert sentence(reasons).to_pylist() == [f"{told}."]


def test_no_rows_give_no_reasons(detector, table):
    reasons = explain(detector, table.slice(0, 0))
    assert reasons.type == REASONS_TYPE
    assert (len(reasons), len(sentence(reasons))) == (0, 0)
    assert sentence(reasons).type == pa.string()


def test_of_many_columns_only_those_that_contribute_most_are_tried(tmp_path):
    generator = np.random.default_rng(0)
    names = tuple(f"n{number}" for number in range(60))
    plain = transactions(1200)
    table = pa.table({name: plain[name] for name in ("tx", "at", "card", "eur", "fraud")})
    for name in names:
        table = table.append_column(name, pa.array(generator.normal(size=1200)))
    pq.write_table(table, tmp_path / "wide.parquet")
    wide = config(
        contract={"categorical": (), "numeric": names},
        features={"families": ("columns",)},
        model={"hidden": (64,), "code_size": 32},
        feedback={"enabled": False},
    )
    detector = detector_of(tmp_path / "wide.parquet", wide)
    row = replace(table.slice(0, 1), "n41", [50.0])
    matrix = detector.encoder.transform(row)
    own = detector.model.anomaly_score(matrix)
    settled, scores = settled_of(detector, matrix, own, source="n41", tried=np.array([False]))
    assert (settled == matrix).all()
    assert scores == own
    assert best(detector, row)["column"] == "n41"
    blame = assign(detector, matrix)
    parts = detector.model.contributions(matrix)[0]
    parts = [parts[detector.encoder.places(name)].sum() for name in blame.sources]
    assert set(np.flatnonzero(blame.shares[0])) <= set(np.argsort(parts)[-24:])


@pytest.fixture(scope="module", params=["knn", "pca"])
def without_contributions(request, table, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "features.parquet"
    pq.write_table(table, path)
    named = settings().model_copy(update={"model": settings().model.model_copy(update={"name": request.param})})
    return detector_of(path, named)


def test_a_model_without_contributions_is_explained_by_how_much_its_score_falls(without_contributions, table):
    detector = without_contributions
    assert not isinstance(detector.model, WithContributions)
    scores = detector.model.anomaly_score(detector.encoder.transform(table))
    plain = table.slice(int(scores.argmin()), 1)
    assert best(detector, plain, km=512.25)["text"].startswith("km 512, expected about ")
    assert best(detector, plain, channel="fax")["text"].startswith(
        "channel 'fax' (never seen in training), expected 'w"
    )
    odd = replace(replace(plain, "km", [80.0]), COUNT, [60.0])
    matrix = detector.encoder.transform(odd)
    own, gains = detector.model.anomaly_score(matrix), {}
    for source in dict.fromkeys(feature.source for feature in detector.features):
        gains[source] = (own - settled_of(detector, matrix, own, source=source, tried=np.array([True]))[1]).item()
    told = {reason["column"]: reason["share"] for reason in explain(detector, odd)[0].as_py()}
    for source, share in told.items():
        assert share == pytest.approx(gains[source] / sum(gains.values()))
    assert set(list(told)[:2]) == {"km", "card: transactions"}


def test_where_known_frauds_count_reasons_are_of_the_whole_score(tmp_path):
    features = feature_table(tmp_path, quiet_frauds(), config())
    detector, frauds = detector_of(features, config()), pq.read_table(features, filters=[("fraud", "=", 1)])
    assert detector.feedback is not None
    matrix = detector.encoder.transform(frauds)
    own, tried = detector.matrix_scores(matrix), np.ones(len(matrix), dtype=bool)
    shares = assign(detector, matrix).shares
    sources = list(dict.fromkeys(feature.source for feature in detector.features))
    gains = [own - settled_of(detector, matrix, own, source=source, tried=tried)[1] for source in sources]
    np.testing.assert_allclose(shares, np.column_stack(gains) / np.sum(gains, axis=0)[:, None])
    assert {reason["column"] for row in explain(detector, frauds).to_pylist() for reason in row} >= {"channel", "eur"}


def test_where_nothing_goes_away_what_is_farthest_from_usual_is_told(without_contributions, table, monkeypatch):
    detector = without_contributions
    row = replace(table.slice(0, 1), "km", [400.0])
    monkeypatch.setattr(type(detector.model), "anomaly_score", lambda self, rows: np.zeros(len(rows)))
    assert best(detector, row)["column"] == "km"


def test_a_feature_that_names_what_it_compares_with_counts_as_twice_as_far(detector, table):
    matrix = detector.encoder.transform(table.slice(0, 3))
    members = [number for number, feature in enumerate(detector.features) if feature.source == "eur"]
    expected = [3.0 if "card" in detector.features[number].name else 1.5 for number in members]
    assert set(expected) == {1.5, 3.0}
    distances = _distances(detector, matrix, matrix + np.float32(1.5), members)
    np.testing.assert_allclose(distances, [expected] * 3, rtol=1e-5)


@pytest.mark.parametrize("source", ["hour of day", "channel", "card: transactions", "km"])
def test_taken_is_the_most_usual_value_that_lowers_the_score_nearly_as_far_as_any(detector, table, source):
    rows = replace(table.slice(0, 20), "hour of day", [3.0] * 20)
    rows = replace(replace(rows, COUNT, [40.0] * 20), "km", [80.0] * 20)
    matrix, tried = detector.encoder.transform(rows), np.arange(20) % 5 > 0
    own = detector.model.anomaly_score(matrix)
    settled, scores = settled_of(detector, matrix, own, source=source, tried=tried)
    places, usual = detector.encoder.usual(source)
    for row in range(20):
        expected, least = matrix[row].copy(), own[row]
        trials = np.repeat(matrix[row : row + 1], len(usual), axis=0)
        trials[:, places] = usual
        found = detector.model.anomaly_score(trials)
        if tried[row] and found.min() < own[row]:
            least = found.min()
            expected[places] = usual[np.flatnonzero(own[row] - found >= 0.9 * (own[row] - least))[0]]
        assert scores[row] == pytest.approx(least)
        np.testing.assert_array_equal(settled[row], expected)


@pytest.mark.parametrize("cells", [1, 3000, 2**20])
def test_sources_are_settled_alike_one_by_one_and_together(detector, table, monkeypatch, cells):
    matrix, generator = detector.encoder.transform(table.slice(0, 40)), np.random.default_rng(0)
    matrix = matrix + generator.normal(size=matrix.shape).astype(np.float32)
    own = detector.matrix_scores(matrix)
    sources = list(dict.fromkeys(feature.source for feature in detector.features))
    tried = [generator.random(40) < share for share in np.linspace(0, 1, len(sources))]
    monkeypatch.setattr(reasons, "TRIED_CELLS", cells)
    pairs = zip(sources, tried, strict=True)
    together = most_usual(detector, (Trials(detector, matrix, own, source=name, tried=mask) for name, mask in pairs))
    for name, mask, (settled, scores) in zip(sources, tried, together, strict=True):
        alone, least = settled_of(detector, matrix, own, source=name, tried=mask)
        np.testing.assert_array_equal(settled, alone)
        np.testing.assert_array_equal(scores, least)
