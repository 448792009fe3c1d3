"""Why a site gave no update: fixed numbers, the only thing about an error that ever leaves the site. Standard library only."""

import errno
from enum import IntEnum

from fedliver.errors import Cancelled, FedLiverError


class ErrorCode(IntEnum):
    """What a ClientApp answers in place of an update."""

    NONE = 0
    STOPPED = 1
    NO_CASES = 2
    OTHER_CONTRACT = 3
    BAD_WEIGHTS = 4
    OUT_OF_MEMORY = 5
    DISK_FULL = 6
    DIVERGED = 7
    BAD_CONFIGURATION = 8
    CASES_UNREADABLE = 9
    APP_NOT_ALLOWED = 10
    TOO_FEW_CASES = 11
    BUDGET_SPENT = 12
    NOT_AGREED = 13
    RULES_UNREADABLE = 14
    LEDGER_DAMAGED = 15
    MODEL_MISSING = 16
    MASKING_REQUIRED = 17
    SUM_REFUSED = 18
    SUM_OUT_OF_ORDER = 19
    SHARES_UNREADABLE = 20
    UNEXPECTED = 99


_SENTENCES = {
    ErrorCode.NONE: "no error",
    ErrorCode.STOPPED: "stopped by the site",
    ErrorCode.NO_CASES: "no approved case to train on",
    ErrorCode.OTHER_CONTRACT: "the coordinator asked for another network than the one this site agreed to",
    ErrorCode.BAD_WEIGHTS: "the weights that arrived do not fit the network",
    ErrorCode.OUT_OF_MEMORY: "not enough memory for training",
    ErrorCode.DISK_FULL: "the site's disk is full or cannot be written to",
    ErrorCode.DIVERGED: "training diverged (its loss or weights are not finite)",
    ErrorCode.BAD_CONFIGURATION: "the coordinator's instructions could not be read",
    ErrorCode.CASES_UNREADABLE: "an approved case could not be read",
    ErrorCode.APP_NOT_ALLOWED: "the coordinator sent an app that this site did not agree to run",
    ErrorCode.TOO_FEW_CASES: "cases of fewer patients than the site's rules ask for before an update may leave",
    ErrorCode.BUDGET_SPENT: "the site's privacy budget is spent",
    ErrorCode.NOT_AGREED: "the site's egress filter stopped an answer that was not what had been agreed",
    ErrorCode.RULES_UNREADABLE: "the site's egress rules cannot be followed, so nothing leaves",
    ErrorCode.LEDGER_DAMAGED: "the site's ledger is damaged or held, so nothing leaves",
    ErrorCode.MODEL_MISSING: "the model that the coordinator's message builds on is not here; the coordinator sends the whole model then",
    ErrorCode.MASKING_REQUIRED: "the site's rules let an update leave only masked, and the coordinator asked for one in the open",
    ErrorCode.SUM_REFUSED: "the masked sum was not one that the site can agree to: too few sites, a site twice, unknown or unsigned keys",
    ErrorCode.SUM_OUT_OF_ORDER: "a step of a masked sum came twice, too early, too late or for another round",
    ErrorCode.SHARES_UNREADABLE: "what another site sent it for the masked sum could not be read",
    ErrorCode.UNEXPECTED: "an unexpected error; the site's own log says which kind",
}


def sentence_of(code: int) -> str:
    """A code in words. An unknown code is unexpected."""
    try:
        return _SENTENCES[ErrorCode(code)]
    except ValueError:
        return _SENTENCES[ErrorCode.UNEXPECTED]


def code_of(error: BaseException) -> ErrorCode:
    """The code for an exception. Its text is not looked at and goes nowhere."""
    if isinstance(error, Cancelled):
        return ErrorCode.STOPPED
    if isinstance(error, MemoryError):
        return ErrorCode.OUT_OF_MEMORY
    if isinstance(error, FedLiverError):
        return _OF_OURS.get(error.code, ErrorCode.UNEXPECTED)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ErrorCode.DISK_FULL
    return ErrorCode.UNEXPECTED


_OF_OURS = {
    "no-approved-case": ErrorCode.NO_CASES,
    "other-contract": ErrorCode.OTHER_CONTRACT,
    "weights-do-not-fit": ErrorCode.BAD_WEIGHTS,
    "out-of-memory": ErrorCode.OUT_OF_MEMORY,
    "disk-full": ErrorCode.DISK_FULL,
    "not-writable": ErrorCode.DISK_FULL,
    "training-diverged": ErrorCode.DIVERGED,
    "bad-configuration": ErrorCode.BAD_CONFIGURATION,
    "case-damaged": ErrorCode.CASES_UNREADABLE,
    "newer-store": ErrorCode.CASES_UNREADABLE,
    "too-few-cases": ErrorCode.TOO_FEW_CASES,
    "budget-spent": ErrorCode.BUDGET_SPENT,
    "not-agreed": ErrorCode.NOT_AGREED,
    "rules-unreadable": ErrorCode.RULES_UNREADABLE,
    "no-accountant": ErrorCode.RULES_UNREADABLE,
    "ledger-damaged": ErrorCode.LEDGER_DAMAGED,
    "ledger-busy": ErrorCode.LEDGER_DAMAGED,
    "model-missing": ErrorCode.MODEL_MISSING,
    "masking-required": ErrorCode.MASKING_REQUIRED,
    "sum-refused": ErrorCode.SUM_REFUSED,
    "sum-out-of-order": ErrorCode.SUM_OUT_OF_ORDER,
    "shares-unreadable": ErrorCode.SHARES_UNREADABLE,
}
