"""How strange tables are written, found by `assay init`."""

from pipeline.inference.roles import infer
from pipeline.settings.config import TableConfig
from tests.pipeline.inference.transactions import infer_file, save, transactions


def test_a_table_without_a_header(tmp_path):
    frame = transactions(600)
    path = save(tmp_path, frame, header=False)
    config, _, warnings = infer_file(path)
    assert config.table.columns == tuple(f"column_{place}" for place in range(1, 10))
    assert config.contract.timestamp == "column_2"
    assert "the first line of" in warnings[0]
    assert "name them in order with --column" in warnings[0]
    config, _, warnings = infer(path, settings=TableConfig(columns=tuple(frame.columns)))
    assert (config.contract.entities, config.contract.label) == (("CUSTOMER_ID", "TERMINAL_ID"), "TX_FRAUD")
    assert not any("first line" in text for text in warnings)


def test_columns_of_one_name_are_said(tmp_path):
    frame = transactions(600)
    frame = frame.rename(columns={"TERMINAL_ID": "CUSTOMER_ID"})
    config, _, warnings = infer_file(save(tmp_path, frame))
    assert config.contract.entities == ("CUSTOMER_ID", "CUSTOMER_ID_2")
    assert "column 4 is a second 'CUSTOMER_ID' and is called 'CUSTOMER_ID_2'" in warnings
