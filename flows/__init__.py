"""Prefect wiring and the command line. A flow reads like the diagram in the README."""
