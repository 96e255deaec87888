"""The Prefect server that a command starts for itself where none is configured; it ends with the command.

Prefect would start one, too, but only when the flow does, and that one stays behind when the command is killed.
"""

import atexit
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from typing import IO

from pipeline.errors import ResourceError

# A busy machine gives a start little of its processors, and a first one needs 20 s of them: only one that does
# nothing has come to its end.
IDLE_SECONDS = 30.0
PROGRESS = 0.2
ADVICE = (
    "start a server with `prefect server start --host 127.0.0.1` and set PREFECT_API_URL=http://127.0.0.1:4200/api, or "
    "set prefect = false in assay.toml to run without one"
)


class PrivateServer:
    """A Prefect server on a free port of 127.0.0.1, in a process that ends when this one does.

    The port is open before the server answers: who asks early waits.

    Attributes
    ----------
    url : str
        Of its API.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read as long as the process runs
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={
                    **os.environ,
                    "PREFECT_UI_ENABLED": "0",
                    "PREFECT__SERVER_EPHEMERAL": "1",
                    "PREFECT__SERVER_FINAL": "1",
                },
                start_new_session=True,  # Ctrl-C is the command's; its last words to the server shall be heard
            )
        atexit.register(self.end)

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ResourceError
            When it has ended, or has done nothing for 30 seconds.
        """
        busy, last = 0.0, time.monotonic()
        while not _answers(f"{self.url}/health"):
            if self._process.poll() is not None:
                raise ResourceError(f"Prefect's private server ended at its start ({self._last_line()}); {ADVICE}")
            if (seconds := self._processor_seconds(busy)) > busy + PROGRESS:
                busy, last = seconds, time.monotonic()
            if time.monotonic() - last > IDLE_SECONDS:
                raise ResourceError(
                    f"Prefect's private server does not answer, and did nothing for {IDLE_SECONDS:g} seconds; {ADVICE}"
                )

    def end(self) -> None:
        """End it, in a few seconds at most."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _processor_seconds(self, before: float) -> float:
        """Return how much of a processor it has used, as it said last."""
        assert self._process.stdout is not None
        lines = b""
        while select.select([self._process.stdout], [], [], 0)[0] and (
            read := os.read(self._process.stdout.fileno(), 4096)
        ):
            lines += read
        return float(lines.split()[-1]) if lines.endswith(b"\n") else before

    def _last_line(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"status {self._process.returncode}")


def start_server() -> PrivateServer | None:
    """Start a server for this process's flows, unless one is configured, in whichever way Prefect knows.

    Raises
    ------
    ResourceError
        When none is configured, and Prefect is told to start none.
    """
    from prefect import context
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url:
        return None
    if not settings.server.ephemeral.enabled:
        raise ResourceError(f"no Prefect server is configured, and Prefect is told to start none of its own; {ADVICE}")
    server = PrivateServer()
    os.environ["PREFECT_API_URL"] = server.url
    context.refresh_global_settings_context()
    return server


def _answers(url: str) -> bool:
    """Return whether a server answers within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - http, and our own
            return True
    except OSError:
        time.sleep(0.02)
        return False


def _end_with(parent: IO[bytes]) -> None:
    """Say each second how much of a processor this process has used, and end it when the parent is no longer there."""
    while not select.select([parent], [], [], 1.0)[0]:
        with suppress(OSError):
            os.write(1, f"{time.process_time():.2f}\n".encode())
    os._exit(0)


def _serve(descriptor: int) -> None:
    threading.Thread(target=_end_with, args=[sys.stdin.buffer], daemon=True).start()
    import uvicorn

    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, fd=descriptor, log_level="error", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
