"""What the user decides: the contract of a table, every setting, and what is masked.

In: assay.toml. Out: a frozen `Config`. Called by every room and by every flow.
"""
