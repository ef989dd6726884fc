"""TFRecord shards, read with the package of that name and its Protocol Buffers."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crc32c
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tfrecord import example_pb2

from asyncv2d.types import Blob, Body, LocalFile, Sample, UserError
from asyncv2d_stages.write.tfrecord import TfrecordWriter


def shard(folder: Path, *samples: Sample) -> Path:
    """The file of these samples."""
    opened = TfrecordWriter().open(folder, "00007")
    for sample in samples:
        opened.write(sample)
    (file,) = opened.close(pa.table({}))
    assert file.name == "00007.tfrecord"
    return file.path


def examples(path: Path) -> Iterator[dict[str, Any]]:
    """The features of each example; the checksums are right."""
    data = path.read_bytes()
    while data:
        head, (length,) = data[:8], struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for part, found in ((head, data[8:12]), (body, data[12 + length : 16 + length])):
            crc = crc32c.crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.pack("<I", masked) == found
        message = example_pb2.Example.FromString(body)
        yield {name: _value(feature) for name, feature in message.features.feature.items()}
        data = data[16 + length :]


def _value(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    return kind.removesuffix("_list"), list(getattr(feature, kind).value)


def features(folder: Path, record: dict[str, Any], **parts: bytes) -> dict[str, Any]:
    """The features of one sample."""
    bodies: dict[str, Body] = {name: Blob.of(data) for name, data in parts.items()}
    (found,) = examples(shard(folder, Sample("00", bodies, {"key": "00", **record})))
    return found


def test_features(tmp_path: Path) -> None:
    """Each value has the list that fits it; what says nothing is left out."""
    record = {
        "i": -5,
        "f": 0.5,
        "b": True,
        "s": "é",
        "none": None,
        "empty": [],
        "ints": [1, 2**62],
        "floats": [0.5, 1],
        "spans": [[1.0, 2.0]],
        "struct": {"a": "é"},
        "large": 2**70,
        "beyond": 1e300,
    }
    assert features(tmp_path, record, mp4=b"v", txt=b"c", json=b"{}") == {
        "key": ("bytes", [b"00"]),
        "mp4": ("bytes", [b"v"]),
        "txt": ("bytes", [b"c"]),
        "i": ("int64", [-5]),
        "f": ("float", [0.5]),
        "b": ("int64", [1]),
        "s": ("bytes", ["é".encode()]),
        "ints": ("int64", [1, 2**62]),
        "floats": ("float", [0.5, 1.0]),
        "spans": ("bytes", [b"[[1.0, 2.0]]"]),
        "struct": ("bytes", ['{"a": "é"}'.encode()]),
        "large": ("bytes", [b"1180591620717411303424"]),
        "beyond": ("float", [float("inf")]),
    }


def test_a_field_called_like_a_part(tmp_path: Path) -> None:
    """Stands beside it."""
    found = features(tmp_path, {"mp4": "x"}, mp4=b"v")
    assert (found["mp4"], found["input_mp4"]) == (("bytes", [b"v"]), ("bytes", [b"x"]))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(width=32, allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=8,
)


@given(parts=st.dictionaries(st.sampled_from(["mp4", "m4a"]), st.binary(max_size=300)), value=JSON)
@example(parts={}, value=[-1, 2**63 - 1, -(2**63)])
@example(parts={"mp4": b"x" * 17_000, "m4a": b""}, value=[True, 0.1])
def test_anything(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, bytes], value: Any
) -> None:
    """Whatever the record says, the real reader understands the message."""
    folder = tmp_path_factory.mktemp("any")
    found = features(folder, {"x": value}, **parts)
    for name, data in parts.items():
        assert found.pop(name) == ("bytes", [data])
    kind, values = found.get("x", (None, None))
    given_values = value if isinstance(value, list) else [value]
    if kind == "int64":
        assert values == given_values
    elif kind == "float":
        assert values == [struct.unpack("f", struct.pack("f", each))[0] for each in given_values]
    elif kind == "bytes":
        text = values[0].decode()
        assert text == value if isinstance(value, str) else json.loads(text) == value
    else:
        assert value is None or value == []


def test_large_parts(tmp_path: Path) -> None:
    """Are copied piece by piece."""
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20_000)
    sample = Sample("0", {"mp4": LocalFile(tmp_path / "large")}, {})
    (found,) = examples(shard(tmp_path, sample))
    assert found["mp4"] == ("bytes", [(tmp_path / "large").read_bytes()])


def test_too_large(tmp_path: Path) -> None:
    """No message can have 2 GiB, which is said in one line."""
    opened = TfrecordWriter().open(tmp_path, "00007")
    with pytest.raises(OSError, match=r"^0 has \d+ bytes, and a TFRecord example at most"):
        opened.write(Sample("0", {"mp4": Blob(3 << 30, pieces=[])}, {}))
    opened.abandon()


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told what to install."""
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(UserError, match=r"pip install 'asyncv2d\[tfrecord\]'"):
        TfrecordWriter()
