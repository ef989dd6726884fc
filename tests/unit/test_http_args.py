"""How files are asked for, as it is configured."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from asyncv2d.http_args import HttpArgs
from asyncv2d.problems import of_validation


@pytest.mark.parametrize(
    "proxy",
    [
        *("http://proxy", "http://127.0.0.1:3128", "https://us:p%40w@proxy.example:8443/"),
        *("socks5://127.0.0.1:1080", "socks5h://u:p@[::1]:1080", "socks4://proxy:1", None),
    ],
)
def test_proxies(proxy: str | None) -> None:
    """Are taken as they are written."""
    assert HttpArgs(proxy=proxy).proxy == proxy


@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        ("socks5://u:s3cr3t@127.0.0.1", "the proxy's port is missing, as in socks5://host:1080"),
        ("http://[::1", "no URL of a proxy: its host or its port cannot be read"),
        ("http://u:s3cr3t@h:abc", "no URL of a proxy: its host or its port cannot be read"),
        ("http://u:s3cr3t/@h:1", "no URL of a proxy: its host or its port cannot be read"),
        ("http://127.0.0.1:99999", "no URL of a proxy: its host or its port cannot be read"),
        ("http://127.0.0.1:0", "no URL of a proxy: port 0"),
        ("http://x y", "no URL of a proxy: it names no host"),
        ("http://", "no URL of a proxy: it names no host"),
        ("http://:s3cr3t@:1", "no URL of a proxy: it names no host"),
        (
            "ftp://u:s3cr3t@127.0.0.1",
            "a proxy's URL begins with one of: http, https, socks4, socks5, socks5h, and ://",
        ),
    ],
)
def test_no_proxies(proxy: str, text: str) -> None:
    """Are refused in a line, which does not tell the password."""
    with pytest.raises(ValidationError) as caught:
        HttpArgs(proxy=proxy)
    assert list(map(str, of_validation(caught.value, HttpArgs))) == [f"proxy: {text}"]


def test_ip_version() -> None:
    """May be written as a text."""
    assert HttpArgs.model_validate({"ip_version": "4"}).ip_version == 4
    assert HttpArgs.model_validate({"ip_version": 6}).ip_version == 6
    with pytest.raises(ValidationError) as caught:
        HttpArgs.model_validate({"ip_version": "5"})
    problems = of_validation(caught.value, HttpArgs)
    assert list(map(str, problems)) == ["ip_version: '5' is not allowed; expected 'auto', 4 or 6"]


@pytest.mark.parametrize(("host", "version"), [("127.0.0.1", 6), ("[::1]", 4)])
def test_a_proxy_of_the_other_version(host: str, version: int) -> None:
    """Could never be reached."""
    proxy = f"http://{host}:3128"
    for good in ({"ip_version": 10 - version}, {}):
        assert HttpArgs.model_validate({"proxy": proxy, **good}).proxy == proxy
    with pytest.raises(ValidationError) as caught:
        HttpArgs.model_validate({"proxy": proxy, "ip_version": version})
    problems = of_validation(caught.value, HttpArgs)
    assert list(map(str, problems)) == [
        f"ip_version: the proxy has an address of IPv{10 - version}"
    ]
