"""Tests of telling from a packet whether decoding can begin with it."""

from __future__ import annotations

import pytest

from asyncv2d.nal_units import (
    begins_with_hevc_keyframe,
    can_begin_with,
    has_b_slice,
    has_unit,
    hevc_size_length,
    size_length,
    units,
)

DELIMITER, SETUP, IDR, SLICE = b"\x09\xf0", b"\x67\x42", b"\x65\x88", b"\x41\x9a"
NOTE = b"\x05\xff\x03" + bytes(255 + 3)  # a long message, with zeros that are not a start code
AT_ONCE, AFTER_10 = b"\x06\x01\x80", b"\x06\x02\x16\x40"  # recovery points


def sei(*messages: bytes) -> bytes:
    """A unit that holds these messages."""
    return b"\x06" + b"".join(messages).replace(b"\0\0", b"\0\0\3") + b"\x80"


CASES = {
    "an IDR picture": ([DELIMITER, SETUP, IDR], True),
    "another one": ([DELIMITER, SLICE], True),
    "right at once": ([DELIMITER, sei(AT_ONCE), SLICE], True),
    "right after 10 frames": ([DELIMITER, sei(AFTER_10), SLICE], False),
    "an IDR picture all the same": ([sei(AFTER_10), IDR], True),
    "after another message": ([sei(NOTE, AFTER_10), SLICE], False),
    "after another unit": ([sei(NOTE), SETUP, sei(AFTER_10), SLICE], False),
    "of a later picture": ([SLICE, sei(AFTER_10), SLICE], True),
    "a message that is cut off": ([b"\x06\x05\xff\xff", sei(AFTER_10), SLICE], False),
    "a message of no bytes": ([b"\x06\x06\x00\x80", SLICE], True),
    "no picture": ([DELIMITER], True),
    "an empty unit": ([b"", sei(AFTER_10), SLICE], False),
    "nothing": ([], True),
}


@pytest.mark.parametrize("length", [0, 1, 2, 4])
@pytest.mark.parametrize("case", CASES)
def test_a_recovery_point_is_a_beginning_only_if_pictures_are_right_at_once(
    case: str, length: int
) -> None:
    """Its message says after how many frames they are; whatever else is in the packet."""
    parts, can_begin = CASES[case]
    if length == 1:
        parts = [part for part in parts if len(part) < 256]
        can_begin = can_begin or "other message" in case
    assert can_begin_with(packed(parts, length), length) == can_begin


def packed(parts: list[bytes], length: int) -> bytes:
    """A packet of these units."""
    if length == 0:
        return b"".join(b"\0\0\1" + part for part in parts)
    return b"".join(len(part).to_bytes(length, "big") + part for part in parts)


@pytest.mark.parametrize("length", [0, 4])
@pytest.mark.parametrize("size", range(20))
def test_a_torn_packet_is_read_to_its_end(length: int, size: int) -> None:
    """No packet makes the reading fail."""
    packet = packed([DELIMITER, sei(AFTER_10), SLICE], length)[:size]
    assert list(units(packet, length)) is not None
    assert can_begin_with(packet, length) in (True, False)


@pytest.mark.parametrize(
    ("setup", "length"),
    [(None, 0), (b"", 0), (b"\0\0\0\1\x67", 0), (b"\1\x64\0\x1f\xff", 4), (b"\1\x64", 0)],
)
def test_the_setup_says_how_units_are_told_apart(setup: bytes | None, length: int) -> None:
    """MP4 and Matroska write sizes, transport streams start codes."""
    assert size_length(setup) == length


def test_the_setup_of_hevc_says_it_elsewhere() -> None:
    """There it comes after what the video is."""
    described = b"\1" + bytes(20)
    assert hevc_size_length(described + b"\xfc") == 1
    assert hevc_size_length(described + b"\xff") == 4
    assert hevc_size_length(b"\0\0\0\1\x40" + bytes(20)) == 0
    assert hevc_size_length(described) == hevc_size_length(None) == 0


def hevc(kind: int, first: bool = True) -> bytes:
    """A unit of HEVC."""
    return bytes((kind << 1, 1, 0x80 * first, 0xAF))


@pytest.mark.parametrize("length", [0, 1, 4])
@pytest.mark.parametrize(
    ("parts", "can_begin"),
    [
        *[([hevc(kind)], kind in range(16, 24)) for kind in range(32)],
        ([hevc(35), hevc(32), hevc(33), hevc(34), hevc(39), hevc(19), hevc(1)], True),
        ([hevc(35), hevc(32), hevc(33), hevc(34), hevc(39), hevc(1), hevc(19)], False),
        ([b"", hevc(35)], True),
        ([], True),
    ],
)
def test_hevc_begins_with_idr_cra_and_bla_pictures(
    parts: list[bytes], can_begin: bool, length: int
) -> None:
    """The first slice counts; what has none is believed to be what it is marked as."""
    assert begins_with_hevc_keyframe(packed(parts, length), length) == can_begin


@pytest.mark.parametrize("length", [0, 4])
@pytest.mark.parametrize(
    ("parts", "has_one"),
    [
        ([b"\x41\x9a"], False),  # the first part of a picture (1), of kind 5 (00110)
        ([b"\x01\x9e"], True),  # of kind 6 (00111)
        ([b"\x01\xa8"], True),  # of kind 1 (010)
        ([b"\x65\x88"], False),  # of kind 7 (0001000)
        ([b"\x01\x04\x47\x80"], True),  # part 33 (00000100010), of kind 6
        ([b"\x01\0\0\3\x02\0\0\0\0\x26\x80"], False),  # cut off within the second number
        ([SETUP, DELIMITER, IDR, b"\x01\xa8"], True),
        ([b"\x01"], False),
        ([b"\x06\xa8"], False),
        ([], False),
    ],
)
def test_slices_say_whether_they_are_of_a_b_frame(
    parts: list[bytes], has_one: bool, length: int
) -> None:
    """Their second number does, which begins anywhere in a byte."""
    assert has_b_slice(packed(parts, length), length) == has_one


@pytest.mark.parametrize(
    ("packet", "has_one"),
    [(bytes(50), False), (b"", False), (bytes(9) + b"\1", False), (b"\0\0\1\x09", True)],
)
def test_padding_is_no_unit(packet: bytes, has_one: bool) -> None:
    """A unit is what comes after a start code."""
    assert has_unit(packet) == has_one
