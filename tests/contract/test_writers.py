"""What every writer promises; it runs by itself on each one that is installed."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncv2d.ports import ShardWriter, Writer
from asyncv2d.registry import load, names
from asyncv2d.types import Blob, LocalFile, Sample

KEEPING = [name for name in names("write") if name != "dummy"]
LEDGER = pa.table({"key": ["00000000_00000", "00000000_00001", "00000002"]})


@pytest.fixture(params=names("write"))
def kind(request: pytest.FixtureRequest) -> str:
    """Each format there is."""
    return cast(str, request.param)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Samples with small, large, empty and local parts, out of order."""
    (tmp_path / "local").write_bytes(b"of this machine" * 1000)
    (tmp_path / "spooled").write_bytes(b"large" * 300_000)
    spooled = Blob(1_500_000, path=tmp_path / "spooled")
    return [
        Sample("00000002", {"mp4": spooled, "json": Blob.of(b'{"a": 1}')}, {}),
        Sample("00000000_00001", {"mp4": LocalFile(tmp_path / "local"), "txt": Blob.of(b"")}, {}),
        Sample("00000000_00000", {"mp4": Blob.of(b"small"), "txt": Blob.of("é\n".encode())}, {}),
    ]


def writer(kind: str) -> Writer:
    """A writer of that format, for samples with video, sound and captions."""
    cls = load("write", kind)
    known = {"extensions": ["mp4", "m4a"], "captions": True}
    return cast(
        Writer, cls.model_validate({key: known[key] for key in known.keys() & cls.model_fields})
    )


def opened(kind: str, folder: Path) -> ShardWriter:
    """A shard writer in a new folder."""
    folder.mkdir()
    return writer(kind).open(folder, "00007")


def written(kind: str, folder: Path, samples: Sequence[Sample]) -> Mapping[str, bytes]:
    """The files of a shard of these samples, by their name in the dataset."""
    shard = opened(kind, folder)
    for sample in samples:
        shard.write(sample)
    return closed(shard, LEDGER)


def closed(shard: ShardWriter, ledger: pa.Table) -> Mapping[str, bytes]:
    """The files of a shard, by their name in the dataset."""
    found: dict[str, bytes] = {}
    for file in shard.close(ledger):
        assert file.path.exists()
        for path in file.path.rglob("*") if file.path.is_dir() else [file.path]:
            inside = path.relative_to(file.path)
            found[str(file.name if path == file.path else f"{file.name}/{inside}")] = (
                path.read_bytes()
            )
    return found


def test_the_same_samples_give_the_same_bytes(
    kind: str, tmp_path: Path, samples: list[Sample]
) -> None:
    """Nothing of the machine or the moment is written down."""
    first = written(kind, tmp_path / "a", samples)
    assert first == written(kind, tmp_path / "b", samples)


def test_files_are_named_after_the_shard(kind: str, tmp_path: Path, samples: list[Sample]) -> None:
    """So that shards do not overwrite each other."""
    assert all(name.startswith("00007") for name in written(kind, tmp_path / "a", samples))


def test_a_shard_without_samples(kind: str, tmp_path: Path) -> None:
    """Is written as well: every row may have failed."""
    written(kind, tmp_path / "a", [])


def test_abandoned(kind: str, tmp_path: Path, samples: list[Sample]) -> None:
    """Giving a shard up leaves no file open, and may be done twice."""
    shard = opened(kind, tmp_path / "a")
    shard.write(samples[0])
    shard.abandon()
    shard.abandon()
    handles = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert not [path for path in handles if tmp_path in path.parents]


def test_a_part_that_has_vanished(kind: str, tmp_path: Path) -> None:
    """Is an OSError, which the engine knows how to report, or does not matter."""
    shard = opened(kind, tmp_path / "a")
    gone = Sample("0", {"mp4": LocalFile(tmp_path / "gone")}, {})
    if kind != "dummy":
        with pytest.raises(FileNotFoundError):
            shard.write(gone)
    shard.abandon()


@pytest.mark.parametrize("kind", KEEPING)
def test_a_part_that_has_become_shorter(kind: str, tmp_path: Path) -> None:
    """Is an OSError too: what was promised to stand in the file cannot."""
    shard = opened(kind, tmp_path / "a")
    with pytest.raises(OSError, match="unexpected end of data"):
        shard.write(Sample("0", {"mp4": Blob(9, pieces=[b"short"])}, {}))
    shard.abandon()


