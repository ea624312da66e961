"""What can go wrong while weights are fetched, each with what to do."""

from __future__ import annotations

from byom.errors import ByomError, NotFound, UpstreamError


class FetchError(UpstreamError):
    """The other side failed; what was fetched stays, and the next try goes on from there."""

    code = "fetch_failed"


class FetchNotFound(NotFound):
    code = "weights_not_found"


class FetchDenied(UpstreamError):
    """The weights need a token, or their terms accepted."""

    code = "fetch_denied"
    retryable = False


class ChecksumMismatch(UpstreamError):
    """What came is not what was promised; it has been deleted."""

    code = "checksum_mismatch"
    retryable = False


class DiskFull(ByomError):
    """There is not enough room; what was fetched stays, and the next try goes on from there."""

    status = 507
    code = "disk_full"
