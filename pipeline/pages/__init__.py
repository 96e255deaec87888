"""Everything that becomes HTML, with its templates and charts.

In: what the other rooms computed. Out: pages that need no network, no script and no file beside them. Called by
flows.
"""
