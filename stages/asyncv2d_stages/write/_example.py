"""TFRecord files of ``tf.train.Example`` messages, byte by byte.

A record is its length, a checksum of that, the message, and a checksum of the message
(https://www.tensorflow.org/tutorials/load_data/tfrecord). The message is a map from names to lists
of bytes, 32-bit floats or 64-bit integers.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterator
from typing import Any

from asyncv2d.types import Sample
from asyncv2d_stages.write._files import chunks

LARGEST = (1 << 31) - 1  # bytes of a Protocol Buffers message
# Numbers of fields in the messages of TensorFlow's example.proto and feature.proto.
_FEATURES, _FEATURE, _NAME, _VALUE = 1, 1, 1, 2
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
_LIST_VALUE = 1
_BYTES_BY_LENGTH = 2  # the wire type of texts, bytes, messages and packed numbers
_INT64 = range(-(1 << 63), 1 << 63)
_MASK_DELTA = 0xA282EAD8


class Example:
    """The message of one sample, of which the large parts are not read before they are needed."""

    def __init__(self, sample: Sample) -> None:
        features = [_small("key", _bytes(sample.key.encode()))]
        own = {"key", *sample.parts}
        for name, value in sample.meta.items():
            feature = None if name == "key" else _feature(value)
            if feature is not None:
                features.append(_small(f"input_{name}" if name in own else name, feature))
        parts = [(name, body) for name, body in sample.parts.items() if name != "json"]
        self._parts = [(_before(name, body.size), body) for name, body in parts]
        self._small = b"".join(features)
        inside = len(self._small) + sum(len(head) + body.size for head, body in self._parts)
        self._head = _tag(_FEATURES) + _varint(inside)
        self.size = len(self._head) + inside

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the message."""
        yield self._head + self._small
        for head, body in self._parts:
            yield head
            yield from chunks(body)


def _feature(value: Any) -> bytes | None:
    """The Feature for a value of JSON; None for one that has nothing in it."""
    values = value if isinstance(value, list | tuple) else [value]
    if value is None or not values:
        return None
    if all(map(_is_int64, values)):
        return _message(_INTEGERS, _packed(b"".join(map(_varint, values))))
    if all(isinstance(each, float) or _is_int64(each) for each in values):
        # Infinity for what is too large for 32 bits.
        return _message(_FLOATS, _packed(array("f", values).tobytes()))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _bytes(text.encode())


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and value in _INT64


def _bytes(data: bytes) -> bytes:
    return _message(_BYTES, _message(_LIST_VALUE, data))


def _packed(numbers: bytes) -> bytes:
    return _message(_LIST_VALUE, numbers)


def _small(name: str, feature: bytes) -> bytes:
    return _message(_FEATURE, _message(_NAME, name.encode()) + _message(_VALUE, feature))


def _before(name: str, size: int) -> bytes:
    """What stands before ``size`` bytes that are the feature ``name``."""
    head = b""
    for field in (_LIST_VALUE, _BYTES, _VALUE):
        head = _tag(field) + _varint(size + len(head)) + head
    named = _message(_NAME, name.encode())
    return _tag(_FEATURE) + _varint(len(named) + len(head) + size) + named + head


def _message(field: int, data: bytes) -> bytes:
    return _tag(field) + _varint(len(data)) + data


def _tag(field: int) -> bytes:
    return _varint(field << 3 | _BYTES_BY_LENGTH)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # as two's complement
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def length_bytes(length: int) -> bytes:
    """How the length of a record is written."""
    return struct.pack("<Q", length)


def masked(crc: int) -> bytes:
    """A CRC-32C as TFRecord files have it."""
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
