"""What is logged of a configuration."""

import pytest

from pipeline.settings.config import Config
from pipeline.tracking.content import flatten, without_password, without_passwords


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://assay:secret@db/assay", "postgresql://assay:***@db/assay"),
        ("https://ann:secret@mlflow.bank.example:5000", "https://ann:***@mlflow.bank.example:5000"),
        ("postgresql://assay@db/assay", "postgresql://assay@db/assay"),
        ("sqlite:////var/assay/mlflow.db", "sqlite:////var/assay/mlflow.db"),
        ("", ""),
        ("no url: at all", "no url: at all"),
    ],
)
def test_the_password_of_a_url_is_masked_and_the_rest_stays(url: str, expected: str) -> None:
    assert without_password(url) == expected


def test_neither_url_of_the_tracking_section_keeps_its_password_and_nothing_else_changes() -> None:
    tracking = {"uri": "https://ann:first@mlflow.example", "ledger_url": "postgresql://assay:second@db/assay"}
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    config = Config.model_validate({"contract": contract, "tracking": {**tracking, "experiment": "cards"}})
    masked = without_passwords(config)
    assert (masked.tracking.uri, masked.tracking.ledger_url) == (
        "https://ann:***@mlflow.example",
        "postgresql://assay:***@db/assay",
    )
    assert masked == config.model_copy(
        update={
            "tracking": config.tracking.model_copy(
                update={"uri": masked.tracking.uri, "ledger_url": masked.tracking.ledger_url}
            )
        }
    )
    assert config.tracking.uri == tracking["uri"]
    assert not [value for value in flatten(masked).values() if "first" in str(value) or "second" in str(value)]
