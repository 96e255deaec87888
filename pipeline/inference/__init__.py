"""A strange table in; a contract and families of features out, each with its reason.

In: a table and the roles that a user named. Out: a `Config` to be read and mended by a person. Called by ``assay
init``, the demo and scoring of data frames; training calls giveaways alone, to refuse a column that
gives the label away.
"""
