"""An HTTP server on loopback that serves files by ranges and misbehaves on order."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: A fault that goes on for ever.
ALWAYS = 10**9


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    moment: float
    path: str
    start: int
    stop: int
    answer: str
    token: str


@dataclass
class FaultServer:
    """What is served, and which requests fail.

    Attributes:
        folder: Files to serve.
        fault: `429`, `500`, `503`, `403` (statuses); `close`, `reset`, `truncate`, `corrupt`,
            `clip`, `stall`, `drip`, `slow`, `whole` (see `_answer`); or "" for none.
        at: `header` (a range from byte 0), `block` (any other), or `any`.
        times: How many matching requests fail.
        retry_after: Header sent with 429 and 503, or "".
        corrupt_at: Byte of the answer that `corrupt` changes; None: the middle.
        tokens: Tokens that are accepted; None: no token needed.
        log: All requests for files.
    """

    folder: Path
    fault: str = ""
    at: str = "any"
    times: int = 0
    retry_after: str = ""
    corrupt_at: int | None = None
    latency_s: float = 0.0
    tokens: set[str] | None = None
    issued: int = 0
    token_life: int | None = None
    log: list[Request] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, fault: str, at: str = "any", times: int = 1, **changes: Any) -> None:
        self.fault, self.at, self.times = fault, at, times
        for name, value in changes.items():
            setattr(self, name, value)

    def blocks(self) -> list[Request]:
        return [request for request in self.log if request.start > 0]

    def take_fault(self, start: int) -> str:
        with self.lock:
            matches = self.at == "any" or (self.at == "header") == (start == 0)
            if not (self.fault and matches and self.times > 0):
                return ""
            self.times -= 1
            return self.fault

    def issue_token(self) -> str:
        with self.lock:
            self.issued += 1
            token = f"sig=secret{self.issued}"
            assert self.tokens is not None
            self.tokens.add(token)
            return token

    def spend_token(self, token: str) -> bool:
        """Return whether a token is accepted; the first one dies after `token_life` blocks."""
        if self.tokens is None:
            return True
        with self.lock:
            if token not in self.tokens:
                return False
            if self.token_life is not None and self.issued == 1:
                self.token_life -= 1
                if self.token_life < 0:
                    self.tokens.discard(token)
                    return False
            return True


def _handler(server: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.startswith("/token/"):
                document = {"token": server.issue_token(), "msft:expiry": "2100-01-01T00:00:00Z"}
                self.status(200, body=json.dumps(document).encode())
                return
            with contextlib.suppress(ConnectionError):
                self.answer(body=True)

        def status(self, code: int, body: bytes = b"refused", **headers: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def answer(self, *, body: bool) -> None:
            parts = urlsplit(self.path)
            token = "&".join(f"{k}={v[0]}" for k, v in parse_qs(parts.query).items())
            path = server.folder / parts.path.lstrip("/")
            data = path.read_bytes() if path.is_file() else b""
            start, stop = self.range(len(data))
            fault = server.take_fault(start) if body else ""
            if path.is_file() and not server.spend_token(token):
                fault = "403"
            name = fault or ("206" if path.is_file() else "404")
            request = Request(time.monotonic(), parts.path, start, stop, name, token)
            server.log.append(request)
            time.sleep(server.latency_s)
            if not path.is_file():
                self.status(404)
            elif fault.isdigit():
                again = {"Retry_After": server.retry_after} if server.retry_after else {}
                self.status(int(fault), **(again if fault in ("429", "503") else {}))
            elif fault == "close":
                self.reset()
            elif fault == "stall":
                time.sleep(1.5)
                self.close_connection = True
            elif start >= len(data):
                self.status(416, b"", Content_Range=f"bytes */{len(data)}")
            else:
                self.send_part(data, start, min(stop, len(data)), fault, body=body)

        def range(self, size: int) -> tuple[int, int]:
            text = self.headers.get("Range", "").removeprefix("bytes=")
            if not text:
                return 0, size
            first, last = text.split("-")
            return int(first), int(last) + 1

        def send_part(self, data: bytes, start: int, stop: int, fault: str, *, body: bool) -> None:
            if fault == "clip":  # a shorter range, consistently stated
                stop = start + max(1, (stop - start) // 2)
            ranged = "Range" in self.headers and fault != "whole"
            part = data[start:stop] if ranged else data
            if fault == "corrupt":
                place = len(part) // 2 if server.corrupt_at is None else server.corrupt_at
                part = part[:place] + bytes([part[place] ^ 0xFF]) + part[place + 1 :]
            self.send_response(206 if ranged else 200)
            self.send_header("Content-Length", str(len(part)))
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            self.end_headers()
            if not body:
                return
            if fault in ("truncate", "reset"):
                self.wfile.write(part[: len(part) // 2])
                if fault == "reset":
                    self.reset()
                self.close_connection = True
            elif fault == "slow":  # all of it, in pieces
                for piece in range(0, len(part), len(part) // 10 + 1):
                    self.wfile.write(part[piece : piece + len(part) // 10 + 1])
                    time.sleep(0.03)
            elif fault == "drip":  # a byte now and then: never silent, never done
                for piece in range(40):
                    self.wfile.write(part[piece : piece + 1])
                    time.sleep(0.05)
                self.close_connection = True
            else:
                self.wfile.write(part)

        def reset(self) -> None:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

    return Handler


@contextlib.contextmanager
def fault_server(folder: Path) -> Iterator[FaultServer]:
    """Serve a folder on a free port of the loopback device."""
    state = FaultServer(folder)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # clients that give up are part of the tests

    http = Server(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
