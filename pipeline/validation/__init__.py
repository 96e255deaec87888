"""A table in; accepted and quarantined rows out, or the whole batch refused with one sentence.

In: an opened `Table`, a `Config` and a `Period`. Out: a `Validated` with its Parquet files. Called by intake, and by
``assay validate``, which remembers nothing.
"""
