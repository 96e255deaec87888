"""What an operator does with a work folder as a whole: removing what is past its time, and copying what must be kept.

In: a `Config` and its work folder. Out: the same work folder with less in it, or a folder with a copy. Called by flows.
"""
