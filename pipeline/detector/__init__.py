"""The artefact: encoder, model, calibration and threshold, fitted once and saved together.

In: a feature table, a `Config` and a moment. Out: a `Detector` that scores batches, flags and ranks them, and is
saved without pickle. Called by tracking, scoring, evaluation, selection and flows.
"""
