"""Tests of telling from a packet whether decoding can begin with it."""

from __future__ import annotations

import pytest

from asyncv2d.nal_units import can_begin_with, refers_to_nothing, size_length, units

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


@pytest.mark.parametrize(
    ("packet", "stands_alone"),
    [
        (b"\0\0\1\xb6\x10", True),
        (b"\0\0\1\xb3\0\0\1\xb6\x3f", True),
        (b"\0\0\1\xb6\x40", False),
        (b"\0\0\1\xb6\x80\0\0\1\xb6\x10", False),
        (b"\0\0\1\xb6", True),
        (b"\0\0\x80\x02", True),
        (b"", True),
    ],
)
def test_pictures_of_mpeg_4_say_what_they_refer_to(packet: bytes, stands_alone: bool) -> None:
    """The first one counts; what says nothing is believed to be what it is marked as."""
    assert refers_to_nothing(packet) == stands_alone
