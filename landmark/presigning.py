"""S3 presigned URLs (AWS Signature Version 4), so that one HTTP reader serves S3 stores as well.

Only GET of one object, unsigned payload. The rule is AWS's "Authenticating Requests: Using Query
Parameters"; the test holds the worked example of that page.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from urllib.parse import quote, urlsplit


def presigned(
    url: str,
    *,
    access_key: str,
    secret_key: str,
    region: str,
    moment: dt.datetime,
    seconds: int,
) -> str:
    """Return an object's URL with a signature in its query.

    Args:
        url: The object, its path percent-encoded, without a query.
        access_key: Key id.
        secret_key: Key; it does not enter the URL.
        region: Region of the store.
        moment: When the signature starts to hold, UTC.
        seconds: How long it holds.
    """
    parts = urlsplit(url)
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(fields.items()))
    request = "\n".join(
        ["GET", parts.path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"]
    )
    text = "\n".join(
        ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()]
    )
    key = f"AWS4{secret_key}".encode()
    for part in (stamp[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{url}?{query}&X-Amz-Signature={signature}"
