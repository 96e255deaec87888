"""How a strange table is written, found in the whole of it: what `assay init` puts into ``[table]``."""

from pathlib import Path

from pipeline.settings.config import TableConfig
from pipeline.tables.files import list_files, readable
from pipeline.tables.headers import is_values, read_header


def name_columns(path: str | Path, settings: TableConfig) -> tuple[TableConfig, list[str]]:
    """Return settings with names for the columns of a CSV file without a header, and a warning where it has none.

    Parameters
    ----------
    path : str or Path
        A file or a folder, whose first file is looked at.
    settings : TableConfig
        Delimiter and encoding; ``columns`` that are set already stay.
    """
    path = Path(path)
    with readable(path, settings):
        file = next(iter(list_files(path)), path) if path.is_dir() else path
        if settings.columns or not file.is_file() or not file.name.lower().endswith((".csv", ".csv.gz")):
            return settings, []
        cells = read_header(file, settings).cells
    if not is_values(cells):
        return settings, []
    names = tuple(f"column_{place}" for place in range(1, len(cells) + 1))
    warning = (
        f"the first line of {file} holds values, so that it is read as a row and the columns are called {names[0]} to "
        f"{names[-1]}; name them in order with --column, for roles go by names"
    )
    return settings.model_copy(update={"columns": names}), [warning]
