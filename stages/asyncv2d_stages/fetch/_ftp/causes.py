"""What a server's replies mean."""

from __future__ import annotations

import re

from msgspec import Struct

from asyncv2d.redact import said_about
from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.busy import BusyError

_LONGEST_TEXT = 300
_LOGIN_REFUSED = (430, 530, 532)
_NO_SUCH_FILE = (550, 553)
_PASSING = {425: Cause.CONNECT, 426: Cause.TRUNCATED, 434: Cause.CONNECT}
# Some servers refuse the login where others say that they take no more connections (421).
_CROWDED = re.compile(r"(?i)\b(?:too many|maximum)\b.{0,40}\b(?:connection|client|user)s?\b")
_FORBIDDEN = re.compile(r"(?i)\bpermission\b|\bdenied\b|\bnot (?:allowed|authori[sz]ed)\b")


class Reply(Struct, frozen=True):
    """A server's answer to a command."""

    code: int
    text: str

    @property
    def is_good(self) -> bool:
        """Whether what was asked is done."""
        return 200 <= self.code < 300

    @property
    def is_busy(self) -> bool:
        """Whether the server has too many connections, or is about to go down."""
        return self.code == 421 or (self.code == 530 and _CROWDED.search(self.text) is not None)


def refusal(reply: Reply, url: str) -> ItemError:
    """The error of a reply that is not what was hoped for; without the password in ``url``."""
    detail = f"FTP {reply.code} {said_about(url, reply.text)}"[:_LONGEST_TEXT]
    if reply.is_busy:
        return BusyError(Cause.HTTP_429, detail)
    return ItemError(_cause(reply.code, reply.text), detail)


def _cause(code: int, said: str) -> Cause:
    if code in _LOGIN_REFUSED or (code in _NO_SUCH_FILE and _FORBIDDEN.search(said)):
        return Cause.HTTP_403
    if code in _NO_SUCH_FILE:
        return Cause.NOT_FOUND
    if code >= 500:
        return Cause.HTTP_4XX
    if code >= 400:
        return _PASSING.get(code, Cause.HTTP_5XX)
    return Cause.CONNECT  # no answer to what was asked
