"""Puts the parts of a clip into one file: its picture, if any, and its sound."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from asyncv2d.picture import Picture


class ClipFile:
    """A media file in memory: a picture that may get sound beside it, or sound alone."""

    def __init__(self, container: str, picture: Picture | None = None) -> None:
        self._buffer = io.BytesIO()
        self._container = container
        self._file: OutputContainer | None = None
        self._packets: list[Packet[Any]] = []
        if picture is not None:
            self._packets += picture.add_to(self._open())

    def copy_audio(self, template: AudioStream, packets: Iterable[Packet[Any]]) -> None:
        """Add sound as it is; the packets' times count from the start of the clip."""
        stream = self._open().add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            self._packets.append(packet)

    def audio_encoder(self, codec: str, sample_rate: int, layout: str) -> AudioStream:
        """Open a track; encode into it and hand the packets to ``add_packets``."""
        stream = self._open().add_stream(codec, rate=sample_rate, layout=layout)
        assert isinstance(stream, AudioStream)
        return stream

    def add_packets(self, packets: Iterable[Packet[Any]]) -> None:
        """Take packets that the audio encoder gave."""
        self._packets.extend(packets)

    def finish(self) -> bytes | None:
        """The whole file; None where there is neither picture nor sound."""
        if self._file is None:
            return None
        for packet in sorted(self._packets, key=_decode_time):
            self._file.mux(packet)
        self._file.close()
        return self._buffer.getvalue()

    def _open(self) -> OutputContainer:
        """The file, which is begun where it was not yet."""
        if self._file is None:
            self._file = av.open(self._buffer, "w", format=self._container)
        return self._file


def _decode_time(packet: Packet[Any]) -> float:
    assert packet.dts is not None
    base = packet.time_base
    return packet.dts * base.numerator / base.denominator
