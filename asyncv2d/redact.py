"""URLs without the secrets they carry, for messages, logs and ledgers."""

from __future__ import annotations

import re

_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#]*@")
_SECRET = re.compile(
    r"""(?ix) ([?&;\#]
    (?: [a-z0-9_.~%-]* (?:token|signature|secret|passw(?:or)?d|credential|api[_-]?key|access[_-]?key
        |auth|session[_-]?id)[a-z0-9_.~%-]*
      | sig | key | pwd | hmac | jwt | sas | policy | key-pair-id | awsaccesskeyid
      | googleaccessid )
    =) [^&;\#\s]+"""
)


def redacted(url: str) -> str:
    """``url``, or a text with URLs in it, with credentials and signatures replaced by ``***``."""
    if "://" not in url:
        return url
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", url))
