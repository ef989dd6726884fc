"""A real SFTP server."""

from __future__ import annotations

import asyncio
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
    how many were open at a time. ``longest_read`` is how many bytes it sends at a time, and ``gap``
    where it says that the file ends though it does not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.asked: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.fault: tuple[str, int] | None = None
        self.open = self.most = 0
        self.longest_read = 1 << 20
        self.gap: int | None = None

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a file, with the user and the password that open it."""
        return f"sftp://me:p%40ss%20word@{host}:{self.port}/{path}"


class _Session(asyncssh.SSHServer):
    """One connection, whose user has to know the password."""

    def __init__(self, sftp: Sftp) -> None:
        self._sftp = sftp

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._sftp.asked.append(conn.get_extra_info("sockname")[0])
        self._sftp.connections.append(conn)
        self._sftp.open += 1
        self._sftp.most = max(self._sftp.most, self._sftp.open)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sftp.open -= 1

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
        data = super().read(file_obj, offset, min(size, self._sftp.longest_read))
        return data if isinstance(data, bytes) else await data


@asynccontextmanager
async def serving(folder: Path, hosts: Sequence[str] = ("127.0.0.1",)) -> AsyncIterator[Sftp]:
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
                sftp_factory=files,
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
