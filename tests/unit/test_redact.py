"""What of URLs may be shown to others."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from asyncv2d.redact import printable, redacted, said_about, without_user


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@host/a", "http://***@host/a"),
        ("http://user@host/a", "http://***@host/a"),
        ("http://us:p@ss@host/a", "http://***@host/a"),
        ("http://us er:pass@host/a", "http://***@host/a"),
        ("http://user:pa ss@host/a", "http://***@host/a"),
        ("http://user:pa\tss@host/a", "http://***@host/a"),
        ("http://user:pw/x@host/a", "http://***@host/a"),
        ("http://user:12/34@host/a", "http://***@host/a"),
        ("http://user:pw?x#@host/a", "http://***@host/a"),
        ("s3://key:secret@bucket/a", "s3://***@bucket/a"),
        (r"http:/\user:pw@host/a", r"http:/\***@host/a"),
        ("//user:pw@host/a", "//***@host/a"),
        ("http:user:pw@host/a", "http:***@host/a"),
        ("user:pw@host/a", "***@host/a"),
        ("http://host/?to=http://u:p@h/", "http://host/?to=http://***@h/"),
        ("http://host/?to=http%3A%2F%2Fu%3Ap%40h", "http://host/?to=***"),
        ("http://host/?to=http%253A%252F%252Fu%253Ap%2540h", "http://host/?to=***"),
    ],
)
def test_users(url: str, shown: str) -> None:
    """And their passwords are not, however malformed the URL is."""
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("token", "X-Amz-Security-Token", "X-Amz-Signature", "sig", "api_key", "key", "password"),
        *("pass", "pw", "user_pass", "token[]", "x[token]", "x[pw]", "to%6ben", "to%256ben"),
        *("code", "sid", "hdnts", "hdnea", "hmac", "authorization", "oauth_verifier"),
    ],
)
def test_parameters(name: str) -> None:
    """With the names of secrets keep these alone."""
    for start in ("?", "?a=b&", "?a=b;", "#", ";"):
        shown = redacted(f"http://host/a{start}{name}=s3cr3t more;and&b=1#c")
        assert shown.startswith(f"http://host/a{start}{name}=***")
        assert shown.endswith("&b=1#c")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/a?t=st=1~exp=2~hmac=s3cr3t", "http://host/a?t=***"),
        ("http://host/a?t=exp%3D2%26sig%3Ds3cr3t&b=1", "http://host/a?t=***&b=1"),
        ("http://host/a?to=http://h/?token=s3cr3t", "http://host/a?to=http://h/?token=***"),
    ],
)
def test_secrets_in_values(url: str, shown: str) -> None:
    """Hide the value that they are a part of, or what there is of it from them on."""
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "see http://u:p@h/ and http://h/?key=1 there",
            "see http://***@h/ and http://h/?key=*** there",
        ),
        ("cannot open http://u:p w@h/ now", "cannot open http://***@h/ now"),
        ("no such file: http:/u:p@h/a", "no such file: http:/***@h/a"),
        ("see 'https://h/?sig=x&b=1' there", "see 'https://h/?sig=***&b=1' there"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    """Keep all else that they say."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://host/a@b?c=1&monkey=2&author=me&country_code=de&keyframe=3",
        "https://site.example/@user/video/1",
        "https://cdn.example:443/a@2x.mp4?list=PL1&v=2",
        "http://127.0.0.1:8080/a@b",
        "http://[::1]:80/a@b",
        "http://[::1]/a@b",
        "/data/a@b;c=1.mp4",
        "no url: token=1",
        "written by someone@host.example: why?",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    """Is left as it is."""
    assert redacted(text) == text


@given(password=st.text())
@example(password="/")
@example(password="@h/x")
@example(password="12/34")
@example(password=" http://")
@example(password="a b;c\td\ne")
def test_no_password_is_shown(password: str) -> None:
    """Whatever characters it is made of."""
    assume(password not in "http://***@host/path")
    assert password not in redacted(f"http://user:{password}@host/path")


@given(secret=st.text(st.characters(exclude_characters="&#")))
@example(secret="a b;c=d")
def test_no_value_is_shown(secret: str) -> None:
    """Of a parameter that holds a secret, up to where it ends."""
    assume(secret not in "http://host/path?a=1&token=***&b=2")
    assert secret not in redacted(f"http://host/path?a=1&token={secret}&b=2")


@pytest.mark.parametrize(
    ("start", "middle", "end", "shown"),
    [
        ("http://h/x", "?a=", "?key=1", "?key=***"),
        ("http://h/", "//a", "@b", "@b"),
        ("see http://h/ ", "?key=1 ", "", "?key=*** "),
        ("http://h/?a=1#", ";b=", "&sig=1", "&sig=***"),
    ],
)
def test_long_texts(start: str, middle: str, end: str, shown: str) -> None:
    """Take no longer than their length makes them: strangers write them."""
    assert redacted(start + 50_000 * middle + end).endswith(shown)


def test_text_about_a_url() -> None:
    """Has no part of its password, quoted or not."""
    url = "sftp://user:a%2Fb c@host/x"
    assert (
        without_user("no a/b c for user:a%2Fb c@host, a%2Fb c", url) == "no *** for ***@host, ***"
    )
    assert without_user("no user:pw here", "sftp://host/x") == "no user:pw here"


LETTERS = "PQ019é€"  # none of those around the password
PASSWORDS = st.text(LETTERS + "/@:?#%&;='\"+, \t~", min_size=1).filter(set(LETTERS).intersection)


@given(password=PASSWORDS, safe=st.sampled_from(["", "@:", "!$&'()*+,;="]))
@example(password="P@Q:0/1", safe="")
@example(password="%25", safe="")
@example(password="0  1", safe="")
def test_what_a_server_says_about_a_url(password: str, safe: str) -> None:
    """Has no part of its password, however and wherever it is repeated."""
    quoted = quote(password, safe=safe)
    for path in ("x", "x@y"):
        url = f"sftp://me:{quoted}@h/{path}"
        for said in (password, quoted):
            assert said_about(url, f"login {said} is bad") == "login *** is bad"
            assert said_about(url, f"me:{said}@h is bad") in ("me:***@h is bad", "***@h is bad")
            assert (
                said_about(url, f"no login at sftp://me:{said}@h/") == "no login at sftp://***@h/"
            )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("HTTP 404 \x1b[31mNot\x1b[0m Found\a", "HTTP 404 Not Found"),
        ("\x1b]0;title\x07a\x9b2Jb\x7f", "]0;titlea2Jb"),
        ("Traceback:\n\ta [1] é ✓\r\n", "Traceback:\n\ta [1] é ✓\n"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Keeps lines and letters, and gives no orders to a terminal."""
    assert printable(text) == shown


@given(text=st.text())
def test_nothing_is_obeyed(text: str) -> None:
    """By whatever shows the text."""
    controls = {sign for sign in printable(text) if unicodedata.category(sign) == "Cc"}
    assert controls <= {"\n", "\t"}
