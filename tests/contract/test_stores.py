"""What every store promises: a local folder, fsspec's memory, and a real S3 server."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from asyncv2d.ports import WrittenFile
from asyncv2d.store import LocalStore, Store, open_store
from asyncv2d.types import RunError, UserError

if TYPE_CHECKING:
    from tests.conftest import S3Server

MIB = 1 << 20
BIG = 30 * MIB


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of each kind that is not there yet."""
    if request.param == "local":
        return str(tmp_path / "far" / "dataset")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/dataset"
    return str(request.getfixturevalue("s3_url"))


@pytest.fixture
def store(url: str) -> Store:
    """That folder, ready to be written."""
    store = open_store(url)
    store.prepare()
    return store


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str, bytes], WrittenFile]:
    """``made(name, data)`` is a finished file; a name with a slash lies in a folder."""
    folder = tmp_path / "work"
    folder.mkdir()

    def make(name: str, data: bytes) -> WrittenFile:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        first = name.partition("/")[0]
        return WrittenFile(folder / first, first)

    return make


Made = Callable[[str, bytes], WrittenFile]


class TestAllStores:
    """One suite for all."""

    def test_a_folder_that_is_not_there(self, url: str) -> None:
        """Has nothing in it."""
        store = open_store(url)
        assert store.names() == []
        assert store.read("a") is None
        with pytest.raises(FileNotFoundError):
            store.open("a")

    def test_prepared(self, store: Store) -> None:
        """A new folder is empty; preparing it again does no harm to what is there."""
        assert store.names() == []
        store.write("a", b"1")
        store.prepare()
        assert store.names() == ["a"]

    def test_what_is_written_is_read(self, store: Store, url: str) -> None:
        """Also by another process's store; writing again replaces."""
        store.write("a.json", b"first")
        store.write("empty", b"")
        store.write("a.json", b"second")
        assert open_store(url).read("a.json") == b"second"
        assert store.read("empty") == b""
        assert store.read("b.json") is None
        assert store.names() == ["a.json", "empty"]

    def test_publish(self, store: Store, made: Made) -> None:
        """Files become part of the dataset, instead of what was there."""
        store.write("0.tar", b"half of a shard that was longer")
        store.publish([made("0.tar", b"tar"), made("0.parquet", b""), made("0_stats.json", b"{}")])
        assert store.names() == ["0.parquet", "0.tar", "0_stats.json"]
        assert [store.read(name) for name in store.names()] == [b"", b"tar", b"{}"]

    def test_a_folder_is_published_as_a_whole(self, store: Store, made: Made) -> None:
        """What was in it before is gone."""
        made("0/a.mp4", b"old")
        store.publish([made("0/gone.mp4", b"old")])
        again = made("0/a.mp4", b"new")
        (again.path / "gone.mp4").unlink(missing_ok=True)
        store.publish([again, made("0_stats.json", b"{}")])
        assert store.names() == ["0", "0_stats.json"]
        assert store.read("0/a.mp4") == b"new"
        assert store.read("0/gone.mp4") is None

    def test_many_files_in_a_folder(self, store: Store, made: Made) -> None:
        """All of them arrive, those of inner folders too."""
        for number in range(50):
            made(f"0/{number % 3}/{number}.txt", str(number).encode())
        store.publish([made("0/last", b"")])
        assert store.names() == ["0"]
        assert all(
            store.read(f"0/{number % 3}/{number}.txt") == str(number).encode()
            for number in range(50)
        )

    def test_a_file_that_is_missing(self, store: Store, made: Made) -> None:
        """Publishing stops there: the mark, which is last, does not appear."""
        gone = made("0.tar", b"tar")
        gone.path.unlink()
        with pytest.raises(FileNotFoundError):
            store.publish([made("0.parquet", b"ledger"), gone, made("0_stats.json", b"{}")])
        assert store.names() == ["0.parquet"]

    def test_remove(self, store: Store, url: str, made: Made) -> None:
        """Deletes files and folders that are there, and nothing else."""
        names = [f"{number}.tar" for number in range(5)]
        for name in names:
            store.write(name, b"x")
        store.write("0.tar.bak", b"x")
        store.publish([made("folder/inner/a", b"1"), made("folder2/a", b"1")])
        store.remove([*names, "folder", "was never there"])
        ghosts = ["folder"] if url.startswith("s3://") else []  # this server's, not S3's
        assert [name for name in store.names() if name not in ghosts] == ["0.tar.bak", "folder2"]
        assert store.read("folder/inner/a") is None
        store.remove(["folder"])
        store.remove([])

    def test_parts_of_a_file(self, store: Store) -> None:
        """A file can be read from anywhere, as the reader of a ledger does."""
        data = os.urandom(MIB)
        store.write("a", data)
        with store.open("a") as file:
            assert file.seek(-10, os.SEEK_END) == MIB - 10
            assert file.read() == data[-10:]
            assert file.read(1) == b""
            file.seek(500_000)
            assert file.read(300_000) == data[500_000:800_000]
            file.seek(-300_000, os.SEEK_CUR)
            assert file.read(5) == data[500_000:500_005]

    def test_names_with_special_characters(self, store: Store) -> None:
        """Are names like others."""
        names = ["a b.txt", "ä%20.txt", "[1]*.txt"]
        for name in names:
            store.write(name, name.encode())
        assert store.names() == sorted(names)
        assert [store.read(name) for name in names] == [name.encode() for name in names]
        store.remove(["[1]*.txt"])
        assert store.names() == sorted(names[:2])


