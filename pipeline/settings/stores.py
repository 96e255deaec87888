"""Addresses of stores, such as s3://bucket/in, as they may stand in assay.toml: only where files come in."""

import re
from urllib.parse import unquote, urlsplit

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(:.*:)?//", re.DOTALL)
_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")


def is_address(text: str) -> bool:
    """Return whether a setting names a store and no folder of this machine.

    Examples
    --------
    >>> is_address("s3://bucket/in"), is_address("/srv/in"), is_address("in:3")
    (True, False, False)
    """
    return _ADDRESS.match(text) is not None


def checked_store(text: str) -> str:
    """Return an address without its last slash, and a folder of this machine as a path.

    Raises
    ------
    ValueError
        When it holds a password, or is nothing that has a list of its files.

    Examples
    --------
    >>> checked_store("s3://bucket/in/"), checked_store("incoming"), checked_store("file:///srv/in")
    ('s3://bucket/in', 'incoming', '/srv/in')
    """
    if not is_address(text):
        return text
    parts = urlsplit(text)
    if parts.password is not None:
        raise ValueError("a store's keys come from the environment, never from assay.toml; leave name and password out")
    if parts.scheme in ("file", "local"):
        return unquote(parts.path)
    if parts.scheme in ("http", "https"):
        raise ValueError("a web server has no list of its files; name a store such as s3://bucket/in, or a folder")
    if "::" in text or not text.isprintable() or re.search(r"[?#*\[\]]|//.*//|/\.{1,2}(/|$)", text):
        raise ValueError("it is an address such as s3://bucket/in, without ?, #, *, brackets, :: or a way up")
    if not (parts.netloc or parts.path.strip("/")):
        raise ValueError("it names no place in the store; write one such as s3://bucket/in")
    return text.rstrip("/")


def refuse_store(text: str, reason: str) -> str:
    """Return a path of this machine as it is.

    Raises
    ------
    ValueError
        With the reason, when it is the address of a store.
    """
    if is_address(text):
        raise ValueError(reason)
    return text


def without_login(text: str) -> str:
    """Return a text that may be shown: without names and passwords in addresses.

    Examples
    --------
    >>> without_login("s3://key:secret@bucket/in"), without_login("it's at 8:00, mail a@b")
    ('s3://***@bucket/in', "it's at 8:00, mail a@b")
    """
    return _LOGIN.sub("***@", text)
