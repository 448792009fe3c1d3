"""A file of arrays that is damaged, in whatever way, is said to be damaged: nothing else comes out of reading it, and nothing in it is run or grows."""

import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedliver.coordinator.array_file import DamagedFileError, read_arrays, write_arrays

ARRAYS = {"owner": np.array("federation"), **{f"k{number}": np.arange(12, dtype=np.float32).reshape(3, 4) for number in range(4)}}
LINE = "{{'descr': '{0}', 'fortran_order': False, 'shape': {1}, }}\n"


def written(folder: Path) -> bytes:
    write_arrays(folder / "whole.npz", ARRAYS)
    return (folder / "whole.npz").read_bytes()


def is_whole_or_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_arrays(path)
    except DamagedFileError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    written(tmp_path)
    found = read_arrays(tmp_path / "whole.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].tolist()) == (array.dtype, array.tolist())


def test_a_file_that_is_not_there_is_said_in_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError):
        read_arrays(tmp_path / "none.npz")


def test_a_file_that_is_cut_off_anywhere_is_damaged(tmp_path: Path) -> None:
    whole = written(tmp_path)
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DamagedFileError):
            read_arrays(tmp_path / "cut.npz")


def test_a_file_with_some_bytes_overwritten_is_whole_or_damaged(tmp_path: Path) -> None:
    whole, dice = written(tmp_path), random.Random(7)  # noqa: S311 not for secrets
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        is_whole_or_damaged(tmp_path / "overwritten.npz", bytes(content))


@pytest.mark.parametrize("way", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_file_is_none_of_ours_whatever_is_in_it(tmp_path: Path, way: int) -> None:
    array, packed = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(1000, np.float32))
    with zipfile.ZipFile(packed, "w", compression=way) as archive:
        archive.writestr("a.npy", array.getvalue())
    (tmp_path / "compressed.npz").write_bytes(packed.getvalue())
    with pytest.raises(DamagedFileError):
        read_arrays(tmp_path / "compressed.npz")
    dice = random.Random(way)  # noqa: S311 not for secrets
    for _ in range(300):
        content = bytearray(packed.getvalue())
        content[dice.randrange(len(content))] = dice.randrange(256)
        is_whole_or_damaged(tmp_path / "compressed.npz", bytes(content))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
@pytest.mark.parametrize(
    "header",
    [
        *(LINE.format("<f4", shape) for shape in ("(99999999999,)", "(2000000000,)", "(9223372036854775807, 9)", f"({2**70},)", "(-5,)", "(1.5,)", "(True,)")),
        *(LINE.format("<f4", shape) for shape in ("((((((", "('a',)", "3", "(" + "1," * 65 + ")")),
        *(LINE.format(kind, "(3,)") for kind in ("|O", "<U1000000000", "V0", "", "<M8[bad]", "O,O")),
        *(f"{{'descr': {kind}, 'fortran_order': False, 'shape': (1,)}}" for kind in ("None", "['a']", "(('a',), 2)", "[('a', '<f4', ('b',))]", "{'x': 1}")),
        *("{'descr'" + "(" * 9000, "[" * 9000, "\n\n  x\n y", "[]", "{1: 2}", "{[]: 1}", "-" * 9000 + "1", "a" * 11000, "9" * 9000, "\0" * 10),
    ],
)  # fmt: skip
def test_a_made_up_header_is_damage(tmp_path: Path, header: str, version: tuple[int, int]) -> None:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    with zipfile.ZipFile(tmp_path / "made-up.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY" + bytes(version) + length + header.encode() + bytes(12))
    is_whole_or_damaged(tmp_path / "made-up.npz", (tmp_path / "made-up.npz").read_bytes())


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY", b"\x80\x04K\x01.", bytes(100)])
def test_what_is_no_such_file_at_all_is_damage_or_empty(tmp_path: Path, content: bytes) -> None:
    is_whole_or_damaged(tmp_path / "other.npz", content)
