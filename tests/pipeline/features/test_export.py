"""pipeline/features/export.py: the feature table as it leaves the work folder."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.features import list_features
from pipeline.features.export import write_export
from pipeline.settings.pseudonyms import Pseudonyms
from tests.pipeline.fitted import config, feature_table, transactions


def settings(folder, **contract):
    families = ("amount", "calendar", "columns", "change")
    return config(contract=contract, features={"families": families}, work_dir=str(folder / "work"))


def test_what_is_ignored_or_has_no_role_stays_behind(tmp_path):
    config = settings(tmp_path, ignored=("note",))
    table = transactions(60).append_column("unnamed", pa.array(range(60)))
    features = feature_table(tmp_path, table, config)
    assert {"note", "unnamed"} <= set(pq.read_schema(features).names)
    assert write_export(features, config, tmp_path / "out.parquet") == []
    written = pq.read_table(tmp_path / "out.parquet")
    names = {name for item in list_features(config) for name in (item.column, item.expected) if name}
    assert set(written.column_names) == {"tx", "at", "card", "eur", "channel", "fraud"} | names
    assert written.equals(pq.read_table(features, columns=written.column_names))
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("sensitive", "left_out"),
    [
        (("card",), []),
        (("tx", "fraud"), ["tx", "fraud"]),
        (("channel",), ["channel"]),
        (("at",), ["at", "hour of day", "weekday"]),
        (("eur",), ["eur", "eur against card", "eur against card (log)", "card: usual eur"]),
    ],
)
def test_of_a_sensitive_column_nothing_leaves_but_the_pseudonym_of_an_entity(tmp_path, sensitive, left_out):
    config = settings(tmp_path, sensitive=sensitive)
    features = feature_table(tmp_path, transactions(60), config)
    assert set(write_export(features, config, tmp_path / "out.parquet")) == set(left_out)
    written, whole = pq.read_table(tmp_path / "out.parquet"), pq.read_table(features)
    assert not set(left_out) & set(written.column_names)
    if sensitive == ("card",):
        pseudonyms = Pseudonyms(config.work_dir)
        assert written["card"].to_pylist() == [pseudonyms.of(card) for card in whole["card"].to_pylist()]
