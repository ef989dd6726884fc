"""Where rows of unknown origin may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._hosts.safety import Policy
from asyncv2d_stages.fetch._http.urls import target

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

METADATA = (
    "metadata.google.internal",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "100.100.100.200",
)
LOCAL = (
    *("127.0.0.1", "localhost", "10.0.0.5", "192.168.1.1", "[::1]", "[fd12::1]", "nas.local"),
    *("[fec0::2]", "[64:ff9b:1::a00:1]", "[5f00::1]", "192.88.99.1"),
)
ODD = (
    *("2130706433", "0x7f000001", "0177.0.0.1", "127.1"),
    *("[::ffff:127.0.0.1]", "[2002:7f00:1::]", "[::7f00:1]"),
)
PUBLIC = ("example.org", "93.184.216.34", "[2606:2800:220:1::1]")


def cause(host: str, policy: Policy, *, from_local: bool) -> Cause | None:
    """Why a host is refused; None if it is not."""
    try:
        policy.check_host(target(f"http://{host}/a").host, from_local=from_local)
    except ItemError as error:
        return error.cause
    return None


class TestNames:
    """What a URL says by itself."""

    @pytest.mark.parametrize("host", METADATA)
    def test_the_clouds_secrets(self, host: str) -> None:
        """Are refused whatever is allowed."""
        for private in ("auto", "deny", "allow"):
            for from_local in (True, False):
                found = cause(host, Policy(private), from_local=from_local)
                assert found is Cause.FORBIDDEN_ADDRESS

    @pytest.mark.parametrize("host", LOCAL)
    def test_this_network(self, host: str) -> None:
        """Is open to rows that name it, and closed to redirects from elsewhere."""
        assert cause(host, Policy("auto"), from_local=True) is None
        assert cause(host, Policy("auto"), from_local=False) is Cause.FORBIDDEN_ADDRESS
        assert cause(host, Policy("deny"), from_local=True) is Cause.FORBIDDEN_ADDRESS
        assert cause(host, Policy("allow"), from_local=False) is None

    @pytest.mark.parametrize("host", ODD)
    def test_odd_forms(self, host: str) -> None:
        """Of private addresses are refused."""
        assert cause(host, Policy("auto"), from_local=True) is Cause.FORBIDDEN_ADDRESS

    def test_odd_forms_of_public_addresses(self) -> None:
        """Are no good URLs either: clients do not agree on what they mean."""
        assert cause("0x5db8d822", Policy("auto"), from_local=True) is Cause.BAD_URL

    @pytest.mark.parametrize("host", PUBLIC)
    def test_the_rest_of_the_world(self, host: str) -> None:
        """Is open."""
        for from_local in (True, False):
            assert cause(host, Policy("deny"), from_local=from_local) is None


@pytest.mark.anyio
class TestAnswers:
    """What a name turns out to be."""

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1"]
    )
    async def test_a_public_name_of_this_network(
        self, server: Server, downloads: Downloads, names: Names, address: str
    ) -> None:
        """Is refused before a connection is made."""
        names["rebound.example"] = [address]
        error = await downloads.failure(server.url_at("rebound.example", "ok/short.mp4"))
        assert error.cause is Cause.FORBIDDEN_ADDRESS
        assert error.attempts == 1
        assert not server.hits

    async def test_good_ones_among_bad(
        self, server: Server, downloads: Downloads, names: Names
    ) -> None:
        """Only the good addresses are used."""
        names["nas.local"] = ["169.254.169.254", "127.0.0.1"]
        await downloads.one(server.url_at("nas.local", "ok/short.mp4"))

    async def test_allowed(self, server: Server, downloads: Downloads, names: Names) -> None:
        """If the user says so."""
        names["public.example"] = ["127.0.0.1"]
        url = server.url_at("public.example", "ok/short.mp4")
        await downloads.one(url, private_addresses="allow")
        names["nas.local"] = ["127.0.0.1"]
        error = await downloads.failure(
            server.url_at("nas.local", "ok/short.mp4"), private_addresses="deny"
        )
        assert error.cause is Cause.FORBIDDEN_ADDRESS

    async def test_a_redirect(self, server: Server, downloads: Downloads) -> None:
        """From one local server to another is no trick; to the cloud's secrets it is."""
        other = server.address.replace("127.0.0.1", "localhost")
        await downloads.one(server.url(f"to?url={other}/ok/short.mp4"))
        error = await downloads.failure(server.url("to?url=http://169.254.169.254/latest"))
        assert error.cause is Cause.FORBIDDEN_ADDRESS
        assert error.facts["final_url"] == "http://169.254.169.254/latest"
