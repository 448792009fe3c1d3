"""The ledger of one site: every answer that left and every model that came in, one JSON line each, each line sealed with the hash of all before it.

``ledger.jsonl`` is only ever appended to. ``ledger.head`` beside it holds the number and hash of the last line, so that lines missing at the end are found.
Both are ordinary files of this site: whoever may write to them can write a whole new ledger. Against that, note the head that ``verify`` prints elsewhere
(on paper, in a mail) from time to time, and give it back to ``verify``.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.egress import cases_in_words
from fedliver.site.policy import Sha256

FILE_NAME = "ledger.jsonl"
HEAD_NAME = "ledger.head"
_FIRST = "0" * 64
_WAIT_SECONDS = 30.0


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    run: int = Field(ge=0)
    """Flower's number of the run."""
    round: int = Field(ge=0)


class ModelIn(_Line):
    """A global model that came in."""

    kind: Literal["model"] = "model"
    model: int = Field(ge=0)
    """The round that made it."""
    content: Sha256
    bytes: int = Field(ge=0)

    @property
    def sentence(self) -> str:
        return f"Round {self.round}: the model of round {self.model} came in, {self.bytes / 1e6:.1f} MB."


class UpdateOut(_Line):
    """An update that left: written down before it is handed over, so that none can leave unseen."""

    kind: Literal["update"] = "update"
    content: Sha256
    bytes: int = Field(ge=0)
    cases: int = Field(ge=0)
    unlabelled: int = Field(0, ge=0)
    patients: int = Field(ge=0)
    norm: float = Field(ge=0)
    """Of the update as training made it."""
    sent_norm: float = Field(ge=0)
    norm_bound: float = Field(gt=0)
    noise_multiplier: float = Field(ge=0)
    epsilon: float | None
    """Spent by all noised updates up to and with this one; None for an update without noise, for which nothing is promised."""
    loss: float | None
    dice: float | None
    dice_cases: int = Field(ge=0)
    seconds: float = Field(ge=0)
    masked_among: int = Field(0, ge=0)
    """So many sites masked their updates with each other's keys; 0 for an update that left in the open."""
    opened_by: int = Field(0, ge=0)
    """A masked sum of fewer sites than this stays closed."""

    @property
    def sentence(self) -> str:
        shortened = f", shortened from {self.norm:.3g}" if self.sent_norm < self.norm else ""
        promise = f"epsilon {self.epsilon:.3g} spent so far" if self.epsilon is not None else "no noise"
        told = "".join(
            [
                f", loss {self.loss:.4f}" if self.loss is not None else "",
                f", Dice {self.dice:.4f} over {self.dice_cases} held-out cases" if self.dice is not None else "",
            ]
        )
        if self.masked_among:
            hidden = f", masked: of the {self.masked_among} sites that took part the coordinator sees only a sum of {self.opened_by} or more"
            return (
                f"Round {self.round}: an update of {cases_in_words(self.cases, self.unlabelled)} left{hidden}; {self.bytes / 1e6:.1f} MB,"
                f" norm {self.sent_norm:.3g}{shortened}, {promise}; in the same sum{told or ', no loss and no Dice'}."
            )
        return (
            f"Round {self.round}: an update of {cases_in_words(self.cases, self.unlabelled)} left, {self.bytes / 1e6:.1f} MB,"
            f" norm {self.sent_norm:.3g}{shortened}, {promise}{told}, {self.seconds:.0f} s of training."
        )


class NumbersOut(_Line):
    """An answer without weights that left: a Dice after the last round, or an error number."""

    kind: Literal["numbers"] = "numbers"
    error: int = Field(ge=0)
    dice: float | None
    dice_cases: int = Field(ge=0)

    @property
    def sentence(self) -> str:
        from fedliver.site.codes import sentence_of

        if self.error:
            return f"Round {self.round}: no update left, only the error number {self.error} ({sentence_of(self.error)})."
        dice = f"Dice {self.dice:.4f} over {self.dice_cases} held-out cases" if self.dice is not None else "the word that the model arrived"
        return f"Round {self.round}: {dice} left; no weights."


