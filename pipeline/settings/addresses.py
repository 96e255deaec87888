"""Addresses that messages are sent to, as they may stand in assay.toml."""

from urllib.parse import urlsplit

HERE = ("127.0.0.1", "localhost", "::1")
"""Names of this machine."""


def checked_address(text: str, *, in_clear: bool = False) -> str:
    """Return an address as it is, or refuse one that messages or secrets would be read on the way to.

    Parameters
    ----------
    text : str
        "" for none.
    in_clear : bool
        Whether a message may go to another machine without encryption.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> checked_address("https://lineage.example/api"), checked_address("http://localhost:5000/")
    ('https://lineage.example/api', 'http://localhost:5000/')
    """
    if not text:
        return text
    parts = urlsplit(text)
    _ = parts.port  # one that is no number is refused, too
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not text.isprintable():
        raise ValueError("it is an http or https address without a name and a password in it")
    if parts.scheme == "http" and parts.hostname not in HERE and not in_clear:
        raise ValueError("messages to another machine go over https")
    return text
