"""Writes TFRecord shards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample, UserError
from asyncv2d_stages.write._example import LARGEST, Example, length_bytes, masked
from asyncv2d_stages.write._files import open_at

if TYPE_CHECKING:
    import pyarrow as pa


class TfrecordWriter(Settings):
    """One TFRecord file a shard, with a ``tf.train.Example`` for each sample.

    Its features are ``key``, each part by its extension, and the fields of the sample's JSON:
    integers and truth values as int64, other numbers as float (of 32 bits), lists of numbers as
    lists, text as bytes, anything else as JSON text; what is null or an empty list is left out. A
    field that has the name of a part is called ``input_NAME``.
    """

    @model_validator(mode="after")
    def _has_checksums(self) -> Self:
        """Say what is missing before the first download."""
        if find_spec("google_crc32c") is None:
            raise UserError(
                "output_format tfrecord needs one more package: pip install 'asyncv2d[tfrecord]'"
            )
        return self

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _RecordShard:
        """Begin the shard's file in ``folder``, or go on with it."""
        return _RecordShard(folder / f"{shard_name}.tfrecord", position)


class _RecordShard:
    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._file = open_at(path, position)

    def write(self, sample: Sample) -> int:
        """Append one sample."""
        from google_crc32c import extend, value

        example = Example(sample)
        if example.size > LARGEST:
            raise OSError(
                f"{sample.key} has {example.size} bytes, and a TFRecord example at most {LARGEST};"
                " cut the videos into clips, or use output_format webdataset"
            )
        length = length_bytes(example.size)
        self._file.write(length + masked(value(length)))
        crc = 0
        for chunk in example.chunks():
            crc = extend(crc, chunk)
            self._file.write(chunk)
        self._file.write(masked(crc))
        self._file.flush()
        return self._file.tell()

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Finish the file."""
        self._file.close()
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._file.close()
