"""URLs without the secrets they carry, for messages, logs and ledgers."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Without a scheme, because a search for that takes quadratic time; and sloppy as people are.
_OPENING = re.compile(r"""(?i):[/\\]+|(?<![^\s'"(=<])[/\\]{2,}|\bhttps?:[/\\]*""")
_IS_URL = re.compile(r"(?i)[\s\ufeff]*(?:[a-z][a-z0-9+.-]{0,30}:[/\\]+|https?:|[/\\]{2})")
_IS_BARE = re.compile(r"\s*[^\s/\\@:]+:[^\s/\\@]*@\S+\s*")  # user:password@host, no scheme
_OTHER_URL = re.compile(r"\s\S*:[/\\]")
_ADDRESS = re.compile(r"\[[0-9a-fA-F:.]*\]")

_PARAMETER = re.compile(r"[?&;#]([^?&;#=]*)=")
_IN_LIST = re.compile(r"(?:^|[~,|!*])([^?&;#~,|!*=]*)=")
_IN_QUOTED = re.compile(r"(?:^|[?&;#~,|!*])([^?&;#~,|!*=]*)=")
_SECRET = re.compile(
    r"""(?ix) token | signature | secret | passw | passphrase | passcode | credential
    | api[_-]?key | access[_-]?key | session[_-]?id | auth(?!ors?(?:$|[^a-z])) | hmac
    | hdn(?:ts|ea|tl)
    | (?<![a-z0-9]) (?:pass|pwd|pw|jwt) (?![a-z0-9])
    | (?:^|[\s\[.]) (?:sig|key|code|sid|sas|policy|key-pair-id|awsaccesskeyid|googleaccessid)
      (?=$|[\s\[\].])"""
)
_LONGEST_PORT = 5
_LONGEST_USER = 1000  # with the password, in the midst of a text
_LAYERS = 3  # of quoting that are looked through

_MAY_TELL = re.compile(r"[@?&;#]")  # most URLs have none of these, and are done with

# Among them what colours a terminal's text, or rings its bell; not what breaks lines.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """``text``, which others may have made, without what a terminal would obey."""
    return _CONTROL.sub("", text)


def redacted(url: str) -> str:
    """``url``, or a text with URLs in it, with credentials and signatures replaced by ``***``.

    Where a text begins with a URL, a secret may have blanks in it: rather too much is hidden.
    """
    if not _MAY_TELL.search(url):
        return url
    if _IS_BARE.fullmatch(url) and not _IS_URL.match(url):
        return f"***@{url.rpartition('@')[2]}"
    if not _OPENING.search(url):
        return url
    is_url = _IS_URL.match(url) is not None
    return _without_secrets(_without_users(url, is_url=is_url), "&#" if is_url else "&#\n\r\t ")


def said_about(url: str, text: str) -> str:
    """``text``, which a server or a driver said of ``url``, as a line without secrets.

    Those of ``url`` are looked for first: in what else is hidden, a part of them may be.
    """
    return " ".join(redacted(without_user(text, url)).split())


def without_user(text: str, url: str) -> str:
    """``text`` about ``url`` without the user and password that it names, wherever they stand."""
    users = _users(url)
    for user in users:
        text = text.replace(user, "***@")
    passwords = {user.partition(":")[2].removesuffix("@") for user in users}
    secrets = passwords | {unquote(password) for password in passwords}
    for secret in sorted(secrets - {""}, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "***")
    return text


def _users(url: str) -> list[str]:
    """What may be the user and password in ``url``, up to the @: there may be one in its path."""
    opening = _OPENING.search(url)
    if opening is None:
        return []
    start = opening.end()
    server = re.split(r"[/?#]", url[start:], maxsplit=1)[0]
    ends = {_end_of_user(url, start, is_url=True), start + server.rfind("@") + 1}
    return [url[start:end] for end in sorted(ends, reverse=True) if end > start]


def _without_users(text: str, *, is_url: bool) -> str:
    kept = []
    at, last = 0, text.rfind("@")
    while at <= last and (opening := _OPENING.search(text, at)):
        kept.append(text[at : opening.end()])
        at = opening.end()
        end = _end_of_user(text, at, is_url=is_url and len(kept) == 1)
        if end > at:
            kept.append("***@")
            at = end
    return "".join((*kept, text[at:]))


def _end_of_user(text: str, start: int, *, is_url: bool) -> int:
    """Where the user and password that begin at ``start`` end; -1 if there are none.

    In a password that was not quoted may be anything, also what ends a host.
    """
    stop = re.compile(r"[/?#]" if is_url else r"[/?#\s]").search(text, start)
    server = text[start : len(text) if stop is None else stop.start()]
    if "@" not in server:
        if _is_server(server):
            return -1
    elif not is_url:
        return start + server.rindex("@") + 1
    longest = len(text) if is_url else start + _LONGEST_USER
    other = None if is_url else _OTHER_URL.search(text, start, longest)
    return text.rfind("@", start, longest if other is None else other.start()) + 1 or -1


def _is_server(text: str) -> bool:
    """Whether it is a host, perhaps with a port, rather than a user and the start of a password."""
    name, colon, port = _ADDRESS.sub("localhost", text, count=1).partition(":")
    # A name that has no dot may as well be a user whose password begins with digits.
    is_host = "." in name or name.lower() == "localhost"
    return not colon or (is_host and port.isdecimal() and len(port) <= _LONGEST_PORT)


def _without_secrets(text: str, ends: str) -> str:
    """``text`` without the values of parameters whose names tell that they are secret."""
    kept = []
    at = 0
    whole = re.compile(f"[^{ends}]*")
    first = re.compile(f"[^{ends}?;]*")  # what follows in a value is looked at for itself
    while found := _PARAMETER.search(text, at):
        kept.append(text[at : found.end()])
        at = found.end()
        end = _end(whole, text, at) if _is_secret(found[1]) else at
        if end == at and _holds_secret(text[at : _end(first, text, at)]):
            end = _end(whole, text, at)
        if end > at:
            kept.append("***")
            at = end
    return "".join((*kept, text[at:]))


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    assert found is not None
    return found.end()


def _is_secret(name: str) -> bool:
    return _SECRET.search(_unquoted(name)) is not None


def _holds_secret(value: str) -> bool:
    """Whether a secret is in a value, such as hmac=… in a list, or a quoted URL's password."""
    plain = _unquoted(value)
    if plain == value:
        return any(map(_SECRET.search, _IN_LIST.findall(value)))
    if _OPENING.search(plain) and _without_users(plain, is_url=True) != plain:
        return True
    return any(map(_SECRET.search, _IN_QUOTED.findall(plain)))


def _unquoted(text: str) -> str:
    for _ in range(_LAYERS):
        text = unquote(text)
    return text
