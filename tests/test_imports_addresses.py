"""Ranges of addresses: asked fast, they say what asking each prefix would; and what files list of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import catalogue
from exporter.config import prefixes as reading
from exporter.config import settings as config
from exporter.config.documents import DocumentError
from exporter.config.prefixes import read_prefixes
from exporter.model.addresses import AddressRanges, collapsed
from exporter.model.vocabulary import Catalogue, CheckKey, Prefix, Target
from exporter.probe.runner import Network


# Few bits are drawn, so that prefixes and addresses often meet: all lie in two small corners of the two spaces.
def _prefix(drawn: tuple[bool, int, int]) -> Prefix:
    is_old, number, length = drawn
    if is_old:
        return IPv4Network((int(IPv4Address("198.18.0.0")) + number, 24 + length), strict=False)
    return IPv6Network((int(IPv6Address("2001:db8::")) + number, 120 + length), strict=False)


prefixes = st.tuples(st.booleans(), st.integers(0, 1023), st.integers(0, 8)).map(_prefix)
some_prefixes = st.lists(prefixes, max_size=12)
addresses = st.builds(
    lambda old, number: str(ip_address("198.18.0.0" if old else "2001:db8::") + number),
    st.booleans(),
    st.integers(0, 1100),
)


@given(some_prefixes, st.lists(addresses, max_size=20))
def test_ranges_hold_what_one_of_their_prefixes_holds(found: list[Prefix], asked: list[str]) -> None:
    ranges = AddressRanges(found)
    slowly = [any(ip_address(address) in prefix for prefix in found) for address in asked]
    assert [ranges.holds(address) for address in asked] == slowly


@given(some_prefixes, prefixes)
def test_ranges_cover_a_prefix_if_they_hold_each_of_its_addresses(found: list[Prefix], asked: Prefix) -> None:
    ranges = AddressRanges(found)
    assert ranges.covers(asked) == all(ranges.holds(str(address)) for address in asked)


@given(some_prefixes, st.randoms())
def test_ranges_are_the_same_in_whatever_order_and_number_their_prefixes_come(found: list[Prefix], chance: Any) -> None:
    again = [*found, *found]
    chance.shuffle(again)
    assert AddressRanges(again).prefixes == AddressRanges(found).prefixes == collapsed(AddressRanges(found).prefixes)


@given(some_prefixes)
def test_every_edge_of_a_prefix_is_held_and_its_neighbours_only_if_another_holds_them(found: list[Prefix]) -> None:
    ranges = AddressRanges(found)
    for prefix in ranges.prefixes:
        first, last = prefix.network_address, prefix.broadcast_address
        beside = [str(first - 1), str(last + 1)]
        assert ranges.holds(str(first))
        assert ranges.holds(str(last))
        assert [ranges.holds(a) for a in beside] == [any(ip_address(a) in p for p in found) for a in beside]


@pytest.mark.parametrize("host", ["", "a.example", "198.18.0.0/24", "256.1.1.1", "fe80::1%eth0", "::ffff:198.18.0.1"])
def test_what_is_no_address_of_the_space_is_not_held(host: str) -> None:
    assert not AddressRanges([ip_network("198.18.0.0/15")]).holds(host)


def test_the_ends_of_the_spaces_belong_to_them() -> None:
    whole = AddressRanges([ip_network("0.0.0.0/0"), ip_network("::/0")])
    assert all(map(whole.holds, ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]))  # noqa: S104 - no server listens
    assert not AddressRanges()


# ---------------------------------------------------------------- files


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "ranges.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_lists_a_prefix_or_an_address_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff# Ours\r\n\r\n198.18.0.7/24  # with host bits\r\n 2001:db8::1\n198.18.1.0/24")
    assert list(map(str, read_prefixes(path))) == ["198.18.0.0/24", "2001:db8::1/128", "198.18.1.0/24"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: the file lists no prefix; write one a line, such as 198.51.100.0/24"),
        ("# nothing\n\n", "1: the file lists no prefix; write one a line, such as 198.51.100.0/24"),
        (
            "198.18.0.0/15\n\nmail.example\n",
            "3: expected a prefix such as 198.51.100.0/24 or 2001:db8::/32, or an address, found 'mail.example'",
        ),
        (
            "198.18.0.0/33",
            "1: expected a prefix such as 198.51.100.0/24 or 2001:db8::/32, or an address, found '198.18.0.0/33'",
        ),
        (b"198.18.0.0/15\n\xff", "2: the byte 0xff is not UTF-8; save the file in UTF-8"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DocumentError) as refused:
        read_prefixes(path)
    assert str(refused.value) == f"{path}:{said}"


def test_a_file_of_another_kind_is_refused_in_few_words(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as refused:
        read_prefixes(written(tmp_path, "<td>\n" * 5000))
    assert len(refused.value.mistakes) == 20


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 20)
    with pytest.raises(DocumentError, match="cannot be read: it holds more than 20 bytes"):
        read_prefixes(written(tmp_path, "198.18.0.0/15\n" * 2))


# ---------------------------------------------------------------- the configuration


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return catalogue.load()


def test_the_configuration_joins_the_ranges_of_all_its_files(tmp_path: Path, shipped: Catalogue) -> None:
    (tmp_path / "one.txt").write_text("198.18.0.0/16\n2001:db8::/32\n")
    (tmp_path / "two.txt").write_text("198.19.0.0/16\n")
    path = tmp_path / "exporter.yaml"
    path.write_text("address_ranges: [one.txt, two.txt]\n")
    assert list(map(str, config.load(path, shipped).address_ranges)) == ["198.18.0.0/15", "2001:db8::/32"]


def test_what_is_wrong_with_the_files_of_ranges_is_told_at_once(tmp_path: Path, shipped: Catalogue) -> None:
    (tmp_path / "bad.txt").write_text("198.18.0.0/15\nnothing\n")
    path = tmp_path / "exporter.yaml"
    path.write_text("address_ranges:\n  - absent.txt\n  - bad.txt\n  - bad.txt\n  - 7\n")
    with pytest.raises(DocumentError) as refused:
        config.load(path, shipped)
    told = [str(mistake).replace(f"{tmp_path}/", "").partition(", found")[0] for mistake in refused.value.mistakes]
    remedy = "put it there, where the exporter may read it, or correct the path, which is relative to this file"
    assert told == [
        f"exporter.yaml:2: address_ranges[0]: 'absent.txt' cannot be read: No such file or directory; {remedy}",
        "exporter.yaml:5: address_ranges[3]: expected text",
        "bad.txt:2: expected a prefix such as 198.51.100.0/24 or 2001:db8::/32, or an address",
    ]


# ---------------------------------------------------------------- what a probe makes of them

RANGES = AddressRanges([ip_network("198.18.0.0/24")])
DIRECT, PROXIED = (CheckKey(Target("https://a.example/"), proxy) for proxy in (None, "corporate"))


@pytest.mark.parametrize(
    ("ranges", "key", "resolved", "in_range"),
    [
        (RANGES, DIRECT, ["198.18.0.1"], True),
        (RANGES, DIRECT, ["198.18.0.1", "198.18.1.1"], False),
        (RANGES, DIRECT, ["127.0.0.1"], False),
        (RANGES, DIRECT, [], None),
        (RANGES, PROXIED, ["198.18.0.1"], None),
        (AddressRanges(), DIRECT, ["198.18.0.1"], None),
    ],
)
def test_all_addresses_of_a_name_that_is_resolved_here_have_to_lie_in_the_ranges(
    ranges: AddressRanges, key: CheckKey, resolved: list[str], in_range: bool | None
) -> None:
    network = Network(None, ranges=ranges)  # type: ignore[arg-type]
    assert network.in_range(key, resolved) is in_range
