"""Counts what a tool has written, for a tool that writes less has less to do."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from scripts.bench.videos import SUFFIXES

_MEDIA = (*SUFFIXES, ".mp3")


@dataclass(frozen=True, slots=True)
class Written:
    """What is there after a run: of how many rows, and how much of it."""

    rows: int
    samples: int
    unreadable: int
    seconds: float
    frames: int
    sound_seconds: float
    size: int
    shapes: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Sample:
    """A media file that can be read."""

    seconds: float
    frames: int
    sound_seconds: float
    shape: tuple[int, int] | None


def count(folder: Path) -> Written:
    """Read every media file under ``folder``, also inside tar files; nothing is decoded."""
    read: list[_Sample] = []
    rows: set[str] = set()
    unreadable = size = 0
    for key, data in _media(folder):
        size += len(data)
        try:
            read.append(_look(data))
        except av.FFmpegError:
            unreadable += 1
        else:
            rows.add(key.partition("_")[0])  # clips add their number to the row's key
    return Written(
        rows=len(rows),
        samples=len(read),
        unreadable=unreadable,
        seconds=sum(sample.seconds for sample in read),
        frames=sum(sample.frames for sample in read),
        sound_seconds=sum(sample.sound_seconds for sample in read),
        size=size,
        shapes=frozenset(sample.shape for sample in read if sample.shape),
    )


def _media(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _MEDIA:
            yield path.stem, path.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    name = Path(member.name)
                    file = tar.extractfile(member)
                    if file is not None and name.suffix in _MEDIA:
                        yield name.stem, file.read()


def _look(data: bytes) -> _Sample:
    with av.open(io.BytesIO(data), "r") as container:
        picture, sound = container.streams.video, container.streams.audio
        if not picture and not sound:
            raise av.InvalidDataError(0, "neither picture nor sound")
        packets = _shown(container)
        seconds = [_seconds(packets[stream.index]) for stream in container.streams]
        return _Sample(
            seconds=seconds[picture[0].index] if picture else 0.0,
            frames=len(packets[picture[0].index]) if picture else 0,
            sound_seconds=seconds[sound[0].index] if sound else 0.0,
            shape=(picture[0].width, picture[0].height) if picture else None,
        )


def _shown(container: InputContainer) -> dict[int, list[Packet[Any]]]:
    """The packets of each stream, without those that the file's edit list hides."""
    packets: dict[int, list[Packet[Any]]] = {stream.index: [] for stream in container.streams}
    for packet in container.demux():
        if packet.size and packet.pts is not None and not packet.is_discard:
            packets[packet.stream.index].append(packet)
    return packets


def _seconds(packets: list[Packet[Any]]) -> float:
    """From the first packet to the end of the last, which is taken to be an average one."""
    times = [float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None]
    if len(times) < 2:
        return float(sum((packet.duration or 0) * packet.time_base for packet in packets))
    return (max(times) - min(times)) * len(times) / (len(times) - 1)
