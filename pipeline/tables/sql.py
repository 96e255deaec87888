"""SQL text: names quoted."""


def quote(name: str) -> str:
    """Return a column's name as an SQL identifier.

    Examples
    --------
    >>> quote("tx id")
    '"tx id"'
    """
    return '"' + name.replace('"', '""') + '"'
