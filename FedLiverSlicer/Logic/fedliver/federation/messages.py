"""What travels between ServerApp and ClientApp: one JSON of instructions and a model down; an update and a handful of numbers up. No text goes up.

A model or an update is either the weights themselves, tensor by tensor, or one packet of bytes that ``codec`` has made of a change.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedliver.coordinator.array_file import HEADER_SAYS
from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import FedLiverError
from fedliver.federation.secure.words import Masking
from fedliver.site.codes import ErrorCode
from fedliver.site.egress import TensorKind
from fedliver.site.policy import Compression
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

TRAIN, DELIVER = "train", "evaluate"
STEP = "query"
"""Flower's message types. The delivery after the last round brings the last aggregate; sites score it and keep it, and send no weights. A step of a masked sum
needs no app at all."""

_ARRAYS, _CONFIG, _METRICS, _WORDS = "arrays", "config", "metrics", "words"
_MASKED = "masked"
_DRAWN = "drawn"
MOST_PACKETS = 100
_PACKETS = ["packet", *(f"packet-{number}" for number in range(2, MOST_PACKETS + 1))]
_LARGEST_WORDS = 4_000_000
"""Characters; a thousand sites' keys are some 0.7 million."""
_Model = TypeVar("_Model", bound=BaseModel)
_Record = TypeVar("_Record", ArrayRecord, ConfigRecord, MetricRecord)
Payload = Mapping[str, np.ndarray] | bytes | tuple[bytes, ...]
"""Weights; one packed change; or several, each of the model that the one before makes."""
_HEADER_BYTES = 1024


class Shipment(BaseModel):
    """How the model of a message comes: whole, as changes of one that the site has, or not at all since the site has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["whole", "change", "nothing"] = "whole"
    content: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """``content_hash`` of the model, with which the site finds out whether it has understood; empty is not compared."""
    base: int = Field(0, ge=0)
    """The number of the model that the first change is of."""
    base_content: str = Field("", pattern=r"^([0-9a-f]{64})?$")


class Instructions(BaseModel):
    """What a site is to do with the weights that come along."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int = Field(ge=1)
    rounds: int = Field(ge=1)
    model: int = Field(ge=0)
    """The number of the aggregate that comes along: the round that made it, 0 for the first teacher."""
    plan: TeacherPlan
    training: TrainingSettings
    shipment: Shipment = Shipment()
    compression: Compression = "none"
    """How the update is to travel, where it is not masked."""
    masking: Masking | None = None
    """How the update is to be expressed for a masked sum; None where it is sent in the open."""


class OfRound(Protocol):
    """Which round a message is about."""

    @property
    def round(self) -> int: ...

    @property
    def rounds(self) -> int: ...


class Numbers(BaseModel):
    """All that a site says about its work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: int = 0
    """One of ``site.codes``; all else is 0 then."""
    cases: int = 0
    unlabelled: int = 0
    """Scans without approval that trained the update too."""
    loss: float = 0.0
    seconds: float = 0.0
    dice: float = 0.0
    dice_cases: int = 0
    """Held-out cases that ``dice`` is the mean over; 0 says that there is no Dice."""


def pack(instructions: Instructions, model: Payload) -> RecordDict:
    """The content of a message to a site."""
    return RecordDict({_ARRAYS: _pack_payload(model), _CONFIG: ConfigRecord({"instructions": instructions.model_dump_json()})})


def request_hash(instructions: Instructions, model: str) -> str:
    """Hex SHA-256 of what a site is asked to do with the model of that content, however the model travels: the same for all sites of a round."""
    asked = instructions.model_copy(update={"shipment": Shipment()}).model_dump_json()
    canonical = Instructions.model_validate_json(asked).model_dump_json()  # so that 1 and 1.0 are the same, as they are after the way
    return hashlib.sha256(f"{model} {canonical}".encode()).hexdigest()


def unpack_instructions(content: RecordDict) -> Instructions:
    """Raises FedLiverError ``bad-configuration``."""
    record = _record(content, _CONFIG, ConfigRecord)
    try:
        return Instructions.model_validate_json(str(record["instructions"] if record is not None else ""))
    except (KeyError, ValidationError) as error:
        raise FedLiverError("bad-configuration", "The coordinator's instructions could not be read.") from error


def pack_reply(numbers: Numbers, update: Payload | None = None) -> RecordDict:
    """The content of a site's answer."""
    records: dict[str, Any] = {_METRICS: MetricRecord(numbers.model_dump())}
    if update is not None:
        records[_ARRAYS] = _pack_payload(update)
    return RecordDict(records)


def for_the_filter(reply: RecordDict, patients: int | None) -> RecordDict:
    """``reply`` with what the ClientApp says to the site's own egress filter, which leaves it behind: how many patients really trained the update."""
    if patients is not None:
        reply[_DRAWN] = MetricRecord({_DRAWN: patients})
    return reply


def unpack_patients(content: RecordDict) -> int | None:
    """What :func:`for_the_filter` said; None if nothing was said that can be understood."""
    record = _record(content, _DRAWN, MetricRecord)
    patients = record.get(_DRAWN) if record is not None else None
    return patients if isinstance(patients, int) else None


