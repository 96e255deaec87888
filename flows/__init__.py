"""Prefect wiring and the command line. A flow reads like the diagram in docs/architecture.md."""

from flows.environment import settle

settle()  # before any of the libraries is imported, also where a worker imports a flow