PARTS = st.fixed_dictionaries(
    {"mp4": st.binary(max_size=2000)},
    optional={"m4a": st.binary(max_size=9), "txt": st.text().map(str.encode)},
)
CONTENTS = st.tuples(PARTS, st.sampled_from([1, 50]))


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Samples that were written for good, those that were lost, and those that came instead."""
    keys = iter(draw(st.permutations([f"{number:05d}" for number in range(9)])))
    kept, lost, later = (
        [
            Sample(next(keys), {name: Blob.of(data * times) for name, data in parts.items()}, {})
            for parts, times in draw(st.lists(CONTENTS, max_size=3))
        ]
        for _ in range(3)
    )
    again = lost[: draw(st.integers(0, len(lost)))]
    return kept, lost, [*again, *later]


@given(run=runs(), is_torn=st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_going_on(
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    run: tuple[list[Sample], list[Sample], list[Sample]],
    is_torn: bool,
) -> None:
    """After a kill another process goes on behind the last sample that counts.

    The result is the same as if nothing had happened, though more was written before the kill, the
    last of it perhaps in part, and though some of that does not come again.
    """
    kept, lost, later = run
    folder = tmp_path_factory.mktemp("run")
    keys = sorted([*(sample.key for sample in [*kept, *later]), "99999"])
    ledger = pa.table({"key": keys})
    shard, position = opened(kind, folder / "killed"), 0
    for sample in kept:
        position = shard.write(sample)
    for sample in lost:
        shard.write(sample)
    if is_torn:
        torn = Sample("88888", {"mp4": Blob(9, pieces=[b"short"])}, {})
        with suppress(OSError):
            shard.write(torn)
    shard.abandon()
    shard = writer(kind).open(folder / "killed", "00007", position)
    undisturbed = opened(kind, folder / "undisturbed")
    for sample in kept:
        undisturbed.write(sample)
    for sample in later:
        shard.write(sample)
        undisturbed.write(sample)
    assert closed(shard, ledger) == closed(undisturbed, ledger)


@pytest.mark.parametrize("kind", KEEPING)
def test_a_sample_outlives_the_process(kind: str, tmp_path: Path, samples: list[Sample]) -> None:
    """What is behind the position is no longer in the memory of this process."""
    shard = opened(kind, tmp_path / "a")
    for sample in samples:
        position = shard.write(sample)
        assert position in [path.stat().st_size for path in (tmp_path / "a").iterdir()]
    shard.abandon()


def test_a_position_in_vain(kind: str, tmp_path: Path, samples: list[Sample]) -> None:
    """A file that is not as long as it was cannot be gone on with."""
    shard = opened(kind, tmp_path / "a")
    position = shard.write(samples[0])
    shard.abandon()
    if kind in KEEPING:
        with pytest.raises(OSError, match="was to go on behind byte"):
            writer(kind).open(tmp_path / "a", "00007", position + 1)


def test_it_can_be_sent_to_another_process(kind: str) -> None:
    """Pickling gives an equal writer."""
    assert pickle.loads(pickle.dumps(writer(kind))) == writer(kind)


class TestWebdataset:
    """Tars."""

    def test_a_plain_reader(self, tmp_path: Path, samples: list[Sample]) -> None:
        """``tarfile`` finds every part under its key and extension, as it was."""
        folder = tmp_path / "a"
        written("webdataset", folder, samples)
        with tarfile.open(folder / "00007.tar") as archive:
            members = [(member.name, archive.extractfile(member)) for member in archive]
            found = {name: file.read() for name, file in members if file is not None}
        assert found == {
            f"{sample.key}.{extension}": body.read()
            for sample in samples
            for extension, body in sample.parts.items()
        }

    @given(name=st.text("01289_aé", min_size=1, max_size=120), size=st.integers(0, 9 << 30))
    def test_headers(self, name: str, size: int) -> None:
        """They are those that ``tarfile`` makes, for every name and size."""
        from asyncv2d_stages.write.webdataset import _entry, _header

        header = _header(Sample(name, {}, {}), "mp4", Blob(size))
        assert header == _entry(f"{name}.mp4", size).tobuf(tarfile.GNU_FORMAT)

    # it leaves its file to the garbage collector
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_webdataset_itself(self, tmp_path: Path, samples: list[Sample]) -> None:
        """The library whose format it is reads the same samples."""
        wds = import_module("webdataset")
        folder = tmp_path / "a"
        written("webdataset", folder, samples)
        found = list(wds.WebDataset([str(folder / "00007.tar")], shardshuffle=False))
        assert [sample["__key__"] for sample in found] == [sample.key for sample in samples]
        assert found[2]["mp4"] == b"small"
        assert found[2]["txt"].decode() == "é\n"

    def test_a_part_beyond_eight_gibibytes(self, tmp_path: Path) -> None:
        """Has a size that the old tar header cannot hold."""
        shard = opened("webdataset", tmp_path / "a")
        huge = Sample("0", {"mp4": Blob(9 << 30, pieces=[b"short"])}, {})
        with pytest.raises(OSError, match="unexpected end of data"):
            shard.write(huge)
        shard.abandon()


def test_files_lie_in_a_folder(tmp_path: Path, samples: list[Sample]) -> None:
    """``files`` makes one folder a shard with a file for each part."""
    assert written("files", tmp_path / "a", samples) == {
        f"00007/{sample.key}.{extension}": body.read()
        for sample in samples
        for extension, body in sample.parts.items()
    }
