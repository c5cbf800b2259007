"""A file server with byte ranges, a fixed latency per response and a count of what it sent.

Runs as a process of its own, so that its CPU time is nobody's. `GET /_reset` answers the requests
and body bytes since the last one as JSON. Binds to the loopback device only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Counts:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests = 0
        self.bytes = 0

    def add(self, size: int) -> None:
        with self.lock:
            self.requests += 1
            self.bytes += size

    def reset(self) -> dict[str, int]:
        with self.lock:
            counts = {"requests": self.requests, "bytes": self.bytes}
            self.requests = self.bytes = 0
            return counts


def serve(folder: Path, latency_s: float) -> None:
    """Serve until the process is ended; print the port first."""
    counts = _Counts()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._file(body=False)

        def do_GET(self) -> None:
            if self.path == "/_reset":
                self._send(200, json.dumps(counts.reset()).encode())
            else:
                with contextlib.suppress(ConnectionError):
                    self._file(body=True)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, *, body: bool) -> None:
            time.sleep(latency_s)
            # Any folder name is taken for the one folder: clients then know no URL beforehand.
            path = folder / Path(self.path.partition("?")[0]).name
            if not path.is_file():
                counts.add(0)
                self._send(404, b"")
                return
            size = path.stat().st_size
            start, stop, text = 0, size, self.headers.get("Range")
            if text:
                first, last = text.removeprefix("bytes=").split("-")
                start, stop = int(first), min(size, int(last or size - 1) + 1)
            self.send_response(206 if text else 200)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            if text:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            counts.add(stop - start if body else 0)
            if body:
                self.wfile.flush()
                with path.open("rb") as file:
                    while start < stop:
                        start += os.sendfile(
                            self.connection.fileno(), file.fileno(), start, stop - start
                        )

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


class RangeServer:
    """The server as its clients see it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self) -> dict[str, int]:
        """Return requests and bytes since the last call."""
        with urllib.request.urlopen(f"{self.url}/_reset") as answer:
            counts: dict[str, int] = json.load(answer)
            return counts


@contextlib.contextmanager
def running(folder: Path, latency_s: float) -> Iterator[RangeServer]:
    """Start the server in a process of its own; stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), "--latency", str(latency_s)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield RangeServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    chosen = parser.parse_args()
    serve(chosen.folder.resolve(), chosen.latency)
