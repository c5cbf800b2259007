"""A real STAC API on loopback: PostgreSQL + PostGIS + pgstac behind stac-fastapi.

The server's packages clash with landmark's, so they live in an environment of their own, which
`make servers` creates from requirements-servers.txt (`LANDMARK_SERVER_VENV` names another one).
PostgreSQL refuses to run as root; it then runs as the user `postgres`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 50
"""
#: Without these, pgstac compares and sorts numbers as text.
_QUERYABLES = {
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://example.invalid/queryables",
    "type": "object",
    "properties": {"eo:cloud_cover": {"type": "number"}},
}


class ServerError(Exception):
    """A server is not installed or did not start; the message says what to do."""


@dataclass(frozen=True)
class PgStac:
    """A running STAC API.

    Attributes:
        url: Its landing page.
        log: What the server wrote.
    """

    url: str
    log: Path


def server_venv() -> Path:
    """Return the environment of the server's packages (it may not exist yet)."""
    named = os.environ.get("LANDMARK_SERVER_VENV")
    return Path(named) if named else Path(__file__).parents[2] / ".venv-servers"


def missing() -> str | None:
    """Return what is lacking for a server, or None if all is there."""
    binaries = _postgres_binaries()
    if binaries is None:
        return "needs PostgreSQL: apt-get install postgresql postgresql-15-postgis-3"
    if not list(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        return "needs PostGIS: apt-get install postgresql-15-postgis-3"
    if not (server_venv() / "bin" / "pypgstac").is_file():
        return "needs the packages of the STAC server: make servers"
    return None


@contextlib.contextmanager
def running_pgstac(
    collections: Sequence[dict[str, Any]], items: Sequence[dict[str, Any]]
) -> Iterator[PgStac]:
    """Run a STAC API that holds some collections and items; all is gone afterwards.

    Raises:
        ServerError: Something is not installed, or a server does not start.
    """
    lack = missing()
    if lack is not None:
        raise ServerError(lack)
    folder = Path(tempfile.mkdtemp(prefix="landmark-pgstac-", dir="/tmp"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        folder.chmod(0o755)
        with _postgres(folder) as environment:
            _load(folder, environment, collections, items)
            with _api(folder, environment) as server:
                yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[dict[str, str]]:
    binaries = _postgres_binaries()
    assert binaries is not None
    data, log = folder / "data", folder / "postgres.log"
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    _as_postgres([str(binaries / "initdb"), "-D", str(data), *options])
    port = free_port()
    with (data / "postgresql.conf").open("a") as stream:
        stream.write(_SETTINGS.format(port=port, folder=folder))
    control = [str(binaries / "pg_ctl"), "-D", str(data)]
    _as_postgres([*control, "-l", str(log), "-w", "start"])
    try:
        environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "postgres",
            "PGDATABASE": "postgis",
            "PGPASSWORD": "unused",
            "PATH": f"{binaries}:{os.environ['PATH']}",
        }
        _run([str(binaries / "createdb"), "postgis"], environment)
        yield environment
    finally:
        _as_postgres([*control, "-m", "fast", "-w", "stop"])


def _load(
    folder: Path,
    environment: dict[str, str],
    collections: Sequence[dict[str, Any]],
    items: Sequence[dict[str, Any]],
) -> None:
    """Fill the database, in one process: starting Python is most of each pypgstac call."""
    content = tempfile.mkdtemp(prefix="landmark-pgstac-load-", dir="/tmp")
    try:
        for name, values in [("collections", collections), ("items", items)]:
            lines = "".join(json.dumps(value) + "\n" for value in values)
            (Path(content) / f"{name}.ndjson").write_text(lines)
        (Path(content) / "queryables.json").write_text(json.dumps(_QUERYABLES))
        script = (
            "import sys\n"
            "from pypgstac.pypgstac import PgstacCLI\n"
            "cli = PgstacCLI()\n"
            "cli.migrate()\n"
            "cli.load('collections', sys.argv[1] + '/collections.ndjson', method='upsert')\n"
            "cli.load('items', sys.argv[1] + '/items.ndjson', method='upsert')\n"
            "cli.load_queryables(sys.argv[1] + '/queryables.json')\n"
        )
        python = str(server_venv() / "bin" / "python")
        _run([python, "-c", script, content], environment)
    finally:
        shutil.rmtree(content, ignore_errors=True)


@contextlib.contextmanager
def _api(folder: Path, environment: dict[str, str]) -> Iterator[PgStac]:
    port = free_port()
    log = folder / "api.log"
    command = [
        str(server_venv() / "bin" / "uvicorn"), "stac_fastapi.pgstac.app:create_app", "--factory",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=stream, stderr=stream, cwd="/"
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(f"{url}/_mgmt/ping", process, log)
            yield PgStac(url, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the STAC API ended: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise ServerError(f"the STAC API does not answer: {log.read_text()[-2000:]}")


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _as_postgres(command: list[str]) -> None:
    """Run a command as the user `postgres` where we are root, else as ourselves."""
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        check=False,
        **identity,
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-2000:]}")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
