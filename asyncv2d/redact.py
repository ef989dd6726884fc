"""URLs without the secrets they carry, for messages, logs and ledgers."""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#]*@")
_SECRET = re.compile(
    r"""(?ix) ([?&;\#]
    (?: [a-z0-9_.~%-]* (?:token|signature|secret|passw(?:or)?d|credential|api[_-]?key|access[_-]?key
        |auth|session[_-]?id)[a-z0-9_.~%-]*
      | sig | key | pwd | hmac | jwt | sas | policy | key-pair-id | awsaccesskeyid
      | googleaccessid )
    =) [^&;\#\s]+"""
)

_MAY_TELL = re.compile(r"[@?&;#]")  # most URLs have none of these, and the search below is slow


def redacted(url: str) -> str:
    """``url``, or a text with URLs in it, with credentials and signatures replaced by ``***``."""
    if "://" not in url or not _MAY_TELL.search(url):
        return url
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", url))


def without_user(text: str, url: str) -> str:
    """``text`` about ``url`` without the user and password that it names, wherever they stand."""
    found = _USER.search(url)
    if found is None:
        return text
    user = found[0].removeprefix(found[1])  # up to the @
    password = user.partition(":")[2].removesuffix("@")
    text = text.replace(user, "***@")
    for secret in {password, unquote(password)} - {""}:
        text = text.replace(secret, "***")
    return text
