"""What of an error leaves a site: a number."""

import errno

import pytest

from fedliver.errors import Cancelled, FedLiverError
from fedliver.site.codes import ErrorCode, code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cancelled("training"), ErrorCode.STOPPED),
        (MemoryError(), ErrorCode.OUT_OF_MEMORY),
        (FedLiverError("disk-full", "The disk is full."), ErrorCode.DISK_FULL),
        (OSError(errno.ENOSPC, "No space left on device"), ErrorCode.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ErrorCode.DISK_FULL),
        (OSError(errno.EIO, "Input/output error"), ErrorCode.UNEXPECTED),
        (FedLiverError("no-such-code", "Whatever."), ErrorCode.UNEXPECTED),
        (RuntimeError("patient 7"), ErrorCode.UNEXPECTED),
    ],
)
def test_an_error_becomes_the_code_of_its_cause(error: BaseException, code: ErrorCode) -> None:
    assert code_of(error) is code
