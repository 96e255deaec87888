"""The steps from any older database to the tables of `pipeline.workspace.schema`, run by Alembic.

In: a connection inside a transaction. Out: the database at `VERSION`. Called by `pipeline.workspace.database` only.
"""
