"""Two periods in; how far the data drifted between them out.

In: feature tables of two periods and an encoder. Out: a drift index a feature, worst first. Called by selection.
"""
