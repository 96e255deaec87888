"""Versions in; the one that goes live out, with the reasons.

In: registered versions and rows that none of them learned from. Out: a comparison, gates, moved aliases and their
records, a search over models, all that is kept about a version. Called by pages and flows.
"""
