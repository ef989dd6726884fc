"""All the work on one video, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
from msgspec.structs import replace

from asyncv2d.audio import Track, add_sound
from asyncv2d.audio_packets import sound_end
from asyncv2d.clips import in_groups
from asyncv2d.copying import can_copy, copy_clips
from asyncv2d.decode import Making, decode_all, decode_needed
from asyncv2d.encode import Receipt
from asyncv2d.frames import index_by_decoding
from asyncv2d.index import PacketIndex, read_index
from asyncv2d.media import Size, Span, VideoInfo, split
from asyncv2d.mux import ClipFile
from asyncv2d.picture import plays
from asyncv2d.plan import PictureWork, Plan
from asyncv2d.probe import WHAT_IS_TRUNCATED, Media, open_media
from asyncv2d.samples import Clip, SampleMaker
from asyncv2d.spans import read_cuts, read_spans
from asyncv2d.stills import StillTake
from asyncv2d.subtitles import Subtitle, read_subtitles
from asyncv2d.take import Take
from asyncv2d.task import Task
from asyncv2d.types import Blob, Cause, ItemError, Processed

_ANY_VIDEO = VideoInfo(0, "", Size(0, 0), Fraction(1), Fraction(25))
_WHOLE = Span(0.0, float("inf"))
# Containers (as FFmpeg calls what it reads) that are the format already, if the codec is right.
_SAME_FORMAT = {"m4a": "mov,mp4,m4a", "mp3": "mp3", "wav": "wav", "flac": "flac", "opus": "ogg"}
_SAME_CODEC = {"m4a": "aac", "mp3": "mp3", "wav": "pcm_s16le", "flac": "flac", "opus": "opus"}


def prepare(plan: Plan) -> None:
    """Import what only some plans need."""
    if plan.detector is not None:
        plan.detector.watch(_ANY_VIDEO)


def process(task: Task) -> Processed:
    """The samples of one video."""
    keep = task.plan.output.keep_damaged
    with ExitStack() as stack:
        media = stack.enter_context(open_media(task.body, keep_damaged=keep))
        sound = media
        if task.sound is not None:
            sound = stack.enter_context(open_media(task.sound, keep_damaged=keep))
        try:
            return _Work(task, media, sound).run()
        except ItemError as error:
            error.facts["frames_decoded"] = media.counter.frames
            raise


class _Work:
    def __init__(self, task: Task, media: Media, sound: Media) -> None:
        self._task = task
        self._plan = task.plan
        self._media = media
        self._sound = sound
        self._cuts: Sequence[Span] | None = None

    def run(self) -> Processed:
        for media in (self._media, self._sound):
            if media.truncated:
                media.damaged(ItemError(Cause.TRUNCATED, WHAT_IS_TRUNCATED))
        spans = self._given_spans()
        clipping = spans is not None or self._plan.cuts_are_clips
        work = self._picture_work(clipping=clipping)
        facts = self._describe()
        clips, found = self._clips(work, spans, clipping=clipping)
        facts |= found
        self._add_sound(clips, work, whole=not clipping)
        if self._media.damage:
            facts["damage"] = self._media.damage[0]
        maker = SampleMaker(self._task, lambda: self._subtitles)
        samples = [
            sample
            for number, clip in enumerate(clips)
            for sample in maker.samples(clip, facts, number if clipping else None)
        ]
        if not samples:
            raise ItemError(Cause.NO_CLIPS, self._why_no_clips(work, facts))
        return Processed(samples, {"frames_decoded": self._media.counter.frames})

    @cached_property
    def _index(self) -> PacketIndex:
        index = read_index(self._media)
        is_known = index.is_timed or self._media.video is None or self._media.stamps_decoding
        return index if is_known else index_by_decoding(self._media)

    @cached_property
    def _subtitles(self) -> Sequence[Subtitle]:
        return read_subtitles(self._task.metadata, self._media)

    def _given_spans(self) -> Sequence[Span] | None:
        """The spans of the clips to make, where they are known beforehand."""
        metadata = self._task.metadata
        if self._plan.output.subtitles_are_clips:
            if not self._subtitles:
                raise ItemError(
                    Cause.NO_CLIPS, "the video has no subtitles, and they are the clips"
                )
            return [subtitle.span for subtitle in self._subtitles]
        if self._plan.given_cuts is not None and self._plan.given_cuts.cuts_are_clips:
            scenes = self._stored_scenes()
            if self._plan.given_cuts.scenes == "longest":
                return [max(scenes, key=lambda scene: scene.length)]
            return scenes
        if self._plan.cuts_are_clips or metadata.get("clips") is None:
            return None
        return read_spans(metadata["clips"])

    def _stored_scenes(self) -> list[Span]:
        """The scenes that the row has already."""
        cuts, video = read_cuts(self._task.metadata.get("cuts")), self._media.probe.video
        rate, index = float(video.rate) if video is not None else 0.0, self._index
        return cuts.spans(index.shown.tolist(), index.end, rate)

    def _picture_work(self, *, clipping: bool) -> PictureWork:
        """What is done to the picture of this very file."""
        plan, media = self._plan, self._media
        work = plan.picture_work(clips=clipping)
        if media.video is None:
            if plan.detector is not None or (work != "none" and plan.audio_format is None):
                raise ItemError(Cause.NO_VIDEO_STREAM, _what_it_is(media, "video"))
            work = "none"
        if work == "none" and self._sound.audio is None and plan.audio_format is not None:
            raise ItemError(Cause.NO_AUDIO_STREAM, _what_it_is(self._sound, "sound"))
        if work == "untouched" and media.damage and not self._plays():
            raise ItemError(media.harm, "not even the first frame can be decoded")
        apart = self._sound is not media and plan.audio_format is None
        if work == "untouched" and (apart or self._task.assembled):
            work = "copied"  # into one file
        if work == "copied" and not can_copy(media, self._index):
            return "encoded"
        return work

    def _plays(self) -> bool:
        with self._task.body.open() as file:
            return plays(file)

    def _describe(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        keyframes: Sequence[float] = ()
        if any(describer.needs_keyframes for describer in self._plan.describers):
            index = self._index
            keyframes = [*index.keyframe_times, index.end] if self._media.video else ()
        for describer in self._plan.describers:
            facts |= describer.describe(self._media.probe, keyframes)
        return facts

    def _clips(
        self, work: PictureWork, spans: Sequence[Span] | None, *, clipping: bool
    ) -> tuple[list[Clip], Mapping[str, Any]]:
        """The clips with their pictures but without sound, and the facts that were found."""
        facts: Mapping[str, Any] = {}
        if self._plan.detector is not None:
            together = work in ("encoded", "stills") and not self._plan.needs_two_decodes
            together = together and len(self._groups(spans)) <= 1
            making = self._making(work, spans) if together else None
            decoded = decode_all(self._media, self._plan, self._index, making)
            facts = decoded.facts
            if together:
                return [_decoded_clip(take) for take in decoded.takes], facts
        if clipping and spans is None:
            spans = [Span(a, b) for a, b in facts["cuts_seconds"]]
        if work in ("encoded", "stills"):
            return self._decoded(work, spans), facts
        if work == "copied":
            return self._copied(spans if spans is not None else [_WHOLE]), facts
        if not clipping:
            return [Clip(_WHOLE)], facts
        pieces = self._pieces(spans or (), work)
        return [Clip(piece, _receipt(piece)) for piece in pieces], facts

    def _decoded(self, work: PictureWork, spans: Sequence[Span] | None) -> list[Clip]:
        makings = [self._making(work, group) for group in self._groups(spans)]
        done = [decode_needed(self._media, self._plan, making) for making in makings]
        clips = [_decoded_clip(take) for decoded in done for take in decoded.takes]
        return sorted(clips, key=lambda clip: clip.span)

    def _copied(self, spans: Sequence[Span]) -> list[Clip]:
        """The clips, copied as far as that shows what they are asked for; else encoded."""
        pieces = self._pieces(spans, "copied")
        copies = copy_clips(self._media, self._index, pieces, self._plan.clipper)
        clips = [Clip(receipt.real, receipt, picture) for picture, receipt in copies.made]
        encoded = self._decoded("encoded", copies.missed) if copies.missed else ()
        return sorted([*clips, *encoded], key=lambda clip: clip.asked)

    def _groups(self, spans: Sequence[Span] | None) -> Sequence[Sequence[Span] | None]:
        """The spans, or None for the whole video, in groups that are made in one pass each."""
        video = self._media.probe.video
        if spans is None or video is None:
            return [None]
        return in_groups(spans, self._plan.most_open(video))

    def _making(self, work: PictureWork, spans: Sequence[Span] | None) -> Making:
        stills = self._plan.stills
        picks_subtitles = stills is not None and stills.needs_subtitles
        starts = [subtitle.span.start for subtitle in self._subtitles] if picks_subtitles else ()
        return Making(work, spans, self._index, starts)

    def _end(self, work: PictureWork) -> float:
        """When what is cut ends: the picture, or the sound where no picture is asked for."""
        return sound_end(self._sound) if work == "none" else self._index.end

    def _pieces(self, spans: Iterable[Span], work: PictureWork) -> list[Span]:
        """The spans, cut to allowed lengths and to the end of the file, by their start."""
        end = self._end(work)
        within = (Span(span.start, min(span.end, end)) for span in spans)
        return sorted(piece for span in within for piece in split(self._plan.clipper, span))

    def _add_sound(self, clips: Sequence[Clip], work: PictureWork, *, whole: bool) -> None:
        """Give the clips their sound: beside the picture, and as a part of its own."""
        plan, tracks, owners = self._plan, list[Track](), list[tuple[Clip, str]]()
        for clip in clips:
            if clip.picture is not None:
                file = ClipFile("mp4", clip.picture)
                tracks.append(Track(clip.span, plan.sound_in_video, file, whole))
                owners.append((clip, "mp4"))
            if plan.audio_format is not None and not self._is_sound_already(clip, work):
                file = ClipFile(plan.sound_alone.format.container)
                tracks.append(Track(clip.span, plan.sound_alone, file, whole))
                owners.append((clip, plan.audio_format))
        if work == "untouched":
            clips[0].parts["mp4"] = self._task.body
        methods = add_sound(self._sound, tracks)
        for (clip, part), track, method in zip(owners, tracks, methods, strict=True):
            data = _finished(track.file)
            if data is not None:
                clip.parts[part] = Blob.of(data)
            if clip.receipt is not None and (part == "mp4" or clip.picture is None):
                clip.receipt = replace(clip.receipt, audio=method)

    def _is_sound_already(self, clip: Clip, work: PictureWork) -> bool:
        """Hand the file on as it is where it is just the sound that is asked for."""
        audio, extension = self._sound.probe.audio, self._plan.audio_format
        assert extension is not None
        container = self._sound.container
        same = (
            work in ("none", "untouched")
            and clip.span == _WHOLE
            and len(container.streams) == 1
            and audio is not None
            and self._plan.shaper is None
            and self._plan.output.encoder.audio_bitrate is None
            and container.format.name.startswith(_SAME_FORMAT[extension])
            and audio.codec == _SAME_CODEC[extension]
        )
        if same:
            clip.parts[extension] = self._task.sound or self._task.body
        return same

    def _why_no_clips(self, work: PictureWork, facts: Mapping[str, Any]) -> str:
        stills = self._plan.stills
        if stills is not None and stills.needs_subtitles and not self._subtitles:
            return "the video has no subtitles, and they are the moments to take images at"
        scenes = len(facts.get("cuts_seconds", ()))
        spans = f"the {scenes} scenes" if self._plan.cuts_are_clips else "the given spans"
        needed = "that has sound" if work == "none" else "in which a frame begins"
        if work == "copied" and self._plan.clipper.precision == "keyframe_adjusted":
            needed = "that begins and ends at keyframes"
        return (
            f"none of {spans} gives a clip of allowed length {needed}, within the"
            f" {self._end(work):.2f} s of the file"
        )


def _decoded_clip(take: Take | StillTake) -> Clip:
    if isinstance(take, StillTake):
        receipt = Receipt(take.span, take.span, len(take.images), take.span.length, "exact")
        return Clip(take.span, receipt, images=take.images)
    receipt = Receipt(take.span, take.real, take.frames, take.duration, "exact")
    return Clip(take.span, receipt, take.picture)


def _receipt(span: Span) -> Receipt:
    """The receipt of a clip of sound alone."""
    return Receipt(span, span, 0, span.length, "exact")


def _finished(file: ClipFile) -> bytes | None:
    try:
        return file.finish()
    except av.FFmpegError as error:  # sound that was copied from a damaged header
        raise ItemError(Cause.CORRUPT, f"a clip cannot be written: {error.strerror}") from error


def _what_it_is(media: Media, wanted: str) -> str:
    kinds = ", ".join(sorted({stream.type for stream in media.container.streams})) or "no"
    return f"the file has {kinds} streams only; this job makes {wanted}"
