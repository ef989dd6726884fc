"""The filtered picture of a frame, as it goes to the encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from asyncv2d.geometry import even_size, filter_steps, scale_to, seen_size
from asyncv2d.media import ExactSize, FilterStep, Size, VideoFilter
from asyncv2d.orientation import Orientation, orientation

_RGB = 0  # AVCOL_SPC_RGB
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


class FilterChain:
    """Makes the picture to store: upright, square pixels, filtered, in ``pixel_format``.

    Colours in YUV are in limited range; sides are even, for colour is stored halved. The chain is
    built for the first frame and again whenever a frame's shape differs; all results have the size
    ``size``, or by default that of the first one.
    """

    def __init__(
        self,
        filters: Sequence[VideoFilter],
        sample_aspect_ratio: Fraction,
        pixel_format: str,
        size: Size | None = None,
    ) -> None:
        self._filters = filters
        self._aspect = sample_aspect_ratio
        self._pixel_format = pixel_format
        self._shape: tuple[int, int, str, Orientation, int, int] | None = None
        self._graph: Graph | None = None
        self.size = size

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The filtered frame; its timestamps have no meaning.

        Raises ItemError (cannot_encode) where it would be too large.
        """
        turned = orientation(frame)
        colours = frame.colorspace, frame.color_range
        shape = (frame.width, frame.height, frame.format.name, turned, *colours)
        if shape != self._shape:
            self._shape = shape
            self._graph = self._build(frame, turned)
        assert self._graph is not None
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, frame: VideoFrame, turned: Orientation) -> Graph:
        sizes = _sizes(frame, self._aspect, lies=turned.lies)
        size, filtered = filter_steps(self._filters, *sizes)
        steps = [*turned.steps, *filtered]
        self.size = self.size or even_size(size)
        if size != self.size:
            steps.append(scale_to(self.size))
        return _graph(frame, steps, self._pixel_format)


class ClipViews:
    """The filtered pictures of a video's frames, for its clips; arguments as of ``FilterChain``.

    All pictures of a clip have the size of its own first one. The last picture of each size is
    remembered, so clips that overlap share the work.
    """

    def __init__(
        self, filters: Sequence[VideoFilter], sample_aspect_ratio: Fraction, pixel_format: str
    ) -> None:
        self._filters = filters
        self._aspect = sample_aspect_ratio
        self._pixel_format = pixel_format
        self._views: dict[Size, _LastView] = {}

    def for_clip(self) -> Callable[[VideoFrame], VideoFrame]:
        """What makes the pictures of one clip; it raises as ``FilterChain`` does."""
        chosen: _LastView | None = None

        def view(frame: VideoFrame) -> VideoFrame:
            nonlocal chosen
            chosen = chosen or self._beginning_with(frame)
            return chosen(frame)

        return view

    def _beginning_with(self, frame: VideoFrame) -> _LastView:
        sizes = _sizes(frame, self._aspect, lies=orientation(frame).lies)
        size = even_size(filter_steps(self._filters, *sizes)[0])
        if size not in self._views:
            chain = FilterChain(self._filters, self._aspect, self._pixel_format, size)
            self._views[size] = _LastView(chain)
        return self._views[size]


class _LastView:
    def __init__(self, chain: FilterChain) -> None:
        self._chain = chain
        self._last: tuple[VideoFrame, VideoFrame] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._chain(frame)
        return self._last[1]


def _sizes(frame: VideoFrame, aspect: Fraction, *, lies: bool) -> tuple[Size, ExactSize]:
    """The frame's size once upright: in pixels of ``aspect``, and with those made square."""
    width, height = frame.width, frame.height
    seen = seen_size(Size(width, height), aspect)
    if lies:
        return Size(height, width), ExactSize(seen.height, seen.width)
    return Size(width, height), seen


def _source(frame: VideoFrame) -> str:
    """What comes in; without its matrix and range the filters would take both for unknown."""
    base = frame.time_base or Fraction(1)
    matrix = _RGB if frame.format.is_rgb else frame.colorspace
    return (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
        f":time_base={base.numerator}/{base.denominator}"
        f":colorspace={matrix}:range={frame.color_range}"
    )


def _to_limited_range(frame: VideoFrame, pixel_format: str) -> Sequence[FilterStep]:
    if frame.format.name == pixel_format and frame.color_range == _LIMITED_RANGE:
        return ()
    # Pixels in RGB have no matrix; that of HD is the usual one for what they become.
    matrix = ":out_color_matrix=bt709" if frame.format.is_rgb else ""
    return (FilterStep("scale", f"out_range=limited{matrix}"),)


def _graph(frame: VideoFrame, steps: Sequence[FilterStep], pixel_format: str) -> Graph:
    graph = Graph()
    graph.threads = 1  # parallelism is across videos
    last = graph.add("buffer", _source(frame))
    to_storage = [
        *_to_limited_range(frame, pixel_format),
        FilterStep("format", pixel_format),
        FilterStep("setsar", "1"),
        FilterStep("buffersink", ""),
    ]
    for name, args in (*steps, *to_storage):
        step = graph.add(name, args)
        last.link_to(step)
        last = step
    graph.configure()
    return graph
