"""The configuration: video2dataset's file loads, mistakes are told all at once with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.config import Distribution, build, load
from asyncv2d.types import UserError

# The files that video2dataset ships: its default, and two of its examples.
DEFAULT = """\
subsampling: {}

reading:
    yt_args:
        download_size: 360
        download_audio_rate: 44100
        yt_metadata_args: null
    timeout: 60
    sampler: null

storage:
    number_sample_per_shard: 1000
    oom_shard_count: 5
    captions_are_subtitles: False

distribution:
    processes_count: 16
    thread_count: 16
    subjob_size: 1000
    distributor: "multiprocessing"
"""
MAIN = """\
subsampling:
    ResolutionSubsampler:
        args:
            video_size: 224
            resize_mode: "scale,crop,pad"
    FrameSubsampler:
        args:
            frame_rate: 5
    CutDetectionSubsampler:
        cuts_are_clips: True
        args:
            cut_detection_mode: "all"
            framerates: null
            threshold: 27
            min_scene_len: 15
    ClippingSubsampler:
        args:
            min_length: 4.0
            max_length: 20.0
            max_length_strategy: "all"
            precision: "keyframe_adjusted"
    FFProbeSubsampler:
        args:
            extract_keyframes: False
"""


def written(folder: Path, text: str) -> Path:
    """A file with that text."""
    path = folder / "cfg.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """What is wrong with a file, without its folder."""
    path = written(folder, text)
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("text", [DEFAULT, MAIN, DEFAULT.partition("\n")[2] + MAIN])
def test_files_of_video2dataset(tmp_path: Path, text: str) -> None:
    """Load as they are, with every value in its place."""
    config = build(load(written(tmp_path, text)))
    raw = yaml.safe_load(text)
    assert set(config.subsampling) == set(raw.get("subsampling") or {})
    for section in ("reading", "storage", "distribution"):
        dumped = getattr(config, section).model_dump()
        assert_holds(dumped, raw.get(section) or {})


def assert_holds(dumped: Mapping[str, Any], given_: Mapping[str, Any]) -> None:
    """What was given is there, at any depth."""
    for key, value in given_.items():
        if isinstance(value, Mapping):
            assert_holds(dumped[key], value)
        else:
            assert dumped[key] == value


@pytest.mark.parametrize("text", ["", "# nothing\n", "subsampling:\nreading: null\n", "{}"])
def test_an_empty_file_is_all_defaults(tmp_path: Path, text: str) -> None:
    """So are sections without content."""
    assert build(load(written(tmp_path, text))) == build({}) == build(load("default"))


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Each with its place, in the order of the file, and with a suggestion where there is one."""
    text = """\
subsampling:
    ResolutionSubsampler: {args: {video_size: big, resize_mode: scale, hight: 5}}
    Frame_Subsampler: {args: {frame_rate: 5}}
    CutDetectionSubsampler: {cuts_are_clip: True}
reading: {timeout: -1, yt_args: {download_sice: 1}}
storage: [1]
distribution: {distributor: multiprocesing, loops: 0}
distributon: {}
"""
    assert problems(tmp_path, text) == [
        "cfg.yaml:2:47: subsampling.ResolutionSubsampler.args.video_size:"
        " expected a whole number, not 'big'",
        "cfg.yaml:2:72: subsampling.ResolutionSubsampler.args.hight: unknown key;"
        " did you mean 'height'?",
        "cfg.yaml:3:5: subsampling.Frame_Subsampler: no subsampler is called 'Frame_Subsampler';"
        " did you mean 'FrameSubsampler'?",
        "cfg.yaml:4:30: subsampling.CutDetectionSubsampler.cuts_are_clip: unknown key;"
        " did you mean 'cuts_are_clips'?",
        "cfg.yaml:5:20: reading.timeout: should be greater than 0, not -1",
        "cfg.yaml:5:34: reading.yt_args.download_sice: unknown key; did you mean 'download_size'?",
        "cfg.yaml:6:10: storage: expected keys with values, not [1]",
        "cfg.yaml:7:29: distribution.distributor: 'multiprocesing' is not allowed;"
        " did you mean 'multiprocessing'?",
        "cfg.yaml:7:52: distribution.loops: should be greater than 0, not 0",
        "cfg.yaml:8:1: distributon: unknown key; did you mean 'distribution'?",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a\n", "cfg.yaml:1:1: expected sections such as 'subsampling' and 'reading'"),
        ("reading: {timeout: 1, timeout: 2}", "this key is given twice; keep one"),
        ("reading: {retries: 1, retries: x}", "expected a whole number, not 'x'"),
        ("a: [", "cfg.yaml:1:5: no valid YAML"),
        ("[a]: 1", "no valid YAML"),
        ("a: \0", "no valid YAML"),
        ("a: 2022-13-45", "no valid YAML: month must be in 1..12"),
        ("a: !!int x", "no valid YAML"),
        ("distribution: {distributor_args: &x {a: *x}}", "no valid YAML"),
        ("[" * 5000, "no valid YAML"),
        ("--- {}\n--- {}\n", "no valid YAML"),
        ("1: 2", "1: Keys should be strings, not 1"),
        ("reading: {timeout: .inf}", "reading.timeout: should be a finite number"),
        ("reading: {timeout: 2022-01-01}", "reading.timeout: expected a number"),
        ("storage: {number_sample_per_shard: 1.0e+30}", "number_sample_per_shard: "),
        ("distribution: {workers: 1000000}", "should be less than or equal to 1024"),
        ("distribution: {distributor: slurm}", "slurm is not available in this version"),
        ("storage: {encoder: {codec: av1, crf: 64}}", "crf goes from 0 to 63 for av1"),
        ("storage: {encoder: {codec: vp9, preset: medium}}", "preset for vp9 is one of: 0, 1, 2"),
        ("storage: {encoder: {codec: av1, pixel_format: yuv444p}}", "one of: yuv420p, yuv420p10le"),
        ("reading: {sampler: {a: 1}}", "reading.sampler: "),
        ("subsampling: [FrameSubsampler]", "expected names of subsamplers with their args"),
        ("subsampling: {FrameSubsampler: 5}", "FrameSubsampler: expected {args: {name: value, …}}"),
        ("subsampling: {FrameSubsampler: }", "FrameSubsampler: fps needs a frame_rate"),
        (
            "subsampling: {FrameSubsampler: {frame_rate: 5, args: {frame_rate: 6}}}",
            "frame_rate: this key is given beside args and inside; keep one",
        ),
    ],
)
def test_a_mistake(tmp_path: Path, text: str, line: str) -> None:
    """Is told in one line with what to do."""
    found = problems(tmp_path, text)
    assert any(line in problem for problem in found), found
    assert all("\n" not in problem for problem in found)
    assert all(problem.startswith("cfg.yaml:") for problem in found)


