"""A feature table in; scores, alerts with reasons, and the random audit slice out.

In: a feature table and a `Detector`. Out: ``scores.parquet``, ``alerts.parquet`` and ``.csv``, ``audit.parquet`` and
``.csv``, maps, suspects, what another version would change. Called by evaluation, selection, pages and flows. frames.py
has the same way for data frames, from the contract to alerts: it is called by notebooks and other programs.
"""
