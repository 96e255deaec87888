"""What is logged of a configuration."""

from pipeline.settings.config import Config
from pipeline.tracking.content import flatten, without_passwords


def test_neither_url_of_the_tracking_section_keeps_its_password_and_nothing_else_changes() -> None:
    tracking = {"uri": "https://ann:first@mlflow.example", "ledger_url": "postgresql://db/assay?password=second"}
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    config = Config.model_validate({"contract": contract, "tracking": {**tracking, "experiment": "cards"}})
    masked = without_passwords(config)
    assert (masked.tracking.uri, masked.tracking.ledger_url) == (
        "https://ann:***@mlflow.example",
        "postgresql://db/assay?password=***",
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
