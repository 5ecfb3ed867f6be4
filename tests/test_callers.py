"""Who asks: by which names the exporter may be asked, and what a page of another site may not have a browser do."""

from __future__ import annotations

import socket

import pytest

from exporter.web.callers import Names, names_of_this_machine, origin_of, sent_by_another_site

NAMES = Names(["Exporter.Public.Example", "*.pages.example"], ["sccm01"], ["corp.example"])


@pytest.mark.parametrize(
    "host",
    [
        "",  # HTTP/1.0
        "192.0.2.7",
        "192.0.2.7:10965",
        "[2001:db8::7]:10965",
        "localhost",
        "localhost:10965",
        "sccm01:10965",
        "exporter:10965",  # what another container calls it
        "exporter.monitoring.svc:10965",
        "exporter.monitoring.svc.cluster.local",
        "printer.local",
        "vm.internal",
        "sccm01.corp.example",
        "alias.corp.example.",
        "SCCM01.CORP.EXAMPLE:80",
        "exporter.public.example",
        "a.b.pages.example",
    ],
)
def test_a_name_that_strangers_cannot_have_is_ours(host: str) -> None:
    assert NAMES.hold(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:10965",
        "corp.example.evil.example",
        "evilcorp.example",
        "corp.example",
        "pages.example",
        "public.example",
        "192.0.2.7.evil.example",
        "localhost.evil.example",
        "xlocal.example",
        "1.2.3",
        "[evil.example]",
        "evil.example\t:1",
    ],
)
def test_a_name_that_a_stranger_can_have_is_not(host: str) -> None:
    assert not NAMES.hold(host)


def test_every_name_can_be_allowed() -> None:
    assert Names(["*"]).hold("evil.example")


def test_this_machine_knows_its_name() -> None:
    assert names_of_this_machine().hold(socket.gethostname())
    assert names_of_this_machine(["proxy.example"]).hold("proxy.example:443")
    assert not names_of_this_machine().hold("evil.example")


@pytest.mark.parametrize(
    ("site", "origin", "host", "other"),
    [
        (None, None, "sccm01:10965", False),  # no browser
        ("same-origin", "http://sccm01:10965", "sccm01:10965", False),
        ("same-origin", "https://public.example", "sccm01:10965", False),  # through a proxy that names us anew
        ("none", None, "sccm01:10965", False),  # typed, or a bookmark
        (None, "http://sccm01:10965", "SCCM01:10965", False),
        (None, "https://exporter.public.example", "sccm01:10965", False),  # an allowed one, through such a proxy
        ("cross-site", None, "sccm01:10965", True),
        ("same-site", None, "sccm01:10965", True),
        ("anything", None, "sccm01:10965", True),
        (None, "https://evil.example", "sccm01:10965", True),
        (None, "http://sccm01:3000", "sccm01:10965", True),  # another program of this machine
        (None, "http://sccm01.corp.example", "sccm01:10965", True),
        (None, "null", "sccm01:10965", True),
        (None, "", "sccm01:10965", True),
        (None, "http://[", "sccm01:10965", True),
    ],
)
def test_what_another_site_sends_is_known(site: str | None, origin: str | None, host: str, other: bool) -> None:
    assert sent_by_another_site(site, origin, host, NAMES) is other


def test_all_addresses_of_a_host_are_one_origin() -> None:
    assert origin_of("2001:db8:1:2::3") == origin_of("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert origin_of("2001:db8:1:3::3") != origin_of("2001:db8:1:2::3")
    assert origin_of("::ffff:192.0.2.1") == origin_of("192.0.2.1") != origin_of("::ffff:192.0.2.2")
    assert origin_of("fe80::1%eth0") != origin_of("fe80::2%eth0")
