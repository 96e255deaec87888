"""Other people's files to Arrow batches, and our own files whole or not at all.

In: a CSV or Parquet file, a folder or a partitioned dataset, and ``[table]``. Out: batches as they came (reading),
typed (parsing), a `Period` of them, a `Batch` to be known by; files written, hidden scratch folders, quoted SQL.
Called by every room that reads or writes.
"""