def test_a_big_file(s3_url: str, made: Made) -> None:
    """Goes to S3 in parts, in flat memory, and appears when it is whole."""
    data = os.urandom(BIG)
    file = made("0.tar", data)
    store = open_store(s3_url)
    store.write("0.tar", b"warm")
    tracemalloc.start()
    try:
        store.publish([file])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.8 * BIG
    assert store.read("0.tar") == data


def test_local_writing_leaves_nothing_aside(tmp_path: Path) -> None:
    """Also where it fails; and others may read what is written."""
    store = LocalStore(tmp_path)
    store.write("a", b"1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        store.write("folder", b"1")
    assert store.names() == ["a", "folder"]
    assert (tmp_path / "a").stat().st_mode & 0o444 == 0o444


def test_which_store(tmp_path: Path) -> None:
    """A path or file URL is local; only that has a folder on this machine."""
    assert open_store(str(tmp_path)).local_folder == tmp_path
    assert open_store(f"file://{tmp_path}").local_folder == tmp_path
    assert open_store("memory://a").local_folder is None


class TestMistakes:
    """One clear line each."""

    def test_no_such_scheme(self) -> None:
        with pytest.raises(UserError, match=r"^s4://a/b: Protocol not known: s4$"):
            open_store("s4://a/b")

    def test_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(_registry, "s3", raising=False)
        for module in ("s3fs", "adlfs"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=r"s3:// needs .* s3fs.*: pip install 'asyncv2d\[s3\]'"):
            open_store("s3://a/b")
        with pytest.raises(UserError, match=r"abfs:// needs .* adlfs.*: pip install adlfs$"):
            open_store("abfs://a/b")

    def test_no_bucket(self, s3_server: S3Server) -> None:
        with pytest.raises(UserError, match=r"^s3://: names no bucket$"):
            open_store("s3://")

    def test_a_bucket_that_is_not_there(self, s3_url: str, s3_server: S3Server) -> None:
        with pytest.raises(UserError) as caught:
            open_store("s3://no-such-bucket/a").prepare()
        assert str(caught.value) == (
            f"s3://no-such-bucket/a at {s3_server.address}: cannot be the output folder: The"
            " specified bucket does not exist"
        )

    def test_access_denied(
        self, s3_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To begin with it is a mistake; later on it ends the run. Reading still works."""
        open_store(s3_url).write("a", b"1")
        for name, value in s3_server.environment("reader").items():
            monkeypatch.setenv(name, value)
        store = open_store(s3_url)
        assert store.read("a") == b"1"
        with pytest.raises(UserError, match="cannot be the output folder: access denied: "):
            store.prepare()
        with pytest.raises(RunError, match=f"^{s3_url} at {s3_server.address}: access denied: "):
            store.write("a", b"2")

    def test_wrong_secret(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(UserError, match=r"access denied: .*signature"):
            open_store(s3_url).prepare()

    def test_no_credentials(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(UserError, match="access denied: Unable to locate credentials"):
            open_store(s3_url).prepare()

    def test_nobody_there(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(UserError) as caught:
            open_store(s3_url).prepare()
        assert len(str(caught.value).splitlines()) == 1
        assert "http://127.0.0.1:1" in str(caught.value)

    @pytest.mark.parametrize("below", ["", "/below"])
    def test_a_file_is_no_folder(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("mine")
        store = open_store(f"{tmp_path / 'file'}{below}")
        with pytest.raises(UserError, match="cannot be the output folder: "):
            store.prepare()

    def test_no_secrets_are_told(self) -> None:
        """A URL may hold a password, which a message should not."""
        for scheme in ("ftp", "s4"):
            with pytest.raises(UserError) as caught:
                open_store(f"{scheme}://me:sec@ret@127.0.0.1:1/a")
            assert str(caught.value).startswith(f"{scheme}://127.0.0.1:1/a: ")
            assert "ret@" not in str(caught.value)


class Flaky(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Memory whose next uploads fail as told: no real store gives a chosen error when asked to.

    All instances' fail alike, since fsspec makes its own.
    """

    protocol = "flaky"
    errors: ClassVar[list[Exception]] = []
    order: ClassVar[list[str]] = []

    def put_file(self, source: str, target: str, **options: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().put_file(source, target, **options)
        self.order.append(target.rpartition("/")[2])


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with such a driver, tried again without delay."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr("asyncv2d.remote_store._BACKOFF_S", 0)
    monkeypatch.setattr(Flaky, "errors", [])
    monkeypatch.setattr(Flaky, "order", [])
    return open_store(f"flaky://{uuid.uuid4().hex}")


class StatusError(Exception):
    """As drivers have them: no OSError, and the status in an attribute."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server says {status}")
        self.status = status


class TestPassingErrors:
    """Uploads are tried three times; some errors are final at once."""

    def test_it_passes(self, flaky: Store, made: Made) -> None:
        Flaky.errors[:] = [StatusError(503), TimeoutError("slow")]
        flaky.publish([made("a", b"1")])
        assert flaky.read("a") == b"1"

    def test_it_does_not(self, flaky: Store, made: Made) -> None:
        Flaky.errors[:] = [StatusError(500)] * 3
        with pytest.raises(OSError, match=r"^flaky://.*: the server says 500$"):
            flaky.publish([made("a", b"1"), made("b", b"1")])
        assert Flaky.order == []

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (OSError(errno.ENOSPC, "No space left"), "the store is full: "),
            (OSError(errno.EDQUOT, "Quota exceeded"), "the store is full: "),
            (StatusError(507), "the store is full: "),
            (PermissionError("revoked"), "access denied: revoked"),
            (StatusError(403), "access denied: "),
        ],
    )
    def test_final(self, flaky: Store, made: Made, error: Exception, says: str) -> None:
        Flaky.errors[:] = [error]
        with pytest.raises(RunError, match=says) as caught:
            flaky.publish([made("a", b"1")])
        assert not isinstance(caught.value, UserError)
        assert len(caught.value.problems) == 1

    def test_in_order(self, flaky: Store, made: Made) -> None:
        """The mark comes last, after all files of a folder."""
        names = [f"0/{number}" for number in range(20)]
        for name in names:
            made(name, b"x")
        Flaky.errors[:] = [StatusError(503)] * 2
        flaky.publish([made("0/0", b"x"), made("mark", b"x")])
        assert sorted(Flaky.order[:-1]) == sorted(name[2:] for name in names)
        assert Flaky.order[-1] == "mark"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_local_folder_that_is_full(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Ends the run, with one line."""

    def fail(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    file = made("a", b"1")
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RunError, match=f"^{tmp_path}: .*: {os.strerror(code)}$"):
        LocalStore(tmp_path).publish([file])


def test_a_process_ends(s3_url: str, s3_server: S3Server) -> None:
    """No thread or connection of a driver keeps it, or says anything."""
    code = (
        "import sys; from asyncv2d.store import open_store; store = open_store(sys.argv[1]);"
        " store.write('a', b'1'); print(store.names())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, s3_url],
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"['a']\n", "")


def test_fsspec_is_imported_only_for_urls() -> None:
    """A local run does not pay for it."""
    code = (
        "import sys; from asyncv2d.store import open_store; open_store('here').names();"
        " sys.exit('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
