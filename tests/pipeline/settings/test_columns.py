"""pipeline/settings/columns.py: what may be written there."""

import pytest
from pydantic import ValidationError

from pipeline.settings.columns import ColumnConfig


def test_texts_are_trimmed_and_markup_is_text():
    column = ColumnConfig(title="  <b>Amount</b> ", unit="€", description="=1+1")
    assert (column.title, column.unit, column.description) == ("<b>Amount</b>", "€", "=1+1")


@pytest.mark.parametrize("sign", ["\x00", "\n", "\x1b", "\u202e", "\u200b", "\u2028", "\ue000", "\ufeff"])
@pytest.mark.parametrize("field", ["title", "unit", "description"])
def test_signs_that_cannot_be_seen_are_refused(field, sign):
    with pytest.raises(ValidationError, match=f"the sign U\\+{ord(sign):04X} cannot be seen; write a text of one line"):
        ColumnConfig(**{field: f"a{sign}b"})


def test_long_texts_are_refused():
    with pytest.raises(ValidationError, match="at most 60"):
        ColumnConfig(title="x" * 61)
