"""A real SFTP server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

USER, PASSWORD = "me", "p@ss word"


class Sftp:
    """Where it listens, the connections that came, and the addresses that they came to.

    ``fault`` is what it does, once so many bytes of a file were read: hang or hang up. ``most`` is
    how many were open at a time; it hangs up on those above ``most_taken``, and on the next
    ``turns_away``, once it told them its ``goodbye``, if it has one. ``longest_read`` is how many
    bytes it sends at a time, ``sizes`` how many it was asked for, and ``gap`` where it says that
    the file ends though it does not. ``size`` is what it says of a file without end, which it has
    instead of others. ``keys`` are those that it was offered, of which it takes those ``known``.
    ``opens_folders`` as if they were files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.asked: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.fault: tuple[str, int] | None = None
        self.open = self.most = 0
        self.most_taken: int | None = None
        self.turns_away = self.turned_away = 0
        self.goodbye: tuple[int, str] | None = None
        self.longest_read = 1 << 20
        self.sizes: list[int] = []
        self.keys: list[bytes] = []
        self.known: list[bytes] = []
        self.size: int | None = None
        self.gap: int | None = None
        self.opens_folders = False

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a file, with the user and the password that open it."""
        return f"sftp://me:p%40ss%20word@{host}:{self.port}/{path}"

    def is_too_many(self) -> bool:
        """Whether the connection that just came is one too many."""
        is_too_many = self.most_taken is not None and self.open > self.most_taken
        if self.turns_away:
            self.turns_away -= 1
            is_too_many = True
        self.turned_away += is_too_many
        return is_too_many


class _Session(asyncssh.SSHServer):
    """One connection, whose user has to know the password."""

    def __init__(self, sftp: Sftp) -> None:
        self._sftp = sftp

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._sftp.asked.append(conn.get_extra_info("sockname")[0])
        self._sftp.connections.append(conn)
        self._sftp.open += 1
        self._sftp.most = max(self._sftp.most, self._sftp.open)

        self._goodbye = self._sftp.goodbye
        self._is_too_many = self._sftp.is_too_many()
        if self._is_too_many and self._goodbye is None:
            conn.abort()

    def begin_auth(self, username: str) -> bool:
        if self._is_too_many and self._goodbye is not None:
            raise asyncssh.DisconnectError(*self._goodbye)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._sftp.open -= 1

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._sftp.keys.append(key.public_data)
        return key.public_data in self._sftp.known

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


class _Files(asyncssh.SFTPServer):
    """The files of a folder."""

    def __init__(self, sftp: Sftp, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(channel, chroot=str(sftp.folder).encode())
        self._sftp = sftp
        self._connection = sftp.connections[-1]
        self._is_faulty = False

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        self._sftp.sizes.append(size)
        fault, after = self._sftp.fault or ("", 0)
        if fault and offset >= after:
            self._is_faulty = True
            if fault == "hang up":
                self._sftp.fault = None
                self._connection.abort()
        if self._is_faulty:
            file_obj.close()
            await asyncio.get_running_loop().create_future()
        if offset == self._sftp.gap:
            return b""
        if self._sftp.size is not None:
            return bytes(size)
        data = super().read(file_obj, offset, min(size, self._sftp.longest_read))
        return data if isinstance(data, bytes) else await data

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        if self._sftp.opens_folders and Path(self.map_path(path).decode()).is_dir():
            return os.open(self.map_path(path), os.O_RDONLY)
        return super().open(path, pflags, attrs)

    def close(self, file_obj: Any) -> None:
        if isinstance(file_obj, int):
            os.close(file_obj)
        else:
            file_obj.close()

    def fstat(self, file_obj: Any) -> Any:
        if isinstance(file_obj, int):
            return os.fstat(file_obj)
        if self._sftp.size is None:
            return super().fstat(file_obj)
        return asyncssh.SFTPAttrs(size=self._sftp.size)


@asynccontextmanager
async def serving(
    folder: Path, hosts: Sequence[str] = ("127.0.0.1",), **options: Any
) -> AsyncIterator[Sftp]:
    """Serve the files of ``folder`` at the same port of all ``hosts``."""
    sftp = Sftp(folder)
    key = asyncssh.generate_private_key("ssh-ed25519")
    files = partial(_Files, sftp)
    servers: list[asyncssh.SSHAcceptor] = []
    try:
        for host in hosts:
            server = await asyncssh.listen(
                host,
                sftp.port,
                server_host_keys=[key],
                server_factory=partial(_Session, sftp),
                **{"sftp_factory": files, **options},
            )
            servers.append(server)
            sftp.port = server.get_port()
        yield sftp
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()
        for connection in sftp.connections:
            connection.abort()
            await connection.wait_closed()
