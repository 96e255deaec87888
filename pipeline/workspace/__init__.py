"""What stays between two runs, as one object: `Workspace`.

In: a `Config`. Out: the work folder's paths, the history of accepted rows, the ledger of scored batches, the labels
from review. Called by intake, tracking, scoring, evaluation, selection and flows.
"""
