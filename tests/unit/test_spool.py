"""The spool: bodies within a byte budget, and nothing left behind."""

from __future__ import annotations

import fcntl
import shutil
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from asyncv2d import spool_folders as module
from asyncv2d.budget import ByteBudget
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders, spool_folders
from asyncv2d.types import INLINE_BYTES, Cause, ItemError, RunError, UserError

pytestmark = pytest.mark.anyio


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool in which a body may count three mebibytes."""
    folders = SpoolFolders(tmp_path / "fast", tmp_path / "large", 1 << 30)
    folders.fast.mkdir()
    folders.large.mkdir()
    return Spool(folders, ByteBudget(24 << 20), ByteBudget(100 << 20))


def left_in(spool: Spool) -> list[Path]:
    """The files of a spool."""
    return [*spool.folders.fast.iterdir(), *spool.folders.large.iterdir()]


async def test_a_small_body_stays_in_memory(spool: Spool) -> None:
    """No file is made, and closing gives the budget back, once."""
    async with spool.body() as body:
        await body.write(b"ab")
        await body.write(b"c")
        blob = await body.finish()
    assert (blob.size, blob.read(), blob.path) == (3, b"abc", None)
    assert spool.budget.used == 3
    blob.close()
    blob.close()
    assert spool.budget.used == 0


async def test_tiny_pieces_are_joined(spool: Spool) -> None:
    """A server that sends byte by byte costs no more memory than others once the body is there."""
    async with spool.body() as body:
        for number in range(1000):
            await body.write(bytes([number % 256]))
        blob = await body.finish()
    assert blob.read() == bytes(number % 256 for number in range(1000))
    assert blob.pieces is not None
    assert len(blob.pieces) == 1
    blob.close()


async def test_tiny_pieces_do_not_add_up_while_they_come(spool: Spool) -> None:
    """Each takes dozens of bytes beside its own."""
    size = 20_000
    tracemalloc.start()
    try:
        async with spool.body() as body:
            assert body.fits(size)
            for number in range(size // 2):
                await body.write(number.to_bytes(4, "big")[2:])
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * size


async def test_a_large_body_is_a_file(spool: Spool) -> None:
    """Its file holds every byte in order, and is gone once it is closed."""
    chunks = [bytes([number]) * 100_000 for number in range(25)]
    async with spool.body() as body:
        assert body.fits(2_500_000)
        for chunk in chunks:
            await body.write(chunk)
        blob = await body.finish()
    assert blob.path is not None
    assert blob.read() == b"".join(chunks)
    with blob.open() as file:
        assert file.read(1) == b"\0"
    assert spool.budget.used == 2_500_000
    blob.close()
    assert not left_in(spool)
    assert spool.budget.used == 0


@pytest.mark.parametrize("announced", [False, True])
async def test_a_body_beyond_its_share_goes_to_the_disk(spool: Spool, announced: bool) -> None:
    """It takes nothing of what others have in memory, but counts on the disk."""
    chunks = [bytes([number]) * INLINE_BYTES for number in range(30)]
    async with spool.body() as body:
        if announced:
            assert body.fits(30 * INLINE_BYTES)
        for chunk in chunks:
            await body.write(chunk)
        blob = await body.finish()
    assert blob.path is not None
    assert blob.path.parent == spool.folders.large
    assert blob.read() == b"".join(chunks)
    assert (spool.budget.used, spool.disk.used) == (0, 30 * INLINE_BYTES)
    blob.close()
    assert not left_in(spool)
    assert spool.disk.used == 0


async def test_a_transfer_never_waits_for_room_in_memory(spool: Spool) -> None:
    """One that grows where there is no more room goes on to the disk, and loses no byte."""
    async with spool.body() as body:
        await body.write(b"a" * 1_500_000)
        others = await spool.budget.lease(spool.budget.limit - spool.budget.used)
        with anyio.fail_after(10):
            await body.write(b"b" * 1_400_000)
        blob = await body.finish()
    assert blob.read() == b"a" * 1_500_000 + b"b" * 1_400_000
    assert blob.path is not None
    assert blob.path.parent == spool.folders.large
    blob.close()
    others.close()
    assert (spool.budget.used, spool.disk.used) == (0, 0)
    assert not left_in(spool)


@pytest.mark.parametrize("inline_bytes", [8 << 20, 64 << 20])
async def test_no_more_lies_in_memory_than_a_body_may_have(spool: Spool, inline_bytes: int) -> None:
    """What is too large for its share is a file, however much may stay in memory."""
    patient = Spool(spool.folders, spool.budget, spool.disk, inline_bytes)
    async with patient.body() as body:
        await body.write(b"a" * 2_900_000)
        small = await body.finish()
    async with patient.body() as body:
        await body.write(b"b" * 3_200_000)
        large = await body.finish()
    assert small.path is None
    assert large.path is not None
    assert (patient.budget.used, patient.disk.used) == (2_900_000, 3_200_000)
    small.close()
    large.close()
    assert not left_in(spool)


async def test_a_wait_for_the_disk_that_is_given_up(tmp_path: Path) -> None:
    """The body keeps what it has, and goes on where it was; no room is lost."""
    spool = Spool(
        SpoolFolders(tmp_path, tmp_path, 1 << 30), ByteBudget(8 << 20), ByteBudget(4 << 20)
    )
    others = await spool.disk.lease(4 << 20)
    async with spool.body() as body:
        await body.write(b"a" * 600_000)
        with anyio.move_on_after(0.01) as waiting:
            await body.write(b"b" * 600_000)
        assert waiting.cancelled_caught
        others.close()
        await body.write(b"c" * 600_000)
        blob = await body.finish()
    assert blob.read() == b"a" * 600_000 + b"b" * 600_000 + b"c" * 600_000
    blob.close()
    assert (spool.budget.used, spool.disk.used) == (0, 0)
    assert not left_in(spool)


async def test_what_does_not_fit_now_is_reserved(spool: Spool) -> None:
    """A body without room says so at once, holds nothing while it waits, and fits afterwards."""
    others = await spool.budget.lease(spool.budget.limit - INLINE_BYTES)
    async with spool.body() as body:
        assert not body.fits(2 * INLINE_BYTES)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(body.reserve, 2 * INLINE_BYTES)
            await anyio.wait_all_tasks_blocked()
            assert spool.budget.used == others.size
            others.close()
        assert body.fits(2 * INLINE_BYTES)
        assert spool.budget.used == 2 * INLINE_BYTES
    assert spool.budget.used == 0


async def test_first_bodies_leave_room_for_second_ones(spool: Spool) -> None:
    """Half of it: else all rows would have one body, and wait for the other."""
    size = 2 << 20
    with ExitStack() as stack:
        bodies = []
        while (first := spool.body_if_room(None, more_to_come=True)) is not None:
            body = stack.enter_context(first)
            if not body.fits(size):
                break
            bodies.append(body)
        assert len(bodies) == spool.budget.limit // 2 // size
        assert spool.body_if_room(size, more_to_come=True) is None
        await spool.has_room(size)
        second = spool.body_if_room(size)
        assert second is not None
        with second as body:
            assert body.fits(size)
    assert spool.budget.used == 0


@pytest.mark.parametrize("more_to_come", [False, True])
async def test_a_body_that_must_not_wait_grows_while_there_is_room(
    spool: Spool, more_to_come: bool
) -> None:
    """From memory to the disk, of which it leaves half if its row needs a further body."""
    limit = spool.disk.limit
    others = await spool.disk.lease(limit // 4)  # the oldest, which may take more than there is
    opened = spool.body_if_room(None, more_to_come=more_to_come)
    assert opened is not None
    with opened as body:
        size = 1 << 20
        while body.grows_to(size):
            await body.write(bytes(1 << 20))
            size += 1 << 20
        assert spool.budget.used == 0
        assert limit // 4 < spool.disk.used <= (limit // 2 if more_to_come else limit)
        assert len(left_in(spool)) == 1
        others.close()
        assert body.grows_to(size)  # it is the oldest now
    assert spool.disk.used == 0


async def test_what_can_never_fit_is_too_large(spool: Spool) -> None:
    """A body larger than the room on the disk fails its row, not the run."""
    async with spool.body() as body:
        with pytest.raises(ItemError) as caught:
            body.fits(spool.disk.limit + 1)
    assert caught.value.cause is Cause.TOO_LARGE


async def test_a_body_may_be_larger_than_its_loops_share(tmp_path: Path) -> None:
    """The oldest one may, for the disk has the room; what comes with it waits."""
    disk = ByteBudget(1 << 18)
    folders = SpoolFolders(tmp_path, tmp_path, 1 << 30)
    spool = Spool(folders, ByteBudget(1 << 16), disk, largest=1 << 20)
    async with spool.body() as body:
        if not body.fits(1 << 19):
            await body.reserve(1 << 19)
        assert body.fits(1 << 19)
        await body.write(bytes(1 << 19))
        (await body.finish()).close()
    assert disk.used == spool.budget.used == 0


async def test_a_body_without_end_is_too_large(tmp_path: Path) -> None:
    """It would fill the disk, of which others need some."""
    spool = Spool(
        SpoolFolders(tmp_path, tmp_path, 1 << 30), ByteBudget(1 << 16), ByteBudget(1 << 20)
    )

    async def write_for_ever() -> None:
        async with spool.body() as body:
            while True:
                await body.write(bytes(1 << 14))
                assert body.size <= spool.disk.limit

    with pytest.raises(ItemError) as caught:
        await write_for_ever()
    assert caught.value.cause is Cause.TOO_LARGE
    assert spool.disk.used == spool.budget.used == 0


async def test_what_is_usual_is_learnt(spool: Spool) -> None:
    """After some bodies of a size, so much is taken before the next one is asked for."""
    for _ in range(60):
        async with spool.body() as body:
            await body.write(b"x" * 5000)
            (await body.finish()).close()
    async with spool.body():
        assert spool.budget.used == pytest.approx(5000, rel=0.1)


@pytest.mark.parametrize("size", [10, 2 * INLINE_BYTES])
async def test_an_unfinished_body_is_dropped(spool: Spool, size: int) -> None:
    """A transfer that breaks leaves neither a file nor a share of the budget."""

    async def broken() -> None:
        async with spool.body() as body:
            await body.write(b"x" * size)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await broken()
    assert not left_in(spool)
    assert spool.budget.used == 0


async def test_cancelled_while_waiting(spool: Spool) -> None:
    """A body that is cancelled while it waits for its share leaves nothing behind."""
    lease = await spool.budget.lease(spool.budget.limit)
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            async with spool.body():
                raise AssertionError("there is no room")

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert spool.budget.used == lease.size
    lease.close()
    assert spool.budget.used == 0
    (await spool.budget.lease(spool.budget.limit)).close()


async def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    """No row is blamed for a temporary folder that cannot be written to."""
    folder, budget = tmp_path / "gone", ByteBudget(80 * INLINE_BYTES)
    gone = Spool(SpoolFolders(folder, folder, 1 << 30), budget, ByteBudget(1))
    async with gone.body() as body:
        await body.write(b"x" * 2 * INLINE_BYTES)
        with pytest.raises(RunError, match="cannot keep downloads: No such file"):
            await body.finish()
    assert gone.budget.used == 0


class TestFolder:
    """The folder of a run."""

    @pytest.fixture(autouse=True)
    def shared_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder that stands for /dev/shm, so that other runs are left alone."""
        folder = tmp_path / "shm"
        folder.mkdir()
        monkeypatch.setattr(module, "_SHARED_MEMORY", folder)
        return folder

    def test_on_shared_memory(self, shared_memory: Path, tmp_path: Path) -> None:
        """It lies there where there is room, and is gone afterwards with what is in it."""
        with spool_folders(tmp_path / "tmp", 1) as folders:
            assert folders.fast.parent == shared_memory
            assert folders.large.parent == tmp_path / "tmp"
            (folders.fast / "body").write_text("x")
            (folders.large / "body").write_text("x")
        assert not list(shared_memory.iterdir())
        assert not list((tmp_path / "tmp").iterdir())

    @pytest.mark.parametrize("missing", [False, True])
    def test_in_tmp_dir(self, shared_memory: Path, tmp_path: Path, missing: bool) -> None:
        """It lies in tmp_dir, which is made, where shared memory has no room or is not there."""
        if missing:
            shared_memory.rmdir()
        room = 1 if missing else shutil.disk_usage(shared_memory).total
        with spool_folders(tmp_path / "tmp" / "deep", room) as folders:
            assert folders.fast == folders.large
            assert folders.fast.parent == tmp_path / "tmp" / "deep"
        assert not list((tmp_path / "tmp" / "deep").iterdir())

    def test_what_a_killed_run_left(self, shared_memory: Path, tmp_path: Path) -> None:
        """Folders nobody holds are removed; those of living runs, and what is not ours, stay."""
        dead, alive, other = (
            shared_memory / name for name in ("asyncv2d-spool-a", "asyncv2d-spool-b", "other")
        )
        for folder in (dead, alive, other):
            folder.mkdir()
            (folder / "lock").write_text("locked\n")
            (folder / "body").write_text("x")
        with (alive / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with spool_folders(tmp_path, 1):
                pass
        assert sorted(path.name for path in shared_memory.iterdir()) == [
            "asyncv2d-spool-b",
            "other",
        ]

    def test_a_relative_tmp_dir(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paths are absolute, since they go to other processes and are compared."""
        monkeypatch.chdir(tmp_path)
        with spool_folders(Path("here"), 1) as folders:
            assert folders.large.is_absolute()
            assert folders.large.parent == tmp_path / "here"

    def test_two_at_once(self, tmp_path: Path) -> None:
        """Two runs have a folder each, and neither removes the other's."""
        with spool_folders(tmp_path, 1) as one, spool_folders(tmp_path, 1) as two:
            assert one != two
            assert one.fast.exists()

    def test_a_tmp_dir_that_is_a_file(self, shared_memory: Path, tmp_path: Path) -> None:
        """That is the user's mistake, said in a line."""
        shared_memory.rmdir()
        (tmp_path / "file").write_text("x")
        with (
            pytest.raises(UserError, match="file: cannot be the tmp_dir: File exists"),
            spool_folders(tmp_path / "file", 1),
        ):
            pass
