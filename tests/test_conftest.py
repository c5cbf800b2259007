from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_socket

from tests import conftest


def test_other_hosts_are_blocked_and_loopback_is_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=5):
            pass
    with (
        pytest.warns(UserWarning, match="192.0.2.1"),
        pytest.raises(pytest_socket.SocketConnectBlockedError),
    ):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_a_missing_tool_skips_by_default_and_fails_where_required(
    monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str, str], Path]
) -> None:
    monkeypatch.delenv("LANDMARK_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-package"):
        require_tool("no-such-program", "no-package")
    monkeypatch.setenv("LANDMARK_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install no-package"):
        require_tool("no-such-program", "no-package")
    assert require_tool("sh", "dash").name == "sh"


@pytest.mark.parametrize("value", ["", "/nowhere/at/all"])
def test_missing_data_skips_by_default_and_fails_where_required(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    fixture = conftest.shared_data.__wrapped__  # type: ignore[attr-defined]
    monkeypatch.setenv("LANDMARK_TEST_DATA", value)
    monkeypatch.delenv("LANDMARK_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="LANDMARK_TEST_DATA"):
        fixture()
    monkeypatch.setenv("LANDMARK_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="LANDMARK_TEST_DATA"):
        fixture()
