"""The random audit slice: what is drawn, and what is written."""

import csv
import hashlib
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import kstest

from pipeline.scoring.audit import chances, write_audit
from pipeline.scoring.score import score_table
from pipeline.settings.pseudonyms import Pseudonyms
from tests.pipeline.fitted import with_share


def test_chances_are_uniform_and_depend_on_the_id_and_the_name_only():
    ids = pa.array(np.arange(20_000))
    found = chances(ids, "cards")
    assert kstest(found, "uniform").pvalue > 0.001
    assert ((found >= 0) & (found < 1)).all()
    order = np.random.default_rng(0).permutation(20_000)
    np.testing.assert_array_equal(chances(ids.take(pa.array(order)), "cards"), found[order])
    np.testing.assert_array_equal(chances(ids.slice(500, 9), "cards"), found[500:509])
    np.testing.assert_array_equal(chances(ids.cast(pa.string()), "cards"), found)
    assert abs(np.corrcoef(found, chances(ids, "other"))[0, 1]) < 0.03
    assert chances(ids.slice(0, 0), "cards").tolist() == []


def siphash(key, text):
    """SipHash-2-4, as Aumasson and Bernstein wrote it (INDOCRYPT 2012)."""
    mask, words = 2**64 - 1, [int.from_bytes(key[place : place + 8], "little") for place in (0, 8)]
    constants = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [word ^ constant for word, constant in zip(2 * words, constants, strict=True)]

    def rounds(number):
        for _ in range(number):
            for one, other, turn, half in ((0, 1, 13, 32), (2, 3, 16, 0), (0, 3, 21, 0), (2, 1, 17, 32)):
                v[one] = (v[one] + v[other]) & mask
                v[other] = (v[other] << turn | v[other] >> (64 - turn)) & mask ^ v[one]
                v[one] = (v[one] << half | v[one] >> (64 - half)) & mask

    text += bytes(7 - len(text) % 8) + bytes([len(text) % 256])
    for place in range(0, len(text), 8):
        word = int.from_bytes(text[place : place + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def mixed(word):
    """The last steps of SplitMix64, which pandas adds."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def test_a_draw_can_be_repeated_without_this_code():
    key = hashlib.sha256(b"audit of cards").hexdigest()[:16].encode()
    expected = [(mixed(siphash(key, text)) >> 11) / 2**53 for text in (b"7", b"transaction-000123")]
    assert chances(pa.array(["7", "transaction-000123"]), "cards").tolist() == expected


def test_the_slice_is_of_rows_not_flagged_in_random_order_with_their_chance(two, tmp_path):
    later, ((detector, scored), _) = two
    write_audit(later, scored, with_share(detector, 0.3), tmp_path)
    rows, audit = pq.read_table(later), pq.read_table(tmp_path / "audit.parquet")
    scores = pq.read_table(scored.scores).to_pandas().set_index("tx")
    places = dict(zip(rows["tx"].to_pylist(), chances(rows["tx"], detector.config.name), strict=True))
    expected = [key for key in sorted(places, key=places.get) if places[key] < 0.3 and not scores.is_flagged[key]]
    assert audit["tx"].to_pylist() == expected
    assert 0.2 < audit.num_rows / rows.num_rows < 0.4
    assert audit["inclusion_probability"].to_pylist() == [0.3] * audit.num_rows
    assert audit["rank"].to_pylist() == list(range(1, audit.num_rows + 1))
    assert audit["anomaly_score"].to_pylist() == scores.anomaly_score[expected].tolist()
    assert {"eur", "note", "p_value", "batch_id", "model_version"} <= set(audit.column_names)
    assert not [name for name in audit.column_names if "against" in name]  # features are not the input's


def test_the_spreadsheet_has_the_same_rows_without_scores_and_with_sensitive_cells_masked(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the key of pseudonyms is made
    later, ((detector, scored), _) = two
    path = write_audit(later, scored, with_share(detector, 0.3, sensitive=("card",)), tmp_path)
    with (tmp_path / "audit.csv").open(encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert path == tmp_path / "audit.parquet"
    assert [line["tx"] for line in lines] == [str(key) for key in pq.read_table(path)["tx"].to_pylist()]
    cards = pq.read_table(path)["card"].to_pylist()
    assert [line["card"] for line in lines] == [Pseudonyms("assay-data").of(card) for card in cards]
    assert list(lines[0]) == ["tx", "at", "card", "eur", "channel", "note", "fraud", "inclusion_probability"]
    assert lines[0]["inclusion_probability"] == "0.3"
    assert all(line["note"].startswith("'=note") for line in lines)


def test_a_larger_share_draws_the_same_rows_and_more_and_none_is_none(two, tmp_path):
    later, ((detector, scored), _) = two
    drawn = {}
    for share in (0.1, 0.4):
        (tmp_path / str(share)).mkdir()
        path = write_audit(later, scored, with_share(detector, share), tmp_path / str(share))
        drawn[share] = set(pq.read_table(path)["tx"].to_pylist())
    assert drawn[0.1] < drawn[0.4]
    assert write_audit(later, scored, with_share(detector, 0.0), tmp_path) is None
    # The order of the rows changes nothing.
    rows = pq.read_table(later)
    pq.write_table(rows.take(pa.array(np.random.default_rng(1).permutation(rows.num_rows))), tmp_path / "mixed.parquet")
    marks = {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}
    mixed = score_table(tmp_path / "mixed.parquet", detector, tmp_path / "mixed", **marks)
    path = write_audit(tmp_path / "mixed.parquet", mixed, with_share(detector, 0.4), tmp_path / "mixed")
    first = pq.read_table(tmp_path / "0.4" / "audit.parquet").drop_columns(["anomaly_score", "p_value"])
    assert pq.read_table(path).drop_columns(["anomaly_score", "p_value"]).equals(first)
