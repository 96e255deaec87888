"""The alerts of a view with their decisions, as a file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from pipeline.review.listing import Line
from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import read_view
from pipeline.settings.config import Config
from pipeline.settings.output import name_beside
from pipeline.settings.titles import second_header

if TYPE_CHECKING:
    import pyarrow as pa

router = APIRouter()
FIELDS = ("key", "state", "label", "code", "decided_by", "decided_at", "assignee", "score", "p_value", "risk")
LAST = ("batch", "version", "reason")
TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@router.get("/export")
def download(request: Request) -> Response:
    """Return the view of the address as CSV for spreadsheets, or as Parquet with ``as=parquet``."""
    kind = "parquet" if request.query_params.get("as") == "parquet" else "csv"
    here = desk(request)
    table = as_table(here.export(read_view(request.query_params), person(request)), here.config)
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        file = Path(folder) / f"alerts.{kind}"
        if kind == "csv":
            from pipeline.tables.writing import write_csv

            write_csv(file, [table], table.schema, second=second_header(table.column_names, here.config))
        else:
            import pyarrow.parquet as pq

            pq.write_table(table, file)
        content = file.read_bytes()
    headers = {"content-disposition": f'attachment; filename="alerts.{kind}"'}
    return Response(content, media_type=TYPES[kind], headers=headers)


def as_table(lines: Sequence[Line], config: Config) -> "pa.Table":
    """Return alerts with their decisions as a table; of the table's own columns those of the list, as it shows them.

    A column that is called like one of the desk's has "(input)" behind its name.
    """
    import pyarrow as pa

    contract = config.contract
    types = {name: pa.string() for name in (*FIELDS, *LAST)}
    types |= dict.fromkeys(("score", "p_value", "risk"), pa.float64()) | {"decided_at": pa.timestamp("us")}
    names = {name: name_beside(name, types) for name in (contract.id, contract.timestamp, contract.amount)}
    names |= {name: name_beside(name, types) for name in contract.key_columns[1:]}
    places = [*FIELDS, *names.values(), *LAST]
    schema = pa.schema([pa.field(name, types.get(name, pa.string())) for name in places])
    records = []
    for line in lines:
        cells = {contract.id: line.id, contract.timestamp: line.time, contract.amount: line.amount, **dict(line.keys)}
        record = {name: getattr(line, name) for name in (*FIELDS, "batch", "version")}
        record |= {"reason": "; ".join(reason.text for reason in line.reasons)}
        records.append(record | {names[name]: text for name, text in cells.items()})
    return pa.Table.from_pylist(records, schema)
