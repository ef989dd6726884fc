"""A real SFTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncssh

USER, PASSWORD = "me", "p@ss word"


class Sftp:
    """Where it listens, the connections that came, and the addresses that they came to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.asked: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []

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

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@asynccontextmanager
async def serving(folder: Path, hosts: Sequence[str] = ("127.0.0.1",)) -> AsyncIterator[Sftp]:
    """Serve the files of ``folder`` at the same port of all ``hosts``."""
    sftp = Sftp(folder)
    key = asyncssh.generate_private_key("ssh-ed25519")
    files = partial(asyncssh.SFTPServer, chroot=str(folder).encode())
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
