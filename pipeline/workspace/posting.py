"""Sending a message by HTTP POST, without redirects or proxies: it arrives where the configuration says, or nowhere."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit


def post(address: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> int:
    """Send a message and return the status of the answer.

    Parameters
    ----------
    address : str
        http or https.
    body : bytes
    headers : mapping of str to str
    timeout : float
        Seconds to connect in, and to wait for the answer.

    Raises
    ------
    OSError
        When nobody answers, or what answers speaks no HTTP.
    """
    url = urlsplit(address)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=timeout)
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, dict(headers))
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from None
    finally:
        connection.close()
