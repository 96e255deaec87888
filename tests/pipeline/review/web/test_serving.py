"""pipeline/review/web/serving.py: where the desk listens."""

import socket
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ResourceError
from pipeline.review.web.serving import Door, listen


@pytest.mark.parametrize("host", ["10.0.0.9", "192.168.1.4", "::", "desk.example"])
def test_another_address_is_refused_unless_nobody_can_listen_in(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="passwords would go there in clear; give --tls-certificate"):
        Door(host)
    file = tmp_path / "pem"
    file.write_text("")
    assert Door(host, certificate=file, key=file).is_secure
    assert Door(host, proxy="10.0.0.5").is_secure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_tls(host: str) -> None:
    assert Door(host).is_local
    assert not Door(host).is_secure


def test_half_of_what_tls_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give both"):
        Door(certificate=tmp_path / "pem")
    with pytest.raises(ConfigError, match="does not exist"):
        Door(certificate=tmp_path / "pem", key=tmp_path / "pem")


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ResourceError, match=f"port {port} .*choose another --port"):
            listen(Door(port=port))


def test_the_address_is_told_with_its_port() -> None:
    assert Door("::1").url(80) == "http://[::1]:80"
    assert Door(certificate=Path(__file__), key=Path(__file__)).url(8765) == "https://127.0.0.1:8765"