def test_merged_mappings(tmp_path: Path) -> None:
    """An anchor may be merged and its keys overridden: that is no key given twice."""
    text = "reading: &r {timeout: 5, retries: 1}\nstorage: {}\n"
    assert not yaml.safe_load(text)["storage"]
    text = "distribution: &d {loops: 1}\nreading:\n  <<: {timeout: 5, retries: 1}\n  timeout: 6\n"
    config = build(load(written(tmp_path, text)))
    assert (config.reading.timeout, config.reading.retries) == (6, 1)


def test_a_missing_file(tmp_path: Path) -> None:
    """Is told by its name."""
    with pytest.raises(UserError, match=r"none\.yaml: cannot read the configuration: No such"):
        load(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """Is told so."""
    path = tmp_path / "cfg.yaml"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match="not UTF-8 text"):
        load(path)


class TestOverrides:
    """``--set section.key=value``."""

    def test_over_the_file(self, tmp_path: Path) -> None:
        """They win over the file, and may name what it does not have; values are YAML."""
        raw = load(
            written(tmp_path, "reading: {timeout: 5}\nstorage:\n"),
            [
                "reading.timeout=7",
                "storage.oom_shard_count=3",
                "subsampling.FrameSubsampler.args.frame_rate=5",
                "distribution={loops: 1}",
            ],
        )
        config = build(raw)
        assert config.reading.timeout == 7
        assert config.storage.oom_shard_count == 3
        assert config.distribution.loops == 1
        assert list(config.subsampling) == ["FrameSubsampler"]

    def test_the_given_mapping_is_left_alone(self) -> None:
        """A mapping is not changed by overrides."""
        mine: dict[str, Any] = {"reading": {"timeout": 5}}
        load(mine, ["reading.timeout=7"])
        assert mine == {"reading": {"timeout": 5}}

    @pytest.mark.parametrize(
        ("override", "line"),
        [
            ("reading.timeout", "--set reading.timeout: expected section.key=value"),
            ("=5", "--set =5: expected section.key=value"),
            ("reading..timeout=5", "expected section.key=value"),
            ("reading.timeout=[", "--set reading.timeout: the value is no valid YAML"),
            (
                "reading.timeout=2022-13-45",
                "--set reading.timeout: the value is no valid YAML",
            ),
            ("reading.timeot=5", "--set reading.timeot: reading.timeot: unknown key; did you mean"),
            ("reading.timeout=", "--set reading.timeout: reading.timeout: expected a number"),
            ("reading=5", "--set reading: reading: expected keys with values, not 5"),
            ("reading.timeout.x=5", "--set reading.timeout.x: reading.timeout: expected a number"),
        ],
    )
    def test_a_mistake(self, tmp_path: Path, override: str, line: str) -> None:
        """Names the override it is in."""
        assert any(line in problem for problem in problems(tmp_path, "", override)), problems(
            tmp_path, "", override
        )

    @pytest.mark.parametrize(
        "override",
        [
            "reading.proxy=[http://me:s3cret@proxy:1",
            "reading.proxy=['http://me:s3cret@proxy:1']",
            "reading.headers.Authorization=[s3cret]",
            'reading.headers={"Authorization": "s3cret\\r\\n"}',
            "reading.yt_args.ydl_opts=s3cret",
        ],
    )
    def test_a_mistake_in_what_may_be_secret(self, tmp_path: Path, override: str) -> None:
        """Is told without the value."""
        told = problems(tmp_path, "", override)
        assert told
        assert "s3cret" not in str(told)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["subsampling", "reading", "storage", "distribution", "FrameSubsampler", "args", "timeout", ""]
)
NEAR = st.dictionaries(NAMES, st.dictionaries(NAMES, TREES, max_size=3) | TREES, max_size=4)


