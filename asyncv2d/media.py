"""What the decode engine and a subsampler say to each other: plain data and the possible roles.

A subsampler takes part in a job by having the methods of one or more roles below. The planner
asks for the role, never for the class, so a new subsampler needs no change here or in the engine.
All times are presentation times in seconds, counted from the start of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["low", "keyframe_adjusted", "exact"]
ImageFormat = Literal["jpg", "png", "webp"]
AudioExtension = Literal["m4a", "mp3", "wav", "flac", "opus"]
Picture: TypeAlias = "NDArray[np.uint8]"


SAME_MOMENT = 6e-4
"""Seconds: times that are so near to each other mean the same moment, one in milliseconds maybe."""


class Span(NamedTuple):
    """The half-open stretch of time [start, end), in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start


class Size(NamedTuple):
    """Width and height of a picture, in pixels."""

    width: int
    height: int


class ExactSize(NamedTuple):
    """Width and height at which a picture is to be seen: in square pixels, and not rounded."""

    width: Fraction
    height: Fraction


class FilterStep(NamedTuple):
    """One FFmpeg filter of a chain with its arguments, such as ``("crop", "224:224")``."""

    name: str
    args: str


class VideoInfo(Struct, frozen=True):
    """The facts of a video stream that are known without decoding it."""

    index: int
    codec: str
    size: Size
    sample_aspect_ratio: Fraction
    rate: Fraction


class AudioInfo(Struct, frozen=True):
    """The facts of an audio stream that are known without decoding it."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    has_extradata: bool


class Probe(Struct, frozen=True):
    """What a file's headers say. ``document`` has the field names of ffprobe's JSON."""

    duration: float | None
    video: VideoInfo | None
    audio: AudioInfo | None
    document: Mapping[str, Any]


class SmallView(Protocol):
    """A frame as small BGR pictures (h, w, 3), each about as wide as asked (pixels)."""

    def shrunk(self, width: int) -> Picture:
        """As OpenCV reads and shrinks it (bilinear, by a whole factor)."""

    def fitted(self, side: int) -> Picture:
        """The same with ``side`` pixels on its longer side; never enlarged."""

    def sampled(self, width: int) -> Picture:
        """Made of single pixels of the frame: several times cheaper, and rougher."""


class CutWatch(Protocol):
    """Sees every frame of one video in order and says where a new scene begins."""

    def push(self, view: SmallView, index: int) -> bool:
        """Take frame ``index``; True if a scene is known to begin at it.

        A detector that is not ``immediate`` may find out later, and tell at the end. Where it
        ``allows_gaps``, frames that only repeat others may be left out.
        """

    def finish(self, times: Sequence[float], end: float) -> Mapping[str, Any]:
        """After the last frame: the facts for the sample's JSON.

        ``times`` holds the presentation time of every frame, ``end`` the time the last one ends.
        """


@runtime_checkable
class Describer(Protocol):
    """Role: adds facts that need no decoding to each sample's JSON."""

    needs_headers: bool
    needs_keyframes: bool

    def describe(self, probe: Probe, keyframe_times: Sequence[float]) -> Mapping[str, Any]:
        """Facts from the headers; ``keyframe_times`` is empty unless ``needs_keyframes``.

        The last of them is when the video ends.
        """


@runtime_checkable
class CutDetector(Protocol):
    """Role: finds scenes. At most one in a job."""

    source: Literal["video", "metadata"]
    cuts_are_clips: bool
    scenes: Literal["all", "longest"]

    @property
    def immediate(self) -> bool:
        """Whether every scene is known when its first frame is seen."""

    @property
    def allows_gaps(self) -> bool:
        """Whether frames that only repeat others need not be seen."""

    def watch(self, video: VideoInfo) -> CutWatch:
        """Begin to watch one video."""


@runtime_checkable
class Clipper(Protocol):
    """Role: turns spans (scenes, or the row's clips) into the spans of the clips to make."""

    precision: Precision

    def pieces(self, start: float) -> Iterator[Span]:
        """The longest pieces a span that begins at ``start`` may be cut into, in order."""

    def keeps(self, piece: Span) -> bool:
        """Whether a piece, shortened where its span ended, is worth a clip."""


@runtime_checkable
class VideoFilter(Protocol):
    """Role: changes the picture."""

    def steps(self, size: Size) -> tuple[Size, Sequence[FilterStep]]:
        """For pictures of ``size``: the filters to apply and the size they give."""


@runtime_checkable
class Scaler(VideoFilter, Protocol):
    """Role: a filter that scales the picture before its steps.

    The engine does it, straight from the pixels that are stored, which need not be square.
    """

    def scaled(self, size: ExactSize) -> Size | None:
        """For a picture to be seen in ``size``: the size in pixels to give it; None: its own."""


@runtime_checkable
class Pacer(Protocol):
    """Role: sets a constant frame rate. At most one in a job."""

    @property
    def pace(self) -> Fraction | None:
        """Frames a second; None where this configuration leaves the rate alone."""


@runtime_checkable
class StillPicker(Protocol):
    """Role: makes images of single frames in place of a video. At most one in a job."""

    @property
    def image_format(self) -> ImageFormat | None:
        """Extension of the images; None where this configuration makes none."""

    @property
    def needs_end(self) -> bool:
        """Whether the end of a clip must be known before its first frame is picked."""

    @property
    def needs_subtitles(self) -> bool:
        """Whether the engine has to read the subtitles."""

    def moments(
        self, span: Span, keyframes: Sequence[float], subtitles: Sequence[float]
    ) -> Sequence[float]:
        """When to take an image, in order; each shows what is on the screen at that time.

        ``keyframes`` and ``subtitles`` are the times inside ``span`` at which there is a keyframe,
        and at which a subtitle begins. The end of ``span`` is infinite unless ``needs_end``.
        """


@runtime_checkable
class SoundShaper(Protocol):
    """Role: changes the sound. At most one in a job; None leaves a property as it is."""

    sample_rate: int | None
    n_audio_channels: int | None

    @property
    def audio_format(self) -> str | None:
        """Extension of the sound as a part of its own; None: what the job says."""


Subsampler = Describer | CutDetector | Clipper | VideoFilter | Pacer | StillPicker | SoundShaper


def split(clipper: Clipper, span: Span) -> Iterator[Span]:
    """Cut a span whose end is known into the pieces that ``clipper`` keeps."""
    for piece in clipper.pieces(span.start):
        shortened = Span(piece.start, min(piece.end, span.end))
        if shortened.length <= 0:
            return
        if clipper.keeps(shortened):
            yield shortened
        if piece.end >= span.end:
            return
