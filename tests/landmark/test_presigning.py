"""Presigned URLs are those of AWS's own worked example."""

from __future__ import annotations

import datetime as dt

from landmark.presigning import presigned


def test_the_worked_example_of_the_documentation() -> None:
    """ "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    url = presigned(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        moment=dt.datetime(2013, 5, 24, tzinfo=dt.UTC),
        seconds=86400,
    )
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
