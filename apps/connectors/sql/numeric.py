"""PostgreSQL's binary numeric, both ways, without passing a value through Python.

A numeric is `int16 ndigits, int16 weight, uint16 sign, uint16 dscale` and then base-10000 digits, most significant
first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NEGATIVE = 0x4000
NOT_A_NUMBER = {0xC000, 0xD000, 0xF000}
BASE = 10_000
SAFE_DIGITS = 18

Int64 = npt.NDArray[np.int64]


def encode_numeric(array: pa.Array) -> npt.NDArray[np.uint8]:
    """Decimals (decimal128) as fixed-width binary numerics, one row each; leading zero digits are legal on the wire."""
    scale = array.type.scale
    words = np.frombuffer(array.buffers()[1], np.int64, count=2 * (array.offset + len(array)))
    words = words[2 * array.offset :].reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    if array.null_count:
        valid = np.asarray(array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False), np.bool_)
        low, high = np.where(valid, low, 0), np.where(valid, high, 0)
    limit = 10**SAFE_DIGITS
    if array.type.precision > SAFE_DIGITS and not (((low >> 63) == high) & (low < limit) & (low > -limit)).all():
        return _encode_wide(low, high, scale)
    return _pack(np.abs(low), low < 0, scale)


def _pack(magnitude: Any, negative: npt.NDArray[np.bool_], scale: int) -> npt.NDArray[np.uint8]:
    power = 10**scale
    whole, fraction = magnitude // power, magnitude % power
    fraction_groups = -(-scale // 4)
    largest = int(whole.max()) if len(whole) else 0
    whole_groups = max(1, -(-len(str(largest)) // 4))
    digits = whole_groups + fraction_groups
    record = np.empty((len(magnitude), 4 + digits), ">i2")
    record[:, 0], record[:, 1] = digits, whole_groups - 1
    record[:, 2] = np.where(negative, NEGATIVE, 0)
    record[:, 3] = scale
    for index in range(whole_groups - 1, -1, -1):
        record[:, 4 + index] = whole % BASE
        whole = whole // BASE
    # The last group may be partly used: its digits are filled up on the right.
    width = scale - 4 * (fraction_groups - 1)
    for index in range(digits - 1, whole_groups - 1, -1):
        unit = 10**width
        record[:, 4 + index] = fraction % unit * 10 ** (4 - width)
        fraction, width = fraction // unit, 4
    return record.view(np.uint8).reshape(len(magnitude), -1)


def _encode_wide(low: Int64, high: Int64, scale: int) -> npt.NDArray[np.uint8]:
    unsigned = low.astype(np.uint64).astype(object)
    value = high.astype(object) * 2**64 + unsigned
    negative = np.asarray(value < 0, np.bool_)
    return _pack(np.abs(value), negative, scale)


def decode_numeric(array: pa.Array, precision: int, scale: int) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Binary numerics (`numeric_send`) as decimal128(precision, scale).

    Args:
        array: binary array of the wire form; NULLs stay NULL.
        precision: at most 18, so that the unscaled value fits 64 bits.
        scale: digits after the point; the column's declared scale, so nothing is cut.

    Returns:
        The decimals, and a mask of the rows that are NaN or infinite (their value in the array is NULL).
    """
    rows = len(array)
    offsets = np.frombuffer(array.buffers()[1], np.int32, count=array.offset + rows + 1)[array.offset :].astype(
        np.int64
    )
    valid = (
        np.asarray(array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False), np.bool_)
        if array.null_count
        else np.ones(rows, np.bool_)
    )
    data = array.buffers()[2]
    shorts = (
        np.frombuffer(data, ">i2", count=len(data) // 2) if data is not None and len(data) >= 8 else np.zeros(4, ">i2")
    )
    start = np.where(valid, offsets[:-1] // 2, 0)
    count = np.where(valid, shorts[start], 0).astype(np.int64)
    weight = shorts[np.minimum(start + 1, len(shorts) - 1)].astype(np.int64)
    sign = shorts[np.minimum(start + 2, len(shorts) - 1)].astype(np.int64) & 0xFFFF
    special = valid & (sign >= min(NOT_A_NUMBER))
    value = np.zeros(rows, np.int64)
    powers = np.array([10**power for power in range(SAFE_DIGITS + 1)], np.int64)
    last = len(shorts) - 1
    for index in range(int(count.max()) if rows else 0):
        present = count > index
        digit = np.where(present, shorts[np.minimum(start + 4 + index, last)], 0).astype(np.int64)
        exponent = 4 * (weight - index) + scale
        up = digit * powers[np.clip(exponent, 0, SAFE_DIGITS)]
        value += (
            up if int(exponent.min()) >= 0 else np.where(exponent >= 0, up, digit // powers[np.clip(-exponent, 0, 4)])
        )
    value = np.where(sign == NEGATIVE, -value, value)
    words = np.empty((rows, 2), np.int64)
    words[:, 0], words[:, 1] = value, value >> 63
    present_mask = valid & ~special
    bitmap = None if present_mask.all() else pa.array(present_mask).buffers()[1]
    built = pa.Array.from_buffers(pa.decimal128(precision, scale), rows, [bitmap, pa.py_buffer(words)])
    return built, special
