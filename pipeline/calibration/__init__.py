"""Scores of held-out rows in; p-values, cuts and what they promise out.

In: the anomaly scores of rows that took no part in fitting, their labels and days, and ``[threshold]``. Out: a
`Calibration` and a `Threshold`; strategies are in a folder of their own, one a file. Called by the detector, and by
whoever holds a batch against the promise.
"""
