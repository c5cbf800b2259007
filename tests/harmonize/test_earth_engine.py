import datetime as dt
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmonize import earth_engine
from harmonize.kinds import KINDS
from landmark.dataset import Dataset
from landmark.grid import utm_frame

DAY = dt.datetime(2021, 7, 3, 10, 10, tzinfo=dt.UTC)


@pytest.fixture
def planned(tmp_path):
    dataset = Dataset(tmp_path / "data")
    dataset.root.mkdir()
    frames = [utm_frame(32632, *cell) for cell in ((400, 4000), (404, 4004), (405, 4000))]
    frames.append(utm_frame(32733, 400, 4000))
    rows = [
        {"epsg": f.epsg, "x_min": f.x_min, "y_max": f.y_max, "datetime": DAY, "status": "keep"}
        for f in frames
    ]
    rows.append({**rows[0], "datetime": DAY + dt.timedelta(days=3), "status": "cloud"})
    pq.write_table(pa.Table.from_pylist(rows), dataset.plan)
    return dataset, frames


def test_squares_cover_every_patch_once(planned):
    dataset, frames = planned
    requests = earth_engine.plan_requests(dataset)
    assert len(set(requests)) == len(requests)
    for frame in frames:
        covering = [
            r
            for r in requests
            if r.epsg == frame.epsg
            and r.x_min <= frame.x_min < r.x_min + r.side
            and r.y_max - r.side < frame.y_max <= r.y_max
        ]
        assert covering
    # The first two cells share a square.
    assert [r.epsg for r in requests] == [32632, 32632, 32733]
    for request in requests:
        grid = request.grid()
        assert grid["dimensions"] == {"width": 600, "height": 600}
        assert grid["affineTransform"]["translateX"] % 10 == 0
        assert KINDS["dynamic-world"].date(request.name).start == DAY.date()
        assert 600 * 600 * len(earth_engine.BANDS) * 4 < 48e6


def test_listing_and_what_is_missing(planned, capsys, monkeypatch, tmp_path):
    dataset, _ = planned
    folder = str(tmp_path / "out")
    arguments = [str(dataset.root), folder, "--project", "p"]
    assert earth_engine.main([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("dw_20210703_32632_")
    monkeypatch.setitem(sys.modules, "ee", None)
    assert earth_engine.main(arguments) == 2
    assert "pip install 'landmark[earth-engine]'" in capsys.readouterr().err
    assert earth_engine.main([str(tmp_path / "none"), *arguments[1:]]) == 2
