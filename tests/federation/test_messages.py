"""What travels is what was agreed, and nothing else is accepted."""

import io
import pickle
import struct

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict

from fedliver.errors import FedLiverError
from fedliver.federation.messages import (
    Instructions,
    Numbers,
    error_reply,
    pack,
    pack_reply,
    payload_bytes,
    unpack_instructions,
    unpack_numbers,
    unpack_weights,
)
from fedliver.site.codes import ErrorCode
from fedliver.site.egress import TensorKind
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(3, np.int64)}
INSTRUCTIONS = Instructions(round=2, rounds=3, model=1, plan=TeacherPlan.tiny(), training=TrainingSettings())


def test_instructions_and_weights_arrive_as_they_were_sent() -> None:
    content = pack(INSTRUCTIONS, WEIGHTS)
    assert unpack_instructions(content) == INSTRUCTIONS
    arrived = unpack_weights(content, WEIGHTS)
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(arrived[name], array)
        assert arrived[name].dtype == array.dtype
    assert payload_bytes(content) >= sum(array.nbytes for array in WEIGHTS.values())


def test_a_reply_carries_numbers_and_no_text() -> None:
    content = pack_reply(Numbers(cases=3, loss=0.5, seconds=2.0, dice=0.9, dice_cases=1), WEIGHTS)
    assert unpack_numbers(content) == Numbers(cases=3, loss=0.5, seconds=2.0, dice=0.9, dice_cases=1)
    assert not content.config_records
    assert all(isinstance(value, int | float) for value in content.metric_records["metrics"].values())


def test_an_error_is_its_code_alone() -> None:
    content = error_reply(ErrorCode.DISK_FULL)
    assert unpack_numbers(content) == Numbers(error=int(ErrorCode.DISK_FULL))
    assert not content.array_records
    assert not content.config_records


@pytest.mark.parametrize(
    "metrics",
    [{}, {"cases": 1, "surprise": 2}, {"cases": 1.5}, {"cases": [1, 2]}],
)
def test_numbers_that_were_not_agreed_are_refused(metrics: dict) -> None:
    content = RecordDict({"metrics": MetricRecord(metrics)}) if metrics else RecordDict()
    with pytest.raises(ValueError):  # noqa: PT011 pydantic's own
        unpack_numbers(content)


def test_missing_instructions_are_refused() -> None:
    with pytest.raises(FedLiverError) as caught:
        unpack_instructions(RecordDict())
    assert caught.value.code == "bad-configuration"


def refused(arrays: dict[str, Array]) -> None:
    with pytest.raises(FedLiverError) as caught:
        unpack_weights(RecordDict({"arrays": ArrayRecord(arrays)}), WEIGHTS)
    assert caught.value.code == "weights-do-not-fit"


def good() -> dict[str, Array]:
    return {name: Array(array) for name, array in WEIGHTS.items()}


def raw(data: bytes) -> Array:
    return Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=data)


def test_another_shape_type_or_name_is_refused() -> None:
    refused({**good(), "a": Array(np.zeros((3, 2), np.float32))})
    refused({**good(), "a": Array(np.zeros((2, 3), np.float64))})
    refused({"a": Array(WEIGHTS["a"])})
    refused({**good(), "more": Array(np.zeros(1, np.float32))})


def test_an_array_larger_than_agreed_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_reached(stream: io.BytesIO) -> tuple[int, int]:
        raise AssertionError("it was read")

    monkeypatch.setattr(np.lib.format, "read_magic", not_reached)
    refused({**good(), "a": raw(b"\x00" * 1_000_000)})


def test_a_header_that_claims_terabytes_allocates_nothing() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1_000_000, 1_000_000)})
    refused({**good(), "a": raw(stream.getvalue())})


@pytest.mark.parametrize(
    "header",
    [
        b"{1:2,'a':3}",
        b"{[]:1}",
        b"'''",
        b"-" * 900 + b"1",
        b"-" * 5000 + b"1",
        b"(" * 3000,
        b"\0",
        b"{'descr': ('<f4',), 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': {'a': 1}, 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999999,)}",
    ],
)
def test_a_made_up_header_is_refused_whatever_numpy_says_of_it(header: bytes) -> None:
    """NumPy reads a header as Python; a single site must not be able to end a run with what Python says to that."""
    like = {"a": TensorKind((9000,), np.dtype(np.float32))}
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    made_up = RecordDict({"arrays": ArrayRecord({"a": Array(dtype="float32", shape=(9000,), stype="numpy.ndarray", data=data)})})
    with pytest.raises(FedLiverError) as caught:
        unpack_weights(made_up, like)
    assert caught.value.code == "weights-do-not-fit"


def test_garbage_a_truncated_array_and_a_pickle_are_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, WEIGHTS["a"])
    refused({**good(), "a": raw(b"garbage")})
    refused({**good(), "a": raw(stream.getvalue()[:-4])})
    refused({**good(), "a": raw(pickle.dumps(WEIGHTS["a"]))})
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    refused({**good(), "a": raw(objects.getvalue())})
