"""Changes of weights as few bytes: rounded to steps of their own channel, one byte each, then Huffman-coded by zlib.

A channel is a slice along a tensor's first axis; a tensor of fewer than two axes is one channel. Its step is a fixed part of the root mean square of its
changes, so that a layer that moves little is as exact as one that moves much, and most bytes are among a few values, which is what the coding lives on. What
rounding takes away is not lost: whoever encodes keeps it and adds it to the next change (error feedback: Seide et al. 2014, Karimireddy et al. 2019).

Nothing in the bytes says how large anything is: both sides know the tensors from the plan. Only floating-point tensors are encoded.
"""

import math
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.site.egress import TensorKind, averaged

STEP = 0.25
"""Of a channel's root mean square: about 4 bits a number, and 7 % of its length as rounding error. Measured in docs/traffic.md."""
_LARGEST = 127
_STEP_BYTES = 4
Change = Mapping[str, np.ndarray]


def encode(change: Change, kinds: Mapping[str, TensorKind], shortened_to: float | None = None) -> tuple[bytes, dict[str, np.ndarray]]:
    """The bytes of a change, and the change that :func:`decode` makes of them.

    Parameters
    ----------
    kinds:
        The tensors; those that are not floating point are passed over.
    shortened_to:
        The decoded change is not longer than this (Euclidean norm): rounding must not lengthen what was shortened to a bound.

    Raises
    ------
    FedLiverError
        ``training-diverged`` for numbers that are not finite.
    """
    steps, levels = [], []
    for name, channels in _channels(kinds):
        numbers = np.ascontiguousarray(change[name], np.float32).reshape(channels, -1)
        if not np.isfinite(numbers).all():
            raise FedLiverError("training-diverged", "A change of weights is not finite: nothing was sent.")
        spread = np.sqrt(np.mean(np.square(numbers, dtype=np.float64), axis=1)) if numbers.size else np.zeros(channels)
        step = np.maximum(STEP * spread, np.abs(numbers).max(axis=1, initial=0) / _LARGEST).astype(np.float32)
        safe = np.where(step > 0, step, np.float32(1))[:, None]
        steps.append(step)
        levels.append(np.clip(np.rint(numbers / safe), -_LARGEST, _LARGEST).astype(np.int8))
    if shortened_to is not None:
        steps = _shortened(steps, levels, shortened_to)
    raw = b"".join(step.astype("<f4").tobytes() for step in steps) + b"".join(level.tobytes() for level in levels)
    coder = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(raw) + coder.flush(), _decoded(steps, levels, kinds)


def decode(data: bytes, kinds: Mapping[str, TensorKind]) -> dict[str, np.ndarray]:
    """The change that ``data`` says, float32. Never takes more memory than the tensors in ``kinds`` need.

    Raises
    ------
    FedLiverError
        ``weights-do-not-fit`` for anything but an encoded change of exactly these tensors.
    """
    wrong = FedLiverError("weights-do-not-fit", "A compressed change of weights that arrived is not one of the agreed network.")
    counts = [(channels, math.prod(kinds[name].shape)) for name, channels in _channels(kinds)]
    length = sum(_STEP_BYTES * channels + numbers for channels, numbers in counts)
    if len(data) > largest(kinds):
        raise wrong
    decoder = zlib.decompressobj()
    try:
        raw = decoder.decompress(data, length + 1)
    except zlib.error as error:
        raise wrong from error
    if len(raw) != length or not decoder.eof or decoder.unused_data:
        raise wrong
    every_step = np.frombuffer(raw, "<f4", sum(channels for channels, _ in counts)).astype(np.float32)
    every_level = np.frombuffer(raw, np.int8, offset=_STEP_BYTES * len(every_step))
    steps = np.split(every_step, np.cumsum([channels for channels, _ in counts])[:-1])
    levels = np.split(every_level, np.cumsum([numbers for _, numbers in counts])[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        change = _decoded(steps, [level.reshape(len(step), -1) for step, level in zip(steps, levels, strict=True)], kinds)
    if not (np.isfinite(every_step).all() and (every_step >= 0).all() and all(np.isfinite(array).all() for array in change.values())):
        raise wrong
    return change


def largest(kinds: Mapping[str, TensorKind]) -> int:
    """No encoded change of these tensors has more bytes than this: what zlib cannot shorten it stores, with a few bytes for every 16 kB."""
    raw = sum(_STEP_BYTES * channels + math.prod(kinds[name].shape) for name, channels in _channels(kinds))
    return raw + raw // 1000 + 64


def applied(change: Change, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``weights`` moved by ``change``, in their own types. In single precision the same to the last bit on every machine."""
    return {name: (array + change[name]).astype(array.dtype) if name in change else array for name, array in weights.items()}


def _channels(kinds: Mapping[str, TensorKind]) -> Iterator[tuple[str, int]]:
    for name, kind in averaged(kinds).items():
        yield name, kind.shape[0] if len(kind.shape) > 1 else 1


def _decoded(steps: list[np.ndarray], levels: list[np.ndarray], kinds: Mapping[str, TensorKind]) -> dict[str, np.ndarray]:
    return {
        name: (level.astype(np.float32) * step[:, None]).reshape(kinds[name].shape)
        for (name, _), step, level in zip(_channels(kinds), steps, levels, strict=True)
    }


def _shortened(steps: list[np.ndarray], levels: list[np.ndarray], bound: float) -> list[np.ndarray]:
    squares = sum(
        float(np.square(step.astype(np.float64)) @ np.square(level.astype(np.float64)).sum(axis=1)) for step, level in zip(steps, levels, strict=True)
    )
    norm = math.sqrt(squares)
    if norm <= bound:
        return steps
    return [(step * (bound / norm * (1 - 1e-6))).astype(np.float32) for step in steps]
