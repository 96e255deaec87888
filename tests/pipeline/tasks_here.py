"""Tasks of Spark run in this process: without its ten seconds, and where it is seen which lines they come by."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.serializers import CloudPickleSerializer

SENT = CloudPickleSerializer()


class Frame:
    """What is asked of a data frame of Spark, in this process and in any order."""

    def __init__(self, batches, kept):
        self.table, self.kept = pa.Table.from_batches(batches), kept
        self.write = SimpleNamespace(partitionBy=lambda kind: self.write, option=lambda name, value: self.write)
        self.write.parquet = lambda path: kept.append(self)

    def mapInArrow(self, work, kinds):  # noqa: N802 - the name that Spark has for it
        return Frame(list(work(iter(self.table.to_batches()))), self.kept)

    def groupBy(self, name):  # noqa: N802 - the name that Spark has for it
        assert name == "bucket"
        return self

    def applyInArrow(self, work, kinds):  # noqa: N802 - the name that Spark has for it
        groups = [self.table.filter(pc.equal(self.table["bucket"], bucket)) for bucket in self.table["bucket"].unique()]
        made = [work(group).combine_chunks() for group in reversed(groups)]
        return Frame([batch for table in made for batch in table.to_batches() or no_rows(table)], self.kept)

    def __getitem__(self, name):
        return SimpleNamespace(isin=lambda *names: pc.is_in(self.table[name], pa.array(np.ravel(names).tolist())))

    def where(self, rows):
        return Frame(self.table.filter(rows).to_batches(), self.kept)

    def union(self, other):
        return Frame([*self.table.to_batches(), *other.table.to_batches()], self.kept)

    def toArrow(self):  # noqa: N802 - the name that Spark has for it
        return self.table

    collect = toArrow


def no_rows(table):
    """The one batch of a table without rows."""
    return [pa.record_batch([column.combine_chunks() for column in table.columns], schema=table.schema)]


class List:
    """What is asked of a list of Spark: work and items go to tasks, and come back, as Spark has them go."""

    def __init__(self, items):
        self.items = items

    def map(self, work):
        def carried(thing):
            return SENT.loads(SENT.dumps(thing))

        made = [carried(carried(work)(carried(item))) for item in reversed(self.items)]
        return List(made[::-1])

    def collect(self):
        return self.items


def in_this_process(patch, module):
    """Run the tasks here, without Spark's ten seconds, and where it is seen which lines they come by."""

    @contextmanager
    def session(engine, work):
        kept = []
        reader = SimpleNamespace(schema=lambda kinds: SimpleNamespace(parquet=lambda path: kept[-1]))
        yield SimpleNamespace(
            range=lambda first, last, *_: Frame([pa.record_batch({"id": pa.array(range(first, last))})], kept),
            sparkContext=SimpleNamespace(
                master="local[2]",
                defaultParallelism=2,
                broadcast=lambda value: SimpleNamespace(value=value),
                parallelize=lambda items, number: List(items),
            ),
            conf=SimpleNamespace(set=lambda name, value: None),
            read=reader,
        )

    def join(spark, files, out):
        with pq.ParquetWriter(out, pq.read_schema(files[0])) as writer:
            for reader in map(pq.ParquetFile, files):
                for number in range(reader.num_row_groups):
                    writer.write_table(reader.read_row_group(number))
        return out

    patch.setattr(module, "on_spark", session)
    if hasattr(module, "join_on_spark"):
        patch.setattr(module, "join_on_spark", join)
    if hasattr(module, "session"):
        patch.setattr(module, "session", lambda engine: None)
