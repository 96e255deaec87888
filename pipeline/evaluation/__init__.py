"""Scores and labels in; measures with intervals out.

In: scored rows and what is known of their labels. Out: metrics, curves, backtests, what became of injected anomalies,
an estimate of missed fraud. Called by selection, pages and flows.
"""
