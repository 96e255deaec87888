from pathlib import Path

import duckdb
import pytest

from pipeline.errors import ResourceError
from pipeline.tables.sql import database, quote


def test_a_database_is_bounded_spills_into_its_folder_and_is_gone_after_the_block(tmp_path: Path) -> None:
    with database("100MiB", tmp_path) as connection:
        settings = connection.sql("SELECT current_setting('memory_limit'), current_setting('temp_directory')")
        assert settings.fetchall() == [("100.0 MiB", str(tmp_path))]
        # 20 million random numbers are 160 MB, more than the memory.
        connection.execute("CREATE TEMP TABLE numbers AS SELECT random() AS n FROM range(20_000_000)")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 50e6
        assert connection.sql("SELECT count(*) FROM numbers WHERE n < 1").fetchall() == [(20_000_000,)]
    with pytest.raises(duckdb.ConnectionException, match="already been closed"):
        connection.sql("SELECT 1")


def test_databases_do_not_see_each_other(tmp_path: Path) -> None:
    with database("1GB", tmp_path) as one, database("1GB", tmp_path) as two:
        one.execute("CREATE TABLE seen (n INTEGER)")
        with pytest.raises(duckdb.CatalogException, match="seen does not exist"):
            two.sql("SELECT * FROM seen")


def test_a_quoted_name_is_one_column_whatever_stands_in_it(tmp_path: Path) -> None:
    with database("1GB", tmp_path) as connection:
        for name in ("tx id", 'a "b"', "select", "x; DROP TABLE t", "größe"):
            assert connection.sql(f"SELECT 1 AS {quote(name)}").columns == [name]


def test_a_query_that_needs_more_memory_than_it_may_have_is_one_sentence(tmp_path: Path) -> None:
    message = r"^features.memory_limit = '20MiB' is less than .*; raise it, [^\n]*$"
    with pytest.raises(ResourceError, match=message), database("20MiB", tmp_path) as connection:
        connection.sql("SELECT list(range) FROM range(100_000_000)").fetchall()
