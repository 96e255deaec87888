"""MLflow, and nobody else imports it: runs, registered versions, aliases, and the model as it is served.

In: a fitted `Detector` and what was measured of it. Out: runs and versions in the store, a `Detector` loaded by
version or alias. Called by scoring (the candidate in the shadow), selection and flows.
"""
