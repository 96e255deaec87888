"""Which columns are coordinates of one place, by their names."""

import re
from collections.abc import Iterable

_LATITUDE = re.compile(r"(?<![a-z])(?:latitude|lat|breitengrad)(?![a-z])")
_LONGITUDE = re.compile(r"(?<![a-z])(?:longitude|long|lon|lng|l(?:ae|ä)ngengrad)(?![a-z])")


def find_places(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the places that columns are coordinates of: latitude and longitude by the place's name.

    Two columns are of one place where their names are the same but for the words for latitude and longitude.

    Examples
    --------
    >>> find_places(["lat", "long", "merch_lat", "merch_long", "plat", "city_pop"])
    {'place': ('lat', 'long'), 'merch': ('merch_lat', 'merch_long')}
    >>> find_places(["TX_TERM_LAT", "TX_TERM_LONG", "homeLatitude", "homeLongitude", "shop_lat"])
    {'tx_term': ('TX_TERM_LAT', 'TX_TERM_LONG'), 'home': ('homeLatitude', 'homeLongitude')}
    """
    halves: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        for half, pattern in zip(halves, (_LATITUDE, _LONGITUDE), strict=True):
            rest, count = pattern.subn("", words, count=1)
            if count:
                place = "_".join(re.findall(r"\w+", rest.replace("_", " "))) or "place"
                half.setdefault(place, name)
    latitudes, longitudes = halves
    return {place: (latitudes[place], longitudes[place]) for place in latitudes if place in longitudes}
