"""Puts the parts of a clip into one file: a finished picture, if any, and its sound."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet


class ClipFile:
    """A media file in memory that may get sound: beside a picture, or alone.

    ``picture`` is a finished silent file, which is copied; without sound it stays as it is.
    """

    def __init__(self, container: str, picture: bytes | None = None) -> None:
        self._picture = picture
        self._buffer = io.BytesIO()
        self._container = container
        self._silent: InputContainer | None = None
        self._file: av.container.OutputContainer | None = None
        self._sound: list[Packet[Any]] = []

    def copy_audio(self, template: AudioStream, packets: Iterable[Packet[Any]]) -> None:
        """Add sound as it is; the packets' times count from the start of the clip."""
        stream = self._open().add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            self._sound.append(packet)

    def audio_encoder(self, codec: str, sample_rate: int, layout: str) -> AudioStream:
        """Open a track; encode into it and hand the packets to ``add_packets``."""
        stream = self._open().add_stream(codec, rate=sample_rate, layout=layout)
        assert isinstance(stream, AudioStream)
        return stream

    def add_packets(self, packets: Iterable[Packet[Any]]) -> None:
        """Take packets that the audio encoder gave."""
        self._sound.extend(packets)

    def finish(self) -> bytes | None:
        """The whole file; None where there is neither picture nor sound."""
        if self._file is None:
            return self._picture
        picture: list[Packet[Any]] = []
        if self._silent is not None:
            picture = [packet for packet in self._silent.demux() if packet.size]
            for packet in picture:
                packet.stream = self._file.streams.video[0]
        for packet in sorted([*picture, *self._sound], key=_decode_time):
            self._file.mux(packet)
        self._file.close()
        if self._silent is not None:
            self._silent.close()
        return self._buffer.getvalue()

    def _open(self) -> av.container.OutputContainer:
        """Begin the file, with the picture's stream where there is one."""
        assert self._file is None
        self._file = av.open(self._buffer, "w", format=self._container)
        if self._picture is not None:
            self._silent = av.open(io.BytesIO(self._picture), "r")
            picture = self._silent.streams.video[0]
            copied = self._file.add_stream_from_template(picture, opaque=True)
            copied.codec_tag = picture.codec_tag
        return self._file


def _decode_time(packet: Packet[Any]) -> float:
    assert packet.dts is not None
    return packet.dts * packet.time_base.numerator / packet.time_base.denominator