@given(content=NEAR | TREES)
def test_any_content(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a YAML file holds: it loads, or its mistakes are told in lines with places."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    found = [f"{path}:"]
    try:
        build(load(path))
    except UserError as error:
        found = list(error.problems)
    assert found
    assert all(problem.startswith(f"{path}:") for problem in found)


VALID = st.fixed_dictionaries(
    {},
    optional={
        "reading": st.fixed_dictionaries(
            {},
            optional={
                "timeout": st.floats(0.001, 1e9),
                "retries": st.integers(0, 100),
                "max_bytes": st.none() | st.integers(1, 1 << 60),
                "yt_args": st.none()
                | st.fixed_dictionaries({}, optional={"download_size": st.integers(1, 4320)}),
            },
        ),
        "storage": st.fixed_dictionaries(
            {},
            optional={
                "number_sample_per_shard": st.integers(1, 10**9),
                "oom_shard_count": st.integers(1, 18),
            },
        ),
        "distribution": st.fixed_dictionaries(
            {},
            optional={
                "processes_count": st.integers(1, 1024),
                "thread_count": st.integers(1, 1024),
                "loops": st.none() | st.integers(1, 1024),
                "workers": st.none() | st.integers(1, 1024),
                "distributor": st.sampled_from(["multiprocessing", "inline"]),
            },
        ),
        "subsampling": st.fixed_dictionaries(
            {},
            optional={
                "FrameSubsampler": st.fixed_dictionaries(
                    {"args": st.fixed_dictionaries({"frame_rate": st.integers(1, 120)})}
                ),
                "FFProbeSubsampler": st.none() | st.just({}),
            },
        ),
    },
)


@given(content=VALID)
def test_valid_content_round_trips(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is valid loads from YAML as from a mapping, and keeps every value."""
    path = tmp_path_factory.getbasetemp() / "valid.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load(path) == content
    config = build(load(path))
    assert config == build(content)
    for section in ("reading", "storage", "distribution"):
        dumped = getattr(config, section).model_dump(exclude_unset=True)
        assert dumped == content.get(section, {})


@given(
    processes=st.integers(1, 64), threads=st.integers(1, 64), loops=st.none() | st.integers(1, 16)
)
def test_downloads_in_flight(processes: int, threads: int, loops: int | None) -> None:
    """Those asked for, else 16 for each thread but 512 at most, or one for each thread if more."""
    settings = Distribution(processes_count=processes, thread_count=threads, loops=loops)
    assert settings.all_downloads == max(processes * threads, min(512, 16 * processes * threads))
    asked = Distribution(processes_count=processes, thread_count=threads, downloads=7)
    assert asked.all_downloads == 7


@given(downloads=st.integers(1, 5000), loops=st.none() | st.integers(1, 16))
def test_downloads_of_a_loop(downloads: int, loops: int | None) -> None:
    """Over all loops they are as many as asked for, rounded up to a whole number each."""
    settings = Distribution(downloads=downloads, loops=loops)
    total = settings.loop_downloads * settings.loop_count
    assert downloads <= total < downloads + settings.loop_count


@pytest.mark.parametrize(
    ("subsampling", "threads", "loops"),
    [
        ({}, 32, 8),
        ({}, 4, 1),
        ({"FFProbeSubsampler": {"args": {}}}, 32, 1),
    ],
)
def test_loops_for_files_that_are_stored_as_they_came(
    monkeypatch: pytest.MonkeyPatch, subsampling: dict[str, Any], threads: int, loops: int
) -> None:
    """All work is the loops' own then, so there is one for every core and 64 downloads."""
    monkeypatch.setattr("asyncv2d.config._cores", lambda: 8)
    distribution = {"processes_count": 1, "thread_count": threads}
    config = build({"subsampling": subsampling, "distribution": distribution})
    assert config.distribution.for_plan(config.plan()).loop_count == loops


def test_sixteen_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with 2 cores, 16 processes of video2dataset are 1 loop and 2 workers."""
    monkeypatch.setattr("asyncv2d.config._cores", lambda: 2)
    settings = Distribution(processes_count=16, thread_count=32)
    assert (settings.loop_count, settings.worker_count, settings.loop_downloads) == (1, 2, 512)
