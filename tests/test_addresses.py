"""What an address can stand for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.addresses import Whose, filter_at, is_inside, is_possible, is_private

ANYWHERE = st.ip_addresses().map(str)

# An address, and whether it can be that of a public host, of the operator's own by DNS and by the hosts file, and of a
# proxy.
POSSIBLE = [
    ("203.0.113.7", True, True, True, True),
    ("2a01:111::7", True, True, True, True),
    ("198.18.0.7", True, True, True, True),
    ("fd00:1ab::7", True, True, True, True),
    ("10.1.2.3", True, True, True, True),
    ("64:ff9b::203.0.113.7", True, True, True, True),
    ("64:ff9b:1::7", True, True, True, True),
    ("127.0.0.1", False, False, True, True),
    ("::1", False, False, True, True),
    ("::ffff:127.0.0.1", False, False, True, True),
    ("64:ff9b::127.0.0.1", False, False, True, True),
    ("127.0.1.1", False, True, True, True),
    ("127.255.255.254", False, True, True, True),
    ("::127.0.0.2", False, True, True, True),
    ("169.254.0.1", False, True, True, True),
    ("fe80::1", False, True, True, True),
    ("fe80::1%eth0", False, True, True, True),
    ("240.0.0.1", False, True, True, True),
    ("146.112.61.104", False, True, True, True),
    ("0.0.0.0", False, False, False, False),  # noqa: S104
    ("0.0.0.9", False, False, False, False),
    ("::", False, False, False, False),
    ("::ffff:0.0.0.0", False, False, False, False),
    ("224.0.0.1", False, False, False, False),
    ("239.255.255.250", False, False, False, False),
    ("ff02::1", False, False, False, False),
    ("255.255.255.255", False, False, False, False),
    ("100::1", False, False, False, False),
    ("no address", False, False, False, False),
]


@pytest.mark.parametrize(("address", "public", "own", "listed", "proxy"), POSSIBLE)
def test_whose_host_can_have_an_address(address: str, public: bool, own: bool, listed: bool, proxy: bool) -> None:
    assert is_possible(address, Whose.PUBLIC) == public
    assert is_possible(address, Whose.PUBLIC, listed=True) == public
    assert is_possible(address, Whose.OWN) == own
    assert is_possible(address, Whose.OWN, listed=True) == listed
    assert is_possible(address, Whose.PROXY) == proxy


@pytest.mark.parametrize(
    ("address", "private"),
    [
        *((address, True) for address in ("10.0.0.0", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1")),
        *((address, True) for address in ("100.127.255.255", "fc00::1", "fdff::1", "fec0::1", "::ffff:10.0.0.1")),
        *((address, False) for address in ("9.255.255.255", "172.32.0.1", "192.169.0.1", "100.128.0.1", "fe80::1")),
        *((address, False) for address in ("198.18.0.1", "192.0.2.1", "127.0.0.1", "2001:db8::1", "", "name")),
    ],
)
def test_which_addresses_are_private(address: str, private: bool) -> None:
    assert is_private(address) == private


@given(ANYWHERE)
def test_whoever_is_nowhere_for_the_operator_is_nowhere_for_others(address: str) -> None:
    assert is_possible(address, Whose.OWN) or not is_possible(address, Whose.PUBLIC)
    assert is_possible(address, Whose.PROXY) or not is_possible(address, Whose.OWN)
    assert is_inside(address) or is_possible(address, Whose.PUBLIC)


@given(st.ip_addresses(v=4))
def test_an_address_within_an_address_counts(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        holding = str(IPv6Address(int(IPv6Address(prefix)) | int(address)))
        assert is_private(holding) == is_private(str(address))
        assert filter_at(holding) == filter_at(str(address))
        assert [is_possible(holding, whose) for whose in Whose] == [is_possible(str(address), whose) for whose in Whose]
