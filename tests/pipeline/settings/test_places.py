"""Which columns are coordinates of one place."""

import pytest

from pipeline.settings.places import find_places


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("lon", "lat"), {"place": ("lat", "lon")}),
        (("merchant latitude", "merchant longitude"), {"merchant": ("merchant latitude", "merchant longitude")}),
        (("lat_2", "lng_2", "lat_1", "lng_1"), {"2": ("lat_2", "lng_2"), "1": ("lat_1", "lng_1")}),
        (("Breitengrad", "Längengrad"), {"place": ("Breitengrad", "Längengrad")}),
        (("shipLat", "shipLong"), {"ship": ("shipLat", "shipLong")}),
        (("home_lat", "shop_long"), {}),
        (("latency", "longest", "flat", "salon", "lat"), {}),
    ],
)
def test_two_columns_whose_names_differ_in_the_word_for_the_coordinate_are_a_place(names, places):
    assert find_places(names) == places
