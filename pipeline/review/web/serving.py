"""Serving the desk: where it listens, and that nobody listens in."""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    from pipeline.review.desk import Desk

OF_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Door:
    """Where the desk listens.

    Parameters
    ----------
    host : str
    port : int
        0 for any that is free.
    certificate, key : Path or None
        PEM files, for TLS.
    proxy : str
        Address of the proxy before it that speaks TLS; what that says of who asks is believed, and of nobody else.

    Raises
    ------
    ConfigError
        When passwords would go over the network in clear, or one of the two files is lacking.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""

    def __post_init__(self) -> None:
        """Refuse a door that is open to listeners."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("TLS needs a certificate and its key; give both --tls-certificate and --tls-key")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise ConfigError(f"{file} does not exist; name a PEM file")
        if not (self.is_local or self.certificate or self.proxy):
            raise ConfigError(
                f"{self.host} can be reached from other machines, and passwords would go there in clear; give "
                "--tls-certificate and --tls-key, name the proxy that speaks TLS with --proxy, or leave --host out"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.certificate is not None or bool(self.proxy)

    def url(self, port: int) -> str:
        """Return its address on a port."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{name}:{port}"


def listen(door: Door) -> socket.socket:
    """Return the socket that the desk listens at, so that its port is known before it serves.

    Raises
    ------
    ResourceError
        When the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    try:
        return socket.create_server((door.host, door.port), family=family, backlog=128)
    except OSError as error:
        raise ResourceError(
            f"the desk cannot listen at {door.host}, port {door.port} ({error.strerror or error}); "
            "choose another --port"
        ) from None


def serve(desk: "Desk", door: Door, listener: socket.socket) -> None:
    """Serve the desk until it is told to end, by Ctrl-C or SIGTERM."""
    import uvicorn

    from pipeline.review.web.app import make_app

    hosts = OF_THIS_MACHINE if door.is_local and not door.proxy else ()
    settings: dict[str, Any] = {"log_level": "warning", "server_header": False, "access_log": False}
    settings |= {"proxy_headers": bool(door.proxy), "forwarded_allow_ips": door.proxy or None}
    if door.certificate and door.key:
        settings |= {"ssl_certfile": str(door.certificate), "ssl_keyfile": str(door.key)}
    config = uvicorn.Config(make_app(desk, hosts=hosts, is_secure=door.is_secure), **settings)
    uvicorn.Server(config).run(sockets=[listener])
