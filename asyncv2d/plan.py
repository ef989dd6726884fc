"""From the configured subsamplers to the passes over a video that serve them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Literal, TypeVar

from msgspec import Struct, field

from asyncv2d.codecs import AUDIO_FORMATS, VIDEO_SOUND, AudioFormat, Encoder
from asyncv2d.geometry import filter_steps, seen_size
from asyncv2d.media import (
    Clipper,
    CutDetector,
    Describer,
    ImageFormat,
    Pacer,
    Precision,
    SoundShaper,
    Span,
    StillPicker,
    VideoFilter,
    VideoInfo,
)
from asyncv2d.sound import SoundShape
from asyncv2d.types import Modality, UserError

R = TypeVar("R")
PictureWork = Literal["none", "untouched", "copied", "encoded", "stills"]
_DEFAULT_AUDIO = "m4a"
# Measured with x264: 16 MB for an encoder of 224 × 224, and the frames it looks ahead at.
_OPEN_BYTES = 1 << 30
_ENCODER_BYTES = 16 << 20
_HELD_FRAMES = 60


class WholeSpans:
    """The clipper of a job that configures none: every span becomes one clip as it is."""

    precision: Precision = "low"

    def pieces(self, start: float) -> Iterator[Span]:
        """One piece without end."""
        yield Span(start, float("inf"))

    def keeps(self, piece: Span) -> bool:
        """Always."""
        return piece.length > 0


class Output(Struct, frozen=True):
    """What is written of each video, and how.

    ``encode_formats`` maps a modality to its extension; None: a video, and the sound beside it
    where a subsampler shapes it.
    """

    encode_formats: Mapping[str, str] | None = None
    encoder: Encoder = field(default_factory=Encoder)
    subtitles_are_clips: bool = False
    keep_damaged: bool = False


class Plan(Struct, frozen=True):
    """What is done to every video of a job; sent to the workers."""

    describers: Sequence[Describer]
    detector: CutDetector | None
    given_cuts: CutDetector | None
    clipper: Clipper
    filters: Sequence[VideoFilter]
    rate: Fraction | None
    stills: StillPicker | None
    shaper: SoundShaper | None
    output: Output

    @property
    def reads_media(self) -> bool:
        """Whether files are opened at all; else rows keep their metadata only."""
        makes = self.wants_picture or self.audio_format is not None
        return makes or self.detector is not None or self._needs_headers

    @property
    def keeps_files(self) -> bool:
        """Whether a video that is not to be cut is stored as it came, and nothing made of it."""
        makes = self.detector or self.given_cuts or self.audio_format
        cuts = self.output.subtitles_are_clips
        return self.picture_work(clips=False) == "untouched" and not (
            makes or cuts or self._needs_headers
        )

    @property
    def _needs_headers(self) -> bool:
        return any(describer.needs_headers for describer in self.describers)

    @property
    def modalities(self) -> frozenset[Modality]:
        """What of a video is of use: its picture, its sound, both, or neither."""
        found = set[Modality]()
        if self.wants_picture or self.detector is not None or self._needs_headers:
            found.add("video")
        if self.audio_format is not None or (self.wants_picture and self.stills is None):
            found.add("audio")
        return frozenset(found)

    @property
    def cuts_are_clips(self) -> bool:
        """Whether every scene that is found becomes a clip."""
        return self.detector is not None and self.detector.cuts_are_clips

    @property
    def video_format(self) -> str | None:
        """Extension of the video to write; None: no video."""
        formats = self.output.encode_formats
        return "mp4" if formats is None else formats.get("video")

    @property
    def audio_format(self) -> str | None:
        """Extension of the sound to write as a part of its own; None: no such part."""
        formats, shaper = self.output.encode_formats, self.shaper
        if formats is not None and "audio" not in formats:
            return None
        asked = shaper.audio_format if shaper else None
        return asked or (formats["audio"] if formats else _DEFAULT_AUDIO if shaper else None)

    @property
    def wants_picture(self) -> bool:
        """Whether moving or still pictures are written."""
        return self.video_format is not None

    @property
    def image_format(self) -> ImageFormat | None:
        """Extension of the images to write in place of a video; None: no images."""
        return self.stills.image_format if self.stills and self.wants_picture else None

    def picture_work(self, *, clips: bool) -> PictureWork:
        """What is done to the picture; ``clips`` says if the video is to be cut."""
        if not self.wants_picture:
            return "none"
        if self.stills is not None:
            return "stills"
        if self.filters or self.rate is not None:
            return "encoded"
        if clips:
            return "encoded" if self.clipper.precision == "exact" else "copied"
        return "untouched" if self.shaper is None else "copied"

    def most_open(self, video: VideoInfo) -> int:
        """How many clips of a video may be in the making at a time.

        An encoder holds the frames it looks ahead at, so a thousand clips that overlap would not
        fit into memory.
        """
        seen = seen_size(video.size, video.sample_aspect_ratio)
        size, _ = filter_steps(self.filters, video.size, seen)
        frame = size.width * size.height * 3 // 2
        return max(1, _OPEN_BYTES // (_ENCODER_BYTES + _HELD_FRAMES * frame))

    @property
    def sound_in_video(self) -> SoundShape:
        """How sound is written beside a picture."""
        encoder = self.output.encoder
        return self._shape(VIDEO_SOUND[encoder.audio_codec or "aac"], encoder.audio_codec)

    @property
    def sound_alone(self) -> SoundShape:
        """How sound is written as a part of its own."""
        assert self.audio_format is not None
        return self._shape(AUDIO_FORMATS[self.audio_format], None)

    def _shape(self, audio: AudioFormat, codec: str | None) -> SoundShape:
        rate = self.shaper.sample_rate if self.shaper else None
        channels = self.shaper.n_audio_channels if self.shaper else None
        return SoundShape(audio, codec, rate, channels, self.output.encoder.audio_bitrate)

    def passes(self, *, clips: bool) -> list[str]:
        """The passes over each video in words, in order; ``clips``: the table names clips."""
        clips = clips or self.output.subtitles_are_clips or self.given_cuts is not None
        work = self.picture_work(clips=clips or self.cuts_are_clips)
        lines = ["read the headers (no decoding)", *self._picture_passes(work, clips=clips)]
        if self.audio_format is not None:
            lines.append(
                f"read the sound: copy it into {self.audio_format} where it fits, else decode it"
                f" once and encode {self.audio_format}"
            )
        elif work == "encoded" or (work == "copied" and self.shaper is not None):
            lines.append("read the sound: copy it, or encode it where it cannot be copied")
        return lines

    def _picture_passes(self, work: PictureWork, *, clips: bool) -> Iterator[str]:
        made = {"encoded": "filter and encode", "stills": f"make {self.image_format} images"}
        if self.detector is not None:
            together = [made[work]] if work in made and not self.needs_two_decodes else []
            yield f"decode every video frame once: {', '.join(['find cuts', *together])}"
        if work in made and (self.detector is None or self.needs_two_decodes):
            where = " of the clips" if clips or self.detector else ""
            chosen = work == "stills" or self.rate is not None
            which = " that are shown, and those they refer to" if chosen else ""
            yield f"decode the frames{where}{which}: {made[work]}"
        if work == "copied":
            yield f"copy the streams of each clip ({self.clipper.precision}; no decoding)"

    @property
    def needs_two_decodes(self) -> bool:
        """Whether cuts must be known before the clips that they make can be begun."""
        if self.detector is None or not self.detector.cuts_are_clips:
            return False
        picks_late = self.stills is not None and self.stills.needs_end
        return picks_late or not self.detector.immediate


def make_plan(subsamplers: Iterable[object], output: Output | None = None) -> Plan:
    """Group subsamplers by role. Raises UserError where they do not go together."""
    stages = tuple(subsamplers)
    pacers = [stage for stage in stages if isinstance(stage, Pacer) and stage.pace]
    pickers = [stage for stage in stages if isinstance(stage, StillPicker) and stage.image_format]
    shapers = [stage for stage in stages if isinstance(stage, SoundShaper)]
    detectors = [stage for stage in stages if isinstance(stage, CutDetector)]
    clippers = [stage for stage in stages if isinstance(stage, Clipper)]
    pacer = _only(pacers, "set the frame rate")
    detector = _only(detectors, "detect cuts")
    given = detector is not None and detector.source == "metadata"
    plan = Plan(
        describers=[stage for stage in stages if isinstance(stage, Describer)],
        detector=None if given else detector,
        given_cuts=detector if given else None,
        clipper=_only(clippers, "cut clips") or WholeSpans(),
        filters=[stage for stage in stages if isinstance(stage, VideoFilter)],
        rate=pacer.pace if pacer else None,
        stills=_only(pickers, "make images"),
        shaper=_only(shapers, "change the sound"),
        output=output or Output(),
    )
    _check_sound(plan)
    return plan


def _check_sound(plan: Plan) -> None:
    """Raises UserError where the sound that is asked for cannot be stored as it is asked for."""
    if plan.shaper is None:
        return
    shapes = [(f"mp4 ({plan.output.encoder.audio_codec or 'aac'})", plan.sound_in_video)]
    if plan.audio_format is not None:
        shapes = [(plan.audio_format, plan.sound_alone)]
    name = type(plan.shaper).__name__
    for extension, shape in shapes:
        rates, layouts = shape.format.rates, shape.format.layouts
        if shape.sample_rate is not None and rates and shape.sample_rate not in rates:
            listed = ", ".join(str(rate) for rate in sorted(rates))
            raise UserError(f"subsampling: {name}: sample_rate for {extension} is one of: {listed}")
        if shape.channels is not None and layouts and shape.layout not in layouts:
            raise UserError(
                f"subsampling: {name}: {extension} cannot hold {shape.channels} channels; use 1 or"
                " 2, or another encode_format"
            )


def _only(found: Sequence[R], does: str) -> R | None:
    if len(found) > 1:
        names = " and ".join(type(stage).__name__ for stage in found)
        raise UserError(f"subsampling: {names} both {does}; keep one of them")
    return found[0] if found else None
