"""nginx on loopback: image files that only a token opens, and a log of every request."""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import find_tool
from tests.integration.servers import ServerError, free_port

_CONF = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    log_format told '$request_method $uri $status $body_bytes_sent "$http_range" "$arg_sig"';
    access_log {folder}/access.log told;
    sendfile on;
    keepalive_requests 100000;
    types {{ image/tiff tif; }}
    server {{
        listen 127.0.0.1:{port};
        location = /ping {{ return 204; }}
        location /cogs/ {{
            if ($arg_sig != "{token}") {{ return 403; }}
            alias {files}/;
            add_header Accept-Ranges bytes;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx.

    Attributes:
        url: Where the files lie, without a slash at the end: `http://127.0.0.1:PORT/cogs`.
        host: Its host and port.
        log: One line a request: method, path, status, bytes, range, token.
    """

    url: str
    host: str
    log: Path

    def requests(self) -> list[list[str]]:
        return [line.split(" ", 4) for line in self.log.read_text().splitlines()]


@contextlib.contextmanager
def running_nginx(folder: Path, files: Path, token: str) -> Iterator[Nginx]:
    """Serve a folder's files under `/cogs/` to requests with `?sig=TOKEN`.

    Raises:
        ServerError: nginx does not start.
    """
    program = find_tool("nginx", "nginx-light")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, files=files, port=port, token=token))
    log = folder / "start.log"
    with log.open("wb") as stream:
        command = [str(program), "-p", str(folder), "-c", str(conf)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            _wait(f"http://127.0.0.1:{port}/ping", process, log)
            yield Nginx(f"http://127.0.0.1:{port}/cogs", f"127.0.0.1:{port}", folder / "access.log")
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise ServerError(f"nginx does not answer: {log.read_text()[-2000:]}")
