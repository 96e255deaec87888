import pytest
from pydantic import ValidationError

from pipeline.settings.contract import Contract

BASE = {"id": "tx", "timestamp": "at", "amount": "eur"}


def test_columns_come_in_the_order_of_their_roles():
    contract = Contract(
        **BASE,
        entities=("card", "shop"),
        categorical=("channel",),
        numeric=("age",),
        label="fraud",
        labelled_at="known",
        ignored=("note",),
        types={"tx": "integer", "channel": "text"},
    )
    assert contract.required == ("tx", "at", "eur", "card", "shop", "channel", "age")
    assert contract.columns == (*contract.required, "fraud", "known")
    assert contract.key_columns == ("tx", "card", "shop", "channel")
    assert contract.numbers == ("eur", "age")
    assert [contract.type_of(name) for name in contract.columns] == [
        "integer",
        "timestamp",
        "number",
        "text",
        "text",
        "text",
        "number",
        "label",
        "timestamp",
    ]


@pytest.mark.parametrize("role", ["entities", "categorical", "numeric", "ignored"])
@pytest.mark.parametrize("column", ["tx", "at", "eur"])
def test_a_column_has_one_role(role, column):
    with pytest.raises(ValidationError, match=f"column '{column}' is named in two roles; keep one"):
        Contract(**BASE, **{role: (column,)})


def test_the_label_is_no_input():
    with pytest.raises(ValidationError, match="column 'fraud' is named in two roles"):
        Contract(**BASE, label="fraud", numeric=("fraud",))


def test_a_column_named_twice_in_one_role_is_refused():
    with pytest.raises(ValidationError, match="column 'card' is named in two roles"):
        Contract(**BASE, entities=("card", "card"))


def test_sensitive_columns_keep_a_role():
    assert Contract(**BASE, entities=("card",), sensitive=("card",)).sensitive == ("card",)
    with pytest.raises(ValidationError, match="sensitive column 'mail' has no role; give it one"):
        Contract(**BASE, sensitive=("mail",))


def test_an_optional_column_is_an_entity_that_rows_may_lack():
    contract = Contract(**BASE, entities=("card", "shop"), optional=("shop",))
    assert contract.obligatory == (BASE["id"], BASE["timestamp"], BASE["amount"], "card")
    assert "shop" in contract.required
    with pytest.raises(ValidationError, match="optional column 'channel' is no entity; others may be empty anyway"):
        Contract(**BASE, categorical=("channel",), optional=("channel",))


def test_types_are_for_keys_only():
    with pytest.raises(ValidationError, match="types names 'eur', which is no id, entity or categorical"):
        Contract(**BASE, types={"eur": "integer"})
    with pytest.raises(ValidationError, match="'integer' or 'text'"):
        Contract(**BASE, types={"tx": "float"})


def test_empty_names_and_unknown_roles_are_refused():
    with pytest.raises(ValidationError, match="at least 1 character"):
        Contract(**{**BASE, "id": ""})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Contract(**BASE, roles=("tx",))


def test_it_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Contract(**BASE).id = "other"


def test_an_id_named_like_a_column_of_the_scores_is_refused():
    with pytest.raises(ValidationError, match="the scores table has a column of this name itself; rename"):
        Contract(**{**BASE, "id": "batch_id"})
