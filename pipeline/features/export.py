"""The feature table as it leaves the work folder: contract columns and features, nothing sensitive in clear."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.families import list_features
from pipeline.settings.config import Config
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import is_sensitive, is_telling, stand_ins
from pipeline.tables.parquet import read_batches
from pipeline.tables.writing import ParquetWriter


def write_export(features: Path, config: Config, out: Path) -> list[str]:
    """Write a feature table for use elsewhere, and return what was left out for being sensitive.

    It has the columns of the contract, but ignored ones, and the features. For a sensitive entity stands its pseudonym;
    other sensitive columns, and features that would show one, are left out.

    Parameters
    ----------
    features : Path
        Feature table (Parquet).
    config : Config
    out : Path
        Parquet file to write.

    Returns
    -------
    list of str
        Names of columns.
    """
    contract, schema = config.contract, pq.read_schema(features)
    sources = {feature.column: feature.source for feature in list_features(config)}
    sources |= {name: name for feature in list_features(config) if (name := feature.expected) is not None}
    entities = [name for name in contract.entities if is_sensitive(contract, name)]
    names = [name for name in schema.names if name in contract.columns or name in sources]
    open_names = [
        name
        for name in names
        if name in entities or not (is_sensitive(contract, name) or is_telling(sources.get(name, ""), contract))
    ]
    fields = [pa.field(name, pa.string()) if name in entities else schema.field(name) for name in open_names]
    pseudonyms = Pseudonyms(config.work_dir)
    with ParquetWriter(out, pa.schema(fields)) as writer:
        for batch in read_batches(features, columns=open_names):
            table = pa.Table.from_batches([batch])
            columns = {
                name: stand_ins(table[name], name, contract, pseudonyms) if name in entities else table[name]
                for name in open_names
            }
            writer.write(pa.table(columns))
    return [name for name in names if name not in open_names]
