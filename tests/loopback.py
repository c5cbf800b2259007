"""An HTTP server on loopback whose every answer a test decides, bad manners included."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    moment: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer. `how`: whole; `cut` after half of the body; `reset` before any; or `stall`."""

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    how: Literal["whole", "cut", "reset", "stall"] = "whole"

    def data(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class Loopback(ThreadingHTTPServer):
    """Answers by a function; keeps what was asked."""

    daemon_threads = True
    request_queue_size = 64  # clients that read in many threads connect at once

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.released = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def handle_error(self, *_: object) -> None:
        pass  # a client that hangs up on a stalled answer is what such a test is about


class _Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(
            self.command, parts.path, query, dict(self.headers.items()), body, time.monotonic()
        )
        self.server.asked.append(asked)
        reply = self.server.answer(asked)
        self.close_connection = reply.how != "whole"
        if reply.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if reply.how == "stall":
            self.server.released.wait(20)
            return
        data = reply.data()
        self.send_response(reply.status)
        for name, text in reply.headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if reply.how == "cut" else data)

    do_GET = do_POST = do_HEAD = _handle  # noqa: N815  (the names the library calls)


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Loopback]:
    """Run a server that answers by a function."""
    server = Loopback(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
