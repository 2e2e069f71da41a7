"""What HTTP says of whether, and when, to try again."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 501 and 505 are about the request, 507 about a disk that is full, 511 about a login to the network.
_LASTING_SERVER_ERRORS = (501, 505, 507, 508, 511)
_TEMPORARY_CLIENT_ERRORS = (408, 425, 429)
# Of a Retry-After: more digits are more than a lifetime all the same.
_LONGEST_SECONDS = 12
_LONGEST_DATE = 64


def is_temporary_status(status: int) -> bool:
    """Whether the same request may succeed later (RFC 9110 section 15, RFC 6585)."""
    return status in _TEMPORARY_CLIENT_ERRORS or (500 <= status < 600 and status not in _LASTING_SERVER_ERRORS)


def retry_after_seconds(header: str, now: float) -> float:
    """What a Retry-After header asks for, in seconds or as a date (RFC 9110 section 10.2.3); 0 where it says nothing.

    `now` is in seconds since 1970.
    """
    text = header.strip()
    # Of `str.isdigit` also ² is a digit, and of `float` none.
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_SECONDS])
    return max(0.0, (read_date(text) or 0.0) - now)


def read_date(header: str) -> float | None:
    """A date as HTTP has them (RFC 9110 section 5.6.7), in seconds since 1970; None for what is none."""
    try:
        moment = parsedate_to_datetime(header.strip()[:_LONGEST_DATE])
        # A date that says "-0000" for its zone parses without one; HTTP dates are always in UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    # The parser's own are ValueErrors in its documentation, and others for years and zones that there cannot be.
    except (ValueError, ArithmeticError, TypeError, LookupError, AttributeError):
        return None


def now_utc() -> float:
    """Seconds since 1970."""
    return datetime.now(UTC).timestamp()
