"""Where is listened, and what is said where that cannot be."""

from __future__ import annotations

import socket
import sys

import pytest

from exporter.web.server import ListenError, listen

both = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6, or not both in one")


@both
@pytest.mark.parametrize("address", [":0", "[::]:0"])
def test_all_addresses_are_those_of_ipv4_too(address: str) -> None:
    with listen(address) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=10).close()


def test_one_address_is_only_that_one() -> None:
    with listen("127.0.0.1:0") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert listener.family is socket.AF_INET


def test_a_port_in_use_is_said_with_what_shows_whose_it_is() -> None:
    with listen("127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ListenError) as raised:
            listen(f"127.0.0.1:{port}")
    said = str(raised.value)
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert ("Get-NetTCPConnection" if sys.platform == "win32" else f"`ss -ltnp sport = :{port}`") in said
    assert "('" not in said


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:0", "this machine has no such address; give one of its own, or :PORT for all of them"),
        ("a..b:0", "the name is not known; give an address of this machine, or :PORT for all of them"),
        ("127.0.0.1", "'127.0.0.1' is not HOST:PORT, for example :10965 or 127.0.0.1:10965"),
        ("127.0.0.1:70000", "'127.0.0.1:70000' is not HOST:PORT, for example :10965 or 127.0.0.1:10965"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_said_with_its_remedy(address: str, words: str) -> None:
    with pytest.raises(ListenError) as raised:
        listen(address)
    assert str(raised.value).removeprefix(f"cannot listen on {address}: ") == words
