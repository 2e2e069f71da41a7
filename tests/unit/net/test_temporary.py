"""Which answers may pass, and how long they ask to wait."""

from email.utils import formatdate

import pytest

from builder.net.temporary import is_temporary_status, read_date, retry_after_seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_temporary(status: int) -> None:
    assert is_temporary_status(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 405, 413, 501, 505, 507, 511])
def test_lasting(status: int) -> None:
    assert not is_temporary_status(status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("soon", 0),
        (formatdate(1_000_090, usegmt=True), 90),
        (formatdate(1_000_090), 90),
        (formatdate(999_000, usegmt=True), 0),
    ],
)
def test_reads_retry_after(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, now=1_000_000) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:01:00 -0000", 60.0),
        ("soon", None),
        ("", None),
        ("Thu, 99 Jan 1970 00:01:00 GMT", None),
    ],
)
def test_a_date_is_read_or_is_none(header: str, seconds: float | None) -> None:
    assert read_date(header) == seconds
