import pytest

from pipeline.settings.machines import LineageConfig


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("", ""),
        ("https://marquez.example/api/v1/lineage", "ASSAY_KEY"),
        ("http://marquez.example:5000/api/v1/lineage", ""),
        ("http://127.0.0.1:5000/api/v1/lineage", "ASSAY_KEY"),
    ],
)
def test_events_may_go_in_clear_where_no_key_goes_with_them(url: str, key: str) -> None:
    assert LineageConfig(url=url, key=key).url == url


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        (
            "http://marquez.example:5000/",
            "ASSAY_KEY",
            r"lineage\.key is sent to http://marquez\.example:5000/ only over",
        ),
        ("https://ann:word@marquez.example/", "", "without a name and a password in it"),
        ("file:///etc/passwd", "", "an http or https address"),
        ("https://marquez.example/", "Bearer 7", "String should match pattern"),
    ],
)
def test_an_address_or_a_key_that_gives_a_secret_away_is_refused(url: str, key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LineageConfig(url=url, key=key)