def unpack_numbers(content: RecordDict) -> Numbers:
    """Raises ``ValueError`` for anything but the agreed numbers."""
    record = _record(content, _METRICS, MetricRecord)
    if record is None:
        raise ValueError("no numbers")
    return Numbers.model_validate(dict(record))


def pack_words(words: BaseModel, numbers: Numbers | None = None, vector: np.ndarray | None = None) -> RecordDict:
    """A step of a masked sum, or the answer to one; ``vector`` is a masked update (uint32)."""
    records: dict[str, Any] = {_WORDS: ConfigRecord({_WORDS: words.model_dump_json()}), _METRICS: MetricRecord((numbers or Numbers()).model_dump())}
    if vector is not None:
        records[_ARRAYS] = pack_weights({_MASKED: vector})
    return RecordDict(records)


def unpack_words(content: RecordDict, kind: type[_Model]) -> _Model:
    """Raises FedLiverError ``bad-configuration`` for anything but words of that kind."""
    record = _record(content, _WORDS, ConfigRecord)
    text = record.get(_WORDS) if record is not None else None
    try:
        if not isinstance(text, str) or len(text) > _LARGEST_WORDS:
            raise ValueError("no words")
        return kind.model_validate_json(text)
    except ValueError as error:
        raise FedLiverError("bad-configuration", "A step of a masked sum could not be read.") from error


def unpack_masked(content: RecordDict, numbers: int) -> np.ndarray:
    """A masked update of so many numbers, uint32 (FedLiverError ``weights-do-not-fit``)."""
    return unpack_weights(content, {_MASKED: TensorKind((numbers,), np.dtype(np.uint32))})[_MASKED]


def pack_weights(weights: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Weights as Flower's arrays (NumPy's file format, version 1.0)."""
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in weights.items()})


def _pack_payload(payload: Payload) -> ArrayRecord:
    if isinstance(payload, Mapping):
        return pack_weights(payload)
    packets = (payload,) if isinstance(payload, bytes) else payload
    named = zip(_PACKETS[: len(packets)], packets, strict=True)
    return ArrayRecord({name: Array(dtype="uint8", shape=(len(data),), stype="zlib", data=data) for name, data in named})


def unpack_packets(content: RecordDict) -> tuple[bytes, ...]:
    """The bytes of packed changes, in their order; ``codec.decode`` looks at what is in them (FedLiverError ``weights-do-not-fit``)."""
    record = _record(content, _ARRAYS, ArrayRecord)
    names = _PACKETS[: len(record)] if record is not None else []
    if record is None or not names or set(record) != set(names):
        raise FedLiverError("weights-do-not-fit", "What arrived is not a packed change of weights.")
    return tuple(record[name].data for name in names)


def unpack_packet(content: RecordDict) -> bytes:
    """As :func:`unpack_packets`, where there is to be one and no more."""
    packets = unpack_packets(content)
    if len(packets) != 1:
        raise FedLiverError("weights-do-not-fit", "More than one change of weights arrived.")
    return packets[0]


def unpack_weights(content: RecordDict, like: Mapping[str, TensorKind | np.ndarray]) -> Weights:
    """The arrays of a message, which must have exactly the names, shapes and types of ``like``. Nothing is allocated or read before that is known.

    Raises
    ------
    FedLiverError
        ``weights-do-not-fit``.
    """
    record = _record(content, _ARRAYS, ArrayRecord)
    if record is None or set(record) != set(like):
        raise FedLiverError("weights-do-not-fit", "The tensors that arrived are not those of the agreed network.")
    return {name: _unpack_array(record[name], like[name]) for name in like}


def payload_bytes(content: RecordDict) -> int:
    """How many bytes of weights a message carries."""
    record = _record(content, _ARRAYS, ArrayRecord)
    return record.count_bytes() if record is not None else 0


def _unpack_array(array: Array, like: TensorKind | np.ndarray) -> np.ndarray:
    wrong = FedLiverError("weights-do-not-fit", "A tensor that arrived is not that of the agreed network.")
    if len(array.data) > like.nbytes + _HEADER_BYTES:
        raise wrong
    stream = io.BytesIO(array.data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise wrong
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except HEADER_SAYS as error:
        raise wrong from error
    content = stream.read()
    if shape != like.shape or dtype != like.dtype or fortran_order or len(content) != like.nbytes:
        raise wrong
    return np.frombuffer(content, dtype=dtype).reshape(shape).copy()


def _record(content: RecordDict, name: str, kind: type[_Record]) -> _Record | None:
    """A message's record of that name and kind.

    Flower's own ``content.array_records`` is a circle of references around the message, which would keep its weights until the garbage collector comes by.
    """
    found = content.get(name)
    return found if isinstance(found, kind) else None


def error_reply(code: ErrorCode) -> RecordDict:
    """The answer of a site that has no update."""
    return pack_reply(Numbers(error=int(code)))
