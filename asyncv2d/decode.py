"""The decode of a video: every frame that is needed, once, handed to everything that needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from av.video.frame import VideoFrame
from msgspec import Struct, field
from numpy.typing import NDArray

from asyncv2d.clips import SOON, KnownSpans, OpenTake, SceneSpans, Schedule
from asyncv2d.encode import Timing
from asyncv2d.filter_chain import ClipViews
from asyncv2d.frames import shown_frames
from asyncv2d.index import GapError, PacketIndex, Selection, choose
from asyncv2d.media import SAME_MOMENT, CutDetector, CutWatch, Span, split
from asyncv2d.plan import PictureWork, Plan, WholeSpans
from asyncv2d.probe import Media, from_start
from asyncv2d.repeats import find_repeats
from asyncv2d.small_view import SmallViews
from asyncv2d.stills import STILL_ROUNDING, StillTake
from asyncv2d.take import TICK_ROUNDING, Studio, Take
from asyncv2d.types import ItemError

# Where frames may come at any millisecond, headers call that the rate: 1000, or even 90000.
_PLAUSIBLE_RATE = 240
_FUZZ = 1e-6  # seconds: nearer than this to a frame's time, it or the one before may be shown
AnyTake = Take | StillTake
T = TypeVar("T", Take, StillTake)
_WHOLE = Span(0.0, float("inf"))


class Decoded(Struct):
    """What one decode of a video gave."""

    times: list[float] = field(default_factory=list)
    end: float = 0.0
    takes: Sequence[AnyTake] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Making(Struct, frozen=True):
    """What to make of a video while it is decoded.

    ``spans`` are the clips to make; None means every scene where cuts are clips, else the whole
    video. ``index`` and the times at which ``subtitles`` begin are what images are picked by;
    without a watch for cuts, the index also says which frames can be left out.
    """

    work: PictureWork
    spans: Sequence[Span] | None
    index: PacketIndex
    subtitles: Sequence[float] = ()


class _NoClips:
    """The schedule of a decode that only looks."""

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """Nothing to do."""

    def needs(self, start: float, end: float) -> bool:
        """No frame."""
        return False

    def finish(self, end: float) -> list[AnyTake]:
        """No clips."""
        return []


def decode_all(media: Media, plan: Plan, index: PacketIndex, making: Making | None) -> Decoded:
    """Decode the whole video: watch for cuts, and make clips where that is asked for.

    Raises ItemError (truncated or corrupt) where the video cannot be decoded to its end.
    """
    assert media.probe.video is not None
    repeats = None
    if plan.detector is not None and plan.detector.allows_gaps and _foresees(media, plan, making):
        repeats = find_repeats(index, media.probe.video)
    return _decode_selected(media, plan, index, making, repeats, plan.detector)


def _foresees(media: Media, plan: Plan, making: Making | None) -> bool:
    """Whether it is known which frames a clip shows before they are decoded.

    A scene is found when its first frame comes out of the decoder, which by then holds some more.
    """
    assert media.video is not None
    assert media.probe.video is not None
    if making is None:
        return True
    held = media.video.codec_context.has_b_frames + 2
    return plan.rate is not None and plan.rate * held < media.probe.video.rate


def decode_needed(media: Media, plan: Plan, making: Making) -> Decoded:
    """Make clips whose spans are known, decoding no more frames than they need.

    Of H.264 and HEVC these are the frames that are shown and those they refer to; of other codecs
    all up to the last one that is shown.

    Raises ItemError (truncated or corrupt) where those cannot be decoded.
    """
    assert media.probe.video is not None
    choice = choose(making.index, media.probe.video.codec, _wanted(plan, making))
    return _decode_selected(media, plan, making.index, making, choice, None)


def _decode_selected(
    media: Media,
    plan: Plan,
    index: PacketIndex,
    making: Making | None,
    selection: Selection | None,
    detector: CutDetector | None,
) -> Decoded:
    """Decode the selected frames; all of them if some that were left out are needed after all."""
    assert media.probe.video is not None
    may_select = selection is not None and not media.stamps_decoding
    tries = [selection, None] if may_select else [None]
    damage = len(media.damage)
    for chosen in tries:
        watch = None if detector is None else detector.watch(media.probe.video)
        try:
            return _decode(media, plan, index, making, chosen, watch)
        except (ItemError, GapError):
            if chosen is None:
                raise
            del media.damage[damage:]
    raise AssertionError("the last try returns or raises")


def _decode(
    media: Media,
    plan: Plan,
    index: PacketIndex,
    making: Making | None,
    selection: Selection | None,
    watch: CutWatch | None,
) -> Decoded:
    schedule = _NoClips() if making is None else _schedule(media, plan, making)
    efforts = None if selection is None else selection.efforts(schedule.needs)
    # Without a selection nothing else ends the decode before the file does.
    is_all_known = making is not None and watch is None and selection is None
    views = SmallViews()
    decoded, is_whole = Decoded(), selection is not None
    with from_start(media, media.video) as container:
        for frame, time, end in shown_frames(media, container, efforts):
            new_scene = False
            if watch is not None:
                number = len(decoded.times) if selection is None else selection.number(time)
                new_scene = watch.push(views(frame), number)
            if new_scene and selection is not None:
                selection.check_scene(time)
            schedule.show(frame, time, new_scene=new_scene)
            decoded.times.append(time)
            decoded.end = end
            if is_all_known and not schedule.needs(time, float("inf")):
                is_whole = True
                break
    if not decoded.times:
        raise ItemError(media.harm, "no frame of the video could be decoded")
    if selection is not None:
        selection.check(decoded.times)
        decoded.times = selection.times
    if decoded.times[-1] < index.end:  # else the packets have no times
        # Damage may end the decode early: the last frame stays until the next should have come.
        decoded.end = index.end if is_whole else index.end_of(decoded.times[-1])
    decoded.takes = schedule.finish(decoded.end)
    decoded.facts = watch.finish(decoded.times, decoded.end) if watch else {}
    return decoded


def _wanted(plan: Plan, making: Making) -> NDArray[np.float64]:
    """The times at which the clips of a job show what is on the screen."""
    shown = making.index.shown
    parts = [np.empty(0)]
    for span in making.spans if making.spans is not None else [_WHOLE]:
        for piece in split(plan.clipper, Span(span.start, min(span.end, making.index.end))):
            moments = _moments(plan, making, piece, shown)
            parts.append(moments)
            if making.work != "stills" or (moments < piece.start + SOON).any():
                first = np.searchsorted(shown, piece.start, side="right") - 1
                parts.append(shown[max(0, first) : first + 2])  # either may come first
    return np.concatenate(parts)


def _moments(
    plan: Plan, making: Making, piece: Span, shown: NDArray[np.float64]
) -> NDArray[np.float64]:
    times: NDArray[np.floating[Any]]
    if making.work == "stills":
        times = np.asarray(_still_moments(plan, making, piece), np.float64) + STILL_ROUNDING
    elif plan.rate is not None:
        count = int(piece.length * float(plan.rate) + 1)
        times = piece.start + (np.arange(count) + TICK_ROUNDING) / float(plan.rate)
    else:
        return shown[(shown >= piece.start - SAME_MOMENT) & (shown < piece.end)]
    return np.concatenate([times - _FUZZ, times + _FUZZ])


def _still_moments(plan: Plan, making: Making, span: Span) -> Sequence[float]:
    assert plan.stills is not None
    keyframes = [time for time in making.index.keyframe_times if span.start <= time < span.end]
    subtitles = [time for time in making.subtitles if span.start <= time < span.end]
    return plan.stills.moments(span, keyframes, subtitles)


def _schedule(media: Media, plan: Plan, making: Making) -> Schedule[Any]:
    if making.work == "stills":
        return _chosen_schedule(plan, making, _still_opener(media, plan, making))
    return _chosen_schedule(plan, making, _take_opener(media, plan, making.index))


def _chosen_schedule(plan: Plan, making: Making, open_take: OpenTake[T]) -> Schedule[T]:
    if making.spans is not None:
        return KnownSpans(making.spans, plan.clipper, open_take)
    if plan.detector is not None and plan.cuts_are_clips:
        longest = plan.detector.scenes == "longest"
        return SceneSpans(plan.clipper, open_take, longest_only=longest)
    return KnownSpans([_WHOLE], WholeSpans(), open_take)


def _take_opener(media: Media, plan: Plan, index: PacketIndex) -> OpenTake[Take]:
    assert media.probe.video is not None
    video = media.probe.video
    encoder = plan.output.encoder
    views = ClipViews(plan.filters, video.sample_aspect_ratio, encoder.pixel_format)
    timing = Timing(rate=plan.rate, source_rate=_source_rate(video.rate, index))
    studio = Studio(timing, encoder, plan.clipper.keeps)
    return lambda span: Take(span, studio, views.for_clip())


def _source_rate(said: Fraction, index: PacketIndex) -> Fraction:
    """Frames a second: what the header says, or the average where that cannot be."""
    if said <= _PLAUSIBLE_RATE or index.rate is None:
        return said
    return Fraction(index.rate).limit_denominator(1_000_000)


def _still_opener(media: Media, plan: Plan, making: Making) -> OpenTake[StillTake]:
    assert media.probe.video is not None
    assert plan.image_format is not None
    views = ClipViews(plan.filters, media.probe.video.sample_aspect_ratio, "bgr24")
    image_format = plan.image_format

    def open_take(span: Span) -> StillTake:
        whole = span if plan.detector else Span(span.start, min(span.end, making.index.end))
        return StillTake(span, _still_moments(plan, making, whole), views.for_clip(), image_format)

    return open_take
