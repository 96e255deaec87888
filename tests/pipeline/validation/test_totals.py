"""Tables held against the control totals that came with them."""

import json
import re
from pathlib import Path

import pytest

from pipeline.errors import BatchRefused, InputError
from pipeline.settings.config import Config
from pipeline.tables.reading import open_table
from pipeline.validation.totals import check_totals

CONFIG = Config.model_validate(
    {"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}, "incoming": {"manifest": ".json"}}
)
ROWS = (
    "tx,at,eur\n1,2025-03-01,12.50\n2,2025-03-01,-2.25\nbroken\n3,2025-03-01,\n4,yesterday,0.1\n5,2025-03-01,nought\n"
)
"""Six rows whose amounts, where they have one, make 10.35."""


def check(folder: Path, manifest: object, config: Config = CONFIG) -> None:
    (folder / "day.csv").write_text(ROWS)
    if manifest is not None:
        (folder / "day.csv.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    check_totals(open_table(folder / "day.csv", config.table), config)


@pytest.mark.parametrize(
    "manifest", [{"rows": 6, "amount": 10.35}, {"rows": 6}, {"amount": "10.35"}, {"amount": 10.354, "by": "SAP"}, None]
)
def test_a_table_that_adds_up_passes(manifest: object, tmp_path: Path) -> None:
    check(tmp_path, manifest)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ({"rows": 7, "amount": 10.35}, "day.csv has 6 rows, and its manifest says 7; have it delivered again, whole"),
        ({"rows": 6, "amount": 10.36}, "day.csv has amounts of 10.35 in all, and its manifest says 10.36; have it"),
        ({"rows": 5, "amount": 0}, "has 6 rows, and its manifest says 5; it has amounts of 10.35 in all, and its"),
    ],
)
def test_a_table_that_does_not_add_up_is_refused(manifest: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(BatchRefused, match=re.escape(says)) as caught:
        check(tmp_path, manifest)
    assert caught.value.read == 6


@pytest.mark.parametrize("manifest", ["", "{", "[]", "{}", '{"rows": "many"}', '{"amount": NaN}', '{"amount": {}}'])
def test_a_manifest_without_totals_is_refused(manifest: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'day\.csv\.json has no control totals; write them as \{"rows": 1204, '):
        check(tmp_path, manifest)


def test_without_the_setting_nothing_is_looked_at(tmp_path: Path) -> None:
    check(
        tmp_path,
        {"rows": 99},
        CONFIG.model_copy(update={"incoming": CONFIG.incoming.model_copy(update={"manifest": ""})}),
    )
