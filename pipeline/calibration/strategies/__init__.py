"""Scored rows in; the cut between an alert and the rest, and what it promises, out: a strategy a file.

In: `ScoredRows` that took no part in fitting, and the strategy's settings. Out: a `Threshold`, and after scoring its
`Fulfilment`. strategy.py has what every strategy gives; choice.py the one that ``[threshold]`` names, also by segment.
Called by the detector, and by whoever holds a batch against the promise: through choice.py.
"""
