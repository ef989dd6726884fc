"""URLs: sent as they are, unless they cannot be."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.urls import target


@pytest.mark.parametrize(
    "url",
    [
        "http://host/a%2Fb%2fc?x=%20+;&y=a/b?c",
        "http://host:8080/~a/(b)/c'd!$*,=:@|{}",
        "https://host/100%/é".replace("é", "%C3%A9"),
        "http://u%40:p@host/",
        "http://[2001:db8::1]:8080/a",
        "http://under_score.host/a",
    ],
)
def test_as_they_are(url: str) -> None:
    """What is legal is not touched."""
    assert target(url).text == url
    assert str(target(url).as_yarl()) == url


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        (" http://host/a b\n", "http://host/a%20b"),
        ("HTTP://Host", "http://host/"),
        ("http://host/é?ü#part", "http://host/%C3%A9?%C3%BC"),
        ("http://host/\udce9", "http://host/%E9"),
        ('http://host/"<\\>', "http://host/%22%3C%5C%3E"),
        ("http://müller.example/", "http://xn--mller-kva.example/"),
        ("http://host/a\0b", "http://host/a%00b"),
    ],
)
def test_made_fit(url: str, sent: str) -> None:
    """What is not legal is quoted, byte by byte."""
    assert target(url).text == sent


@pytest.mark.parametrize(
    "url",
    [
        *("http://%", "http://a%20b/", "http://", "http:///a", "http://a b/", "http://a..b/"),
        *("http://[::1", "http://[fe80::1%25eth0]/", "http://host:x/", "http://host:99999/"),
        *("http://host:0/", "http://host/\ud800", "http://" + "a" * 64, "ftp://host/", "host/a"),
        "http://" + "a." * 127 + "a",
    ],
)
def test_bad(url: str) -> None:
    """Has a cause of its own."""
    with pytest.raises(ItemError) as caught:
        target(url)
    assert caught.value.cause is Cause.BAD_URL


def test_redirects() -> None:
    """Are relative to where they come from, and lose its user with its server."""
    first = target("http://u:p@host/a/b?c")
    assert first.redirected("d").text == "http://u:p@host/a/d"
    assert first.redirected("//other/e").text == "http://other/e"
    with pytest.raises(ItemError) as caught:
        first.redirected("ftp://host/")
    assert caught.value.cause is Cause.REDIRECTS


@given(password=st.text(min_size=3))
@example(password="pw/s3cr3t")
@example(password="s3cr3t#x:")
@example(password="a@s3cr3t b")
@example(password="a@[s3cr3t")
@example(password="a@s3cr3t\N{FULLWIDTH SOLIDUS}")
def test_no_password_is_told(password: str) -> None:
    """What is wrong with a URL is said without any part of its password."""
    url = f"http://user:{password}@host/path"
    try:
        target(url)
    except ItemError as error:
        message = error.detail
    else:
        return
    assume(password not in "the URL is malformed: its scheme is not http or https")
    assert password not in message
    assert "s3cr3t" not in message


def test_no_password_of_a_redirect_is_told() -> None:
    """Nor where it leads nowhere."""
    for location in ("http://u:s3cr3t/x@h/", "//u:s3cr3t@[h", "s3cr3t://u@h"):
        with pytest.raises(ItemError) as caught:
            target("http://host/").redirected(location)
        assert "s3cr3t" not in caught.value.detail
