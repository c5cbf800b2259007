"""The two candidates for reading ranges over HTTP: urllib3 in threads (ours) and obstore.

The same ranges of one file, 16 under way at once, from a loopback server that waits 50 ms before
each response; the bytes are compared. Needs obstore (extra `bench`).
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.range_server import running
from benchmarks.recording import (
    Report,
    Row,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from landmark.cog.client import Address, HttpClient
from landmark.cog.faults import Patience

FILE_BYTES = 256 << 20
CASES = {"large": (2 << 20, 48), "small": (150_000, 200)}
THREADS = 16


def main() -> None:
    import obstore
    from obstore.store import HTTPStore

    options = parse_options(__doc__, runs=5)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = np.random.default_rng(0).bytes(FILE_BYTES)
        (Path(folder) / "file").write_bytes(data)
        with running(Path(folder), 0.05) as server:
            client = HttpClient()
            store = HTTPStore.from_url(
                server.url,
                client_options={"allow_http": True, "timeout": timedelta(seconds=30)},
            )
            for case, (size, count) in CASES.items():
                count = count // 4 if options.quick else count
                starts = np.random.default_rng(1).integers(0, FILE_BYTES - size, count).tolist()

                def ours(starts: list[int] = starts, size: int = size) -> float:
                    address, patience = Address(f"{server.url}/file"), Patience()

                    def read(start: int) -> bool:
                        part = client.get(address, start, start + size, patience).data
                        return part[:64] == data[start : start + 64] and len(part) == size

                    with ThreadPoolExecutor(THREADS) as pool:
                        assert all(pool.map(read, starts))
                    return len(starts)

                def theirs(starts: list[int] = starts, size: int = size) -> float:
                    def read(start: int) -> bool:
                        part = bytes(obstore.get_range(store, "file", start=start, length=size))
                        return part[:64] == data[start : start + 64] and len(part) == size

                    with ThreadPoolExecutor(THREADS) as pool:
                        assert all(pool.map(read, starts))
                    return len(starts)

                measured = interleaved(
                    {"ours": timed(ours), "obstore": timed(theirs)}, runs=options.runs
                )
                versions = package_versions("urllib3", "obstore")
                rows += compare(
                    "http_client", case, measured, "requests_per_s",
                    lambda one: one.per_s, versions=versions,
                )  # fmt: skip
                rows += compare(
                    "http_client", case, measured, "requests_per_cpu_s",
                    lambda one: one.per_cpu_s, versions=versions,
                )  # fmt: skip
    write_results(
        Report(
            "http_client",
            "Reading ranges over HTTP: urllib3 and obstore",
            rows,
            text=(
                "Ranges of 2 MiB (`large`) and 150 kB (`small`, about one COG block) of one file, "
                f"{THREADS} at once, 50 ms of latency, bytes compared."
            ),
            not_measured=("TLS", "real networks", "obstore's asynchronous interface"),
        ),
        options,
    )


if __name__ == "__main__":
    main()
