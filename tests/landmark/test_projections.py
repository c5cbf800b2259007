import threading

import pytest

from landmark.projections import is_geographic, same_crs, transformer


def test_x_comes_first():
    lon, lat = transformer(32632, "OGC:CRS84").transform(500_000, 5_200_000)
    assert lon == pytest.approx(9)
    assert lat == pytest.approx(46.95, abs=0.01)
    assert transformer(32632, 4326).transform(500_000, 5_200_000) == pytest.approx((lon, lat))


def test_each_thread_has_its_own():
    mine = transformer(32632, 32633)
    assert transformer(32632, 32633) is mine
    others = []
    thread = threading.Thread(target=lambda: others.append(transformer(32632, 32633)))
    thread.start()
    thread.join()
    assert others[0] is not mine


def test_only_so_many_are_kept():
    first = transformer(32601, 4326)
    for zone in range(2, 61):
        transformer(32600 + zone, 4326)
    for zone in range(1, 11):
        transformer(32700 + zone, 4326)
    assert transformer(32601, 4326) is not first


def test_what_a_crs_is():
    assert same_crs(4326, "OGC:CRS84")
    assert not same_crs(32632, 32633)
    assert is_geographic(4326)
    assert not is_geographic(3035)
