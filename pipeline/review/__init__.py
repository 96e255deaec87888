"""The analysts' desk: the queue of alerts, what is decided in it, and who may.

In: a `Config`, the ledger, and the alerts and audit slices of scored batches. Out: `Desk`, whose every change is an
event that is never altered, and decisions, which are labels. Called by flows.
"""