class StepOut(_Line):
    """An answer to a step of a masked sum, other than the masked update itself."""

    kind: Literal["step"] = "step"
    step: Literal["keys", "share", "unreadable", "open"]
    sites: tuple[str, ...] = Field((), max_length=1000)
    """With ``share``: the fingerprints of the keys of all sites that the coordinator named. Compare them with those sites' people."""
    opened: int = Field(0, ge=0)
    """With ``open``: of how many sites the sum is."""

    @property
    def sentence(self) -> str:
        said = {
            "keys": "this site's keys for a masked sum left; no weights",
            "share": f"shares of this site's secrets left, sealed for {len(self.sites) - 1} other sites; no weights",
            "unreadable": "only the word left that other sites' sealed shares could not be read; no weights",
            "open": f"what opens the sum of {self.opened} sites left, and opens no single update; no weights",
        }
        return f"Round {self.round}: {said[self.step]}."


Line = ModelIn | UpdateOut | NumbersOut | StepOut
Entry = Annotated[Line, Field(discriminator="kind")]
_ENTRY: TypeAdapter[Line] = TypeAdapter(Entry)


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: int = Field(ge=0)
    seal: Sha256


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found: ``fault`` is empty, or says in one sentence what is wrong and where."""

    lines: int
    head: str
    fault: str

    @property
    def sentence(self) -> str:
        if self.fault:
            return f"The ledger is NOT as it was written: {self.fault}"
        count = f"{self.lines} line{'s' if self.lines != 1 else ''}"
        return f"The ledger is whole: {count}. Note this head elsewhere, and give it to verify one day: {self.head}" if self.lines else "The ledger is empty."


class Ledger:
    """Parameters
    ----------
    folder:
        Where the ledger's two files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._head_path = folder / HEAD_NAME

    def append(self, entry: Line) -> None:
        """Add one line; it is on the disk when this returns.

        A line that a crash left half-written is removed first: what it would have told of did not leave.

        Raises
        ------
        FedLiverError
            ``ledger-damaged`` (the end is not as it was written), ``ledger-busy``, or ``disk-full`` and ``not-writable``. Nothing may leave then.
        """
        from filelock import FileLock, Timeout

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=_WAIT_SECONDS):
                self._append(entry)
        except Timeout as error:
            raise FedLiverError("ledger-busy", f"{self._path} is held by another process: nothing leaves until it is free.") from error
        except OSError as error:
            # The folder, the lock, reading: each can fail for a disk that is full, gone or another user's.
            raise FedLiverError("not-writable", f"{self._path} cannot be written ({error.strerror}): nothing leaves this site until it can.") from error

    def entries(self) -> list[Line]:
        """Every line, oldest first, unverified. Lines that cannot be read are passed over; ``verify`` names them."""
        found = []
        for line in self._whole_lines()[0]:
            try:
                found.append(_ENTRY.validate_python(json.loads(line)["entry"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def noise_so_far(self) -> list[float]:
        """The noise multiplier of every noised update that left."""
        return [entry.noise_multiplier for entry in self.entries() if isinstance(entry, UpdateOut) and entry.noise_multiplier > 0]

    def verify(self, noted: str | None = None) -> Verification:
        """Check every line's seal, their order, and that none is missing.

        Parameters
        ----------
        noted:
            A head that an earlier ``verify`` printed; it must be the seal of one of the lines.
        """
        lines, torn = self._whole_lines()
        seal, seals, fault = _FIRST, [], ""
        for number, line in enumerate(lines, start=1):
            fault = _fault_of(line, number, seal)
            if fault:
                break
            seal = json.loads(line)["seal"]
            seals.append(seal)
        fault = fault or self._fault_of_end(seals, torn)
        if not fault and noted and noted.strip().lower() not in seals:
            fault = "none of its lines has the head that you noted: the ledger was written anew."
        return Verification(len(lines), seal, fault)

    def _fault_of_end(self, seals: list[str], torn: bool) -> str:
        head = self._read_head()
        if head is None:
            return f"{HEAD_NAME} is missing or cannot be read, so nobody can say whether lines are missing at the end." if seals or torn else ""
        if head.lines > len(seals):
            return f"{head.lines - len(seals)} line(s) are missing at the end: {head.lines} were written, {len(seals)} are there."
        if head.lines and seals[head.lines - 1] != head.seal:
            return f"line {head.lines} is not the one that {HEAD_NAME} remembers."
        # A crash between writing a line and its head leaves the head one behind, no more.
        if len(seals) > head.lines + 1:
            return f"{len(seals) - head.lines} lines were added at the end by something else than this program."
        return ""

    def _append(self, entry: Line) -> None:
        lines, torn = self._whole_lines()
        head = self._read_head()
        if lines or torn or head:
            self._check_end(lines, head)
        else:
            self._write_head(0, _FIRST)  # so that a ledger without a head is never the mark of a crash
        seal = json.loads(lines[-1])["seal"] if lines else _FIRST
        if torn:
            with self._path.open("r+b") as stream:
                stream.truncate(sum(len(line) + 1 for line in lines))
        if head and head.lines < len(lines):
            self._write_head(len(lines), seal)  # a crash came between that line and its head; a second one must not leave it two behind
        content = {"number": len(lines) + 1, "before": seal, "entry": entry.model_dump(mode="json")}
        new_seal = _seal(content)
        line = _canonical({**content, "seal": new_seal}) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise FedLiverError("disk-full", "The disk is full: the ledger could not be written, so nothing leaves this site. Free some space.")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._write_head(len(lines) + 1, new_seal)

    def _write_head(self, lines: int, seal: str) -> None:
        write_text(self._head_path, _Head(lines=lines, seal=seal).model_dump_json())

    def _check_end(self, lines: list[bytes], head: _Head | None) -> None:
        """The last line and the head must agree; the whole chain is for ``verify``."""
        fault = ""
        if head is None or not head.lines <= len(lines) <= head.lines + 1:
            fault = "its end is not as it was written"
        elif lines:
            before = json.loads(lines[-2]).get("seal", "") if len(lines) > 1 and not _fault_of_form(lines[-2]) else _FIRST
            fault = _fault_of(lines[-1], len(lines), before)
            remembered = lines[head.lines - 1] if head.lines else b""
            if not fault and head.lines and (_fault_of_form(remembered) or json.loads(remembered)["seal"] != head.seal):
                fault = f"line {head.lines} is not the one that {HEAD_NAME} remembers"
        if fault:
            raise FedLiverError(
                "ledger-damaged",
                "The ledger was changed by something else than this program: see 'fedliver site ledger verify'. Nothing leaves until it is put back.",
            )

    def _whole_lines(self) -> tuple[list[bytes], bool]:
        """The lines that end, and whether something half-written follows them."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return [], False
        *lines, rest = content.split(b"\n")
        return lines, bool(rest)

    def _read_head(self) -> _Head | None:
        try:
            return _Head.model_validate_json(self._head_path.read_bytes())
        except (OSError, ValidationError):
            return None


def content_hash(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name}\0{array.dtype.str}\0{weights[name].shape}\0".encode() + array.tobytes())
    return digest.hexdigest()


def _canonical(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _seal(content: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _fault_of_form(line: bytes) -> str:
    try:
        record = json.loads(line)
        _ENTRY.validate_python(record["entry"])
        sealed = set(record) == {"number", "before", "entry", "seal"} and _canonical(record) == line
    except (ValueError, KeyError, TypeError):
        sealed = False
    return "" if sealed else "it cannot be read"


def _fault_of(line: bytes, number: int, before: str) -> str:
    """What is wrong with one line, in words; empty if nothing is."""
    if _fault_of_form(line):
        return f"line {number} cannot be read."
    record = json.loads(line)
    if _seal({key: value for key, value in record.items() if key != "seal"}) != record["seal"]:
        return f"line {number} was changed."
    if record["number"] != number:
        return f"line {number} is the one that was written as number {record['number']}: lines are missing, doubled or in another order."
    if record["before"] != before:
        return f"line {number} does not follow from the one before it: one of them was replaced."
    return ""
