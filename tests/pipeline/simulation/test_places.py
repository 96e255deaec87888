"""pipeline/simulation/places.py: where rows are, and on which devices."""

import pyarrow.parquet as pq
import pytest

from pipeline.simulation import simulate
from pipeline.simulation.places import CENTRES
from pipeline.simulation.world import COUNTRIES


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "transactions.parquet"
    simulate(path, rows=20_000, days=30, scenarios=["new_device"], malformed=False)
    frame = pq.read_table(path).to_pandas()
    return frame[frame["TX_FRAUD"] == 0]


def test_terminals_stay_where_they_are_and_lie_around_the_city_of_their_country(normal):
    shops = normal[normal["CHANNEL"] != "online"]
    assert (shops.groupby("TERMINAL_ID")[["LATITUDE", "LONGITUDE"]].nunique() == 1).all(axis=None)
    assert len(CENTRES) == len(COUNTRIES)
    for country, (latitude, longitude) in zip(COUNTRIES, CENTRES, strict=True):
        rows = shops[shops["COUNTRY"] == country]
        assert (rows["LATITUDE"] - latitude).abs().max() < 1
        assert (rows["LONGITUDE"] - longitude).abs().max() < 1


def test_payments_on_the_net_come_from_home_but_for_travellers(normal):
    online = normal[normal["CHANNEL"] == "online"].groupby("CUSTOMER_ID")["LATITUDE"].nunique()
    assert (online == 1).mean() > 0.95


def test_a_device_belongs_to_one_customer_who_mostly_uses_the_first(normal):
    assert normal.groupby("DEVICE_ID")["CUSTOMER_ID"].nunique().max() == 1
    many = normal.groupby("CUSTOMER_ID").filter(lambda rows: len(rows) > 15)
    share = many.groupby("CUSTOMER_ID")["DEVICE_ID"].agg(lambda device: device.value_counts(normalize=True).iloc[0])
    assert 0.7 < share.median() < 0.9
    # No order of the numbers tells whose a device is.
    assert abs(normal["DEVICE_ID"].corr(normal["CUSTOMER_ID"])) < 0.1
