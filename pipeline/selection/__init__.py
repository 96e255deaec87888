"""Versions in; the one that goes live out, with the reasons.

In: registered versions and rows that none of them learned from. Out: a comparison, gates, moved aliases and their
records, a search over models. Called by pages and flows.
"""
