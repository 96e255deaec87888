"""The commands that are no flow, one file each: they call the pipeline, and show what came of it.

In: what the user typed. Out: text in the terminal and files where the user said. Called by flows/cli.py alone.
"""
