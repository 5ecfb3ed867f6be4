"""Who answered is who was meant: names in the laboratory, by real resolvers, against what may not come of them."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.network import NAME_SERVER
from tests.lab.scripts import Step, reply, sleep
from tests.probed import probed
from tests.running import command, eventually, running

pytestmark = pytest.mark.lab

PORTAL = "portal.corp.example"
OTHER = "sup0.corp.example"
DUAL = "dual.corp.example"
CATALOGUE = "dc.services.visualstudio.com"
LOOPBACK = "127.0.0.1 localhost\n::1 localhost\n"
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


def one(lab: Lab, url: str, *, own: bool = False, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = probed(lab, {url: own}, **options)["results"][url]
    return found


def reason(found: dict[str, Any]) -> str | None:
    named: str | None = found["failure"].get("reason")
    return named


def resolv_conf(*servers: str, options: str = "", search: str = ".") -> dict[str, str]:
    lines = [f"search {search}", *(f"nameserver {server}" for server in servers), f"options {options}"]
    return {"resolv.conf": "\n".join(lines) + "\n"}


# ---------------------------------------------------------------- addresses that cannot be meant


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["127.0.0.9"],
        ["0.0.0.0"],  # noqa: S104 - an answer, nothing listens
        ["0.0.0.0", "::"],  # noqa: S104
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["169.254.10.10"],
        ["224.0.0.251"],
        ["255.255.255.255"],
        ["146.112.61.104"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_public_name_hidden_by_a_filter_is_a_fault_of_dns_and_nobody_is_asked(
    lab: Lab, addresses: Sequence[str], scheme: str
) -> None:
    urls = [f"{scheme}://{host}/" for host in (CATALOGUE, PORTAL)]
    with (
        lab.dns_answers(CATALOGUE, reply(0, *addresses)),
        lab.dns_answers(PORTAL, reply(0, *addresses)),
    ):
        found = probed(lab, dict.fromkeys(urls, False))  # this machine has a web server on every address
    assert found["paths"] == {"dns": False}
    for url in urls:
        seen = found["results"][url]
        assert (seen["failure"]["reason"], seen["failure"]["cause"]) == ("dns_error", "sinkhole")
        assert f"the name resolves to {addresses[0]}" in seen["failure"]["message"]
        assert seen["addresses"] == addresses
        assert list(seen["phases"]) == ["resolve"]
        assert seen["tried"] == []


def test_the_report_sends_a_hidden_name_to_dns(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text("site: {features: [tenant-attach]}\n")
    with lab.dns_answers(CATALOGUE, reply(0, "0.0.0.0")):  # noqa: S104
        said = command(lab, "explain", CATALOGUE, "--config.file", config, env={**lab.env, "COLUMNS": "300"}).stdout
    assert "dns_error: the name resolves to 0.0.0.0: a DNS filter or a hosts file hides it" in said
    assert "To do (DNS)" in said


def test_an_entry_of_the_hosts_file_hides_a_public_name_as_a_filter_does(lab: Lab) -> None:
    hidden = one(
        lab, f"http://{CATALOGUE}/", etc={"hosts": f"{LOOPBACK}127.0.0.1 {CATALOGUE.upper()} # no telemetry\n"}
    )
    assert hidden["failure"]["message"] == "the name resolves to 127.0.0.1: this machine's hosts file hides it"
    assert hidden["failure"]["cause"] == "sinkhole"


def test_an_address_that_is_possible_among_others_is_used_alone(lab: Lab) -> None:
    good = lab.address_of[PORTAL]
    with lab.dns_answers(PORTAL, reply(0, "0.0.0.0", "127.0.0.1", good, "::")):  # noqa: S104
        found = one(lab, f"http://{PORTAL}/")
    assert found["up"]
    assert found["addresses"] == [good]


def test_what_is_written_so_is_asked_so(lab: Lab) -> None:
    urls = [f"http://{host}/" for host in ("127.0.0.1", "[::1]", "localhost", "127.1", "localhost.")]
    found = probed(lab, dict.fromkeys(urls, False))
    assert [url for url in urls if not found["results"][url]["up"]] == []
    assert "dns" not in found["paths"]


@pytest.mark.parametrize(
    ("address", "listed", "up"),
    [
        ("127.0.0.9", False, True),
        ("127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("169.254.10.10", True, None),  # asked, whatever comes of it: nobody is there
        ("0.0.0.0", True, False),  # noqa: S104
        ("0.0.0.0", False, False),  # noqa: S104
    ],
)
def test_a_host_of_the_operators_own_may_be_this_machine_but_not_nobody(
    lab: Lab, address: str, listed: bool, up: bool | None
) -> None:
    hosts = f"{LOOPBACK}{address} {PORTAL}\n" if listed else LOOPBACK
    with lab.dns_answers(PORTAL, reply(0, address)):
        found = one(lab, f"http://{PORTAL}/", own=True, etc={"hosts": hosts}, timeout=1.0)
    assert found["up"] == bool(up)
    assert (found["failure"].get("cause") == "sinkhole") == (up is False)


def test_a_proxy_may_be_on_this_machine(lab: Lab) -> None:
    url = f"http://{PORTAL}/"
    with lab.dns_answers(OTHER, reply(0, "127.0.0.1")):
        found = one(lab, url, proxy=f"http://{OTHER}:80")  # a web server, which is the best that listens there
    assert [tried["contact"] for tried in found["tried"]] == ["opened"]


def test_a_proxy_is_nowhere_by_an_address_that_is_nobodys(lab: Lab) -> None:
    with lab.dns_answers(OTHER, reply(0, "0.0.0.0")):  # noqa: S104
        found = one(lab, f"http://{PORTAL}/", proxy=f"http://{OTHER}:3128")
    assert found["failure"]["message"].startswith("the proxy's name resolves to 0.0.0.0")
    assert reason(found) == "dns_error"


SELECTED = """
probe: {{interval: 1s, timeout: 1s, attempts: 1}}
site: {{features: [{features}], roles: [service-connection-point]}}
groups:
  - feature: intranet
    endpoints: [{{pattern: "https://{host}/"}}]
"""


def test_a_host_that_a_reload_makes_a_public_one_is_judged_as_such(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text(SELECTED.format(features="intranet", host=CATALOGUE))
    with (
        lab.dns_answers(CATALOGUE, reply(0, "127.0.0.9")),
        running(lab, tmp_path, "--config.file", config) as exporter,
    ):
        eventually("up", lambda: 1.0 in exporter.values("configmgr_endpoint_up", feature="intranet").values())
        config.write_text(SELECTED.format(features="intranet, tenant-attach", host=CATALOGUE))
        exporter.process.send_signal(signal.SIGHUP)
        eventually(
            "hidden",
            lambda: exporter.values("configmgr_endpoint_failure", feature="intranet", reason="dns_error"),
            within=30,
        )


# ---------------------------------------------------------------- private addresses


def test_a_private_address_of_a_public_name_is_told_and_a_failure_there_is_a_matter_of_dns(lab: Lab) -> None:
    with lab.dns_answers(CATALOGUE, reply(0, "10.20.1.4")):
        found = one(lab, f"https://{CATALOGUE}/", timeout=1.0)
    message = found["failure"].pop("message")
    assert re.fullmatch(
        r"no answer from 10\.20\.1\.4 port 443 within \S+ s; 10\.20\.1\.4 is a private address", message
    )
    assert found["failure"] == {
        "phase": "connect",
        "reason": "connect_timeout",
        "cause": "private_address",
        "answered_by": None,
    }


def test_a_private_address_of_ones_own_host_is_as_it_should_be(lab: Lab) -> None:
    with lab.dns_answers(PORTAL, reply(0, "10.20.1.4")):
        found = one(lab, f"https://{PORTAL}/", own=True, timeout=1.0)
    assert (found["failure"]["reason"], found["failure"]["cause"]) == ("connect_timeout", None)


# ---------------------------------------------------------------- absolute names


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("options", ["", "ndots:5"])
def test_what_only_the_search_list_finds_is_not_what_was_asked_for(lab: Lab, own: bool, options: str) -> None:
    etc = resolv_conf(NAME_SERVER, search=PORTAL, options=options)
    address = lab.address_of[PORTAL]  # where a web server answers
    with lab.dns_answers(PORTAL, reply(0, address)):  # for all names below it as well
        found = one(lab, "http://missing.public.test/", own=own, etc=etc)
    assert reason(found) == "dns_not_found"
    assert f"only the search list of this machine ({PORTAL}) makes a name of it" in found["failure"]["message"]
    assert address in found["failure"]["message"]


def test_a_search_list_does_not_come_before_the_name_itself(lab: Lab) -> None:
    etc = resolv_conf(NAME_SERVER, search=PORTAL, options="ndots:5")
    with lab.dns_answers(PORTAL, reply(0, lab.address_of[OTHER])):
        found = one(lab, f"http://{CATALOGUE}/", etc=etc)
    assert found["address"] == lab.address_of[CATALOGUE]


def test_short_names_and_names_of_proxies_go_by_the_search_list(lab: Lab) -> None:
    etc = resolv_conf(NAME_SERVER, search="corp.example")
    short = one(lab, "http://portal/", own=True, etc=etc)
    assert short["up"]
    assert short["address"] == lab.address_of[PORTAL]
    proxied = one(lab, f"http://{PORTAL}/", proxy="http://portal:80", etc=etc)
    assert proxied["address"] == lab.address_of[PORTAL]
    partial = one(
        lab, f"http://{PORTAL}/", proxy="http://portal.corp:80", etc=resolv_conf(NAME_SERVER, search="example")
    )
    assert partial["address"] == lab.address_of[PORTAL]


def test_a_name_of_the_hosts_file_is_found_there_and_says_nothing_of_dns(lab: Lab) -> None:
    address = lab.address_of[OTHER]
    etc = {"hosts": f"{LOOPBACK}{address} {CATALOGUE}\n"}
    with lab.dns_missing(CATALOGUE):
        found = probed(lab, {f"http://{CATALOGUE}/": False}, etc=etc)
    seen = found["results"][f"http://{CATALOGUE}/"]
    assert seen["up"]
    assert (seen["address"], seen["by_dns"]) == (address, False)
    assert found["paths"] == {"direct": True}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "proxy"])
def test_a_final_dot_keeps_the_search_list_away_and_is_no_part_of_the_certificates_name(
    lab: Lab, scheme: str, by_proxy: bool
) -> None:
    found = one(lab, f"{scheme}://{CATALOGUE}./", proxy=lab.proxy_url if by_proxy else "")
    assert found["up"], found["failure"]


def test_a_final_dot_goes_on_the_wire_as_curl_sends_it(lab: Lab) -> None:
    url = f"http://{CATALOGUE}./"
    lab.clear_requests()
    with lab.serve(CATALOGUE, 'add_header X-Asked "$http_host" always; return 204;'):
        ours = one(lab, url)
        curls = lab.run(["curl", "--silent", "--head", url]).stdout
    assert dict(ours["answer"]["headers"])["X-Asked"] in curls.split()


# ---------------------------------------------------------------- silence, or failure

SILENT: tuple[Step, ...] = ()


@pytest.mark.parametrize(
    ("servers", "options", "expected"),
    [
        ([SILENT], "timeout:1 attempts:1", "dns_timeout"),
        ([SILENT], "timeout:1 attempts:2", "dns_timeout"),
        ([SILENT, SILENT], "timeout:1 attempts:1", "dns_timeout"),
        ([[sleep(1.5), reply(SERVFAIL)]], "timeout:3 attempts:1", "dns_error"),
        ([[sleep(1.5), reply(SERVFAIL)]], "timeout:1 attempts:1", "dns_timeout"),  # later than anybody waits for
        ([[reply(SERVFAIL)]], "timeout:1 attempts:1", "dns_error"),
        ([[reply(REFUSED)]], "timeout:1 attempts:1", "dns_error"),
        ([SILENT, [reply(SERVFAIL)]], "timeout:1 attempts:1", "dns_error"),
        ([[reply(SERVFAIL)], SILENT], "timeout:1 attempts:1", "dns_error"),
        ([SILENT, [reply(REFUSED)]], "timeout:1 attempts:2", "dns_error"),
        ([SILENT, [reply(NXDOMAIN)]], "timeout:1 attempts:1", "dns_not_found"),
    ],
)
def test_silence_and_failure_are_told_apart_by_the_resolvers_own_patience(
    lab: Lab, servers: Sequence[Sequence[Step]], options: str, expected: str
) -> None:
    with ExitStack() as running:
        addresses = [running.enter_context(lab.name_server(*steps)) for steps in servers]
        found = one(lab, f"https://{PORTAL}/", etc=resolv_conf(*addresses, options=options), timeout=8.0)
    assert reason(found) == expected
    assert [server["address"] for server in found["servers"]] == addresses
    assert all(ip_address(server["local"]) for server in found["servers"])  # where it was asked from
    if expected != "dns_not_found":
        assert all(address in found["failure"]["message"] for address in addresses)


@pytest.mark.parametrize("servers", [["198.18.200.200"], []], ids=["nobody listens", "none is named"])
def test_a_name_server_that_cannot_be_asked_is_no_silent_one(lab: Lab, servers: list[str]) -> None:
    found = one(lab, f"https://{PORTAL}/", etc=resolv_conf(*servers))
    assert reason(found) == "dns_error"


@pytest.mark.parametrize(("kind", "family"), [("AAAA", "IPv6"), ("A", "IPv4")])
@pytest.mark.parametrize("options", ["", "timeout:1 attempts:1"], ids=["patient", "hasty"])
def test_the_question_that_stays_unanswered_is_named(lab: Lab, kind: Any, family: str, options: str) -> None:
    with lab.dns_silent_for(DUAL, kind):
        found = one(lab, f"http://{DUAL}/", timeout=4.0, etc=resolv_conf(NAME_SERVER, options=options))
    assert found["unanswered"] == kind
    if not found["up"]:  # the system may make do with the other family, once it has lost its patience
        assert reason(found) == "dns_timeout"
        assert f"to the question for {family} addresses ({kind})" in found["failure"]["message"]


def test_a_resolver_that_is_only_slow_has_left_nothing_unanswered(lab: Lab) -> None:
    with lab.dns_answers(DUAL, sleep(1.3), reply(0, *lab.addresses_of[DUAL])):
        found = one(lab, f"http://{DUAL}/")
    assert found["up"]
    assert found["unanswered"] is None


# ---------------------------------------------------------------- which address, and why


def test_a_dead_family_is_seen_though_the_other_works(lab: Lab) -> None:
    url, (ipv4, ipv6) = f"http://{DUAL}/", lab.addresses_of[DUAL]
    with lab.drop_ipv6(DUAL):
        found = probed(lab, {url: False})
    seen = found["results"][url]
    assert seen["up"]
    assert [(tried["address"], tried["contact"]) for tried in seen["tried"]] == [(ipv6, "silent"), (ipv4, "opened")]
    assert found["families"] == {"direct ipv4": True, "direct ipv6": False}


def test_a_family_that_was_not_tried_is_not_judged(lab: Lab) -> None:
    assert probed(lab, {f"http://{DUAL}/": False})["families"] == {"direct ipv6": True}


def test_a_refusal_counts_for_more_than_silence(lab: Lab) -> None:
    with lab.dns_answers(PORTAL, reply(0, "fd00:1ab::dead:1", lab.address_of[OTHER])), lab.reset(OTHER):
        found = one(lab, f"http://{PORTAL}/", timeout=1.0)
    assert reason(found) == "connect_refused"
    assert found["failure"]["message"] == (
        f"Connection refused ({lab.address_of[OTHER]}); no answer within the timeout (fd00:1ab::dead:1)"
    )


def test_the_addresses_that_stayed_silent_are_named(lab: Lab) -> None:
    silent = ["fd00:1ab::dead:1", "fd00:1ab::dead:2", "198.19.255.1"]
    with lab.dns_answers(PORTAL, reply(0, *silent)):
        found = one(lab, f"http://{PORTAL}/", timeout=1.5)
    assert reason(found) == "connect_timeout"
    assert {tried["address"] for tried in found["tried"]} == set(silent)
    assert all(address in found["failure"]["message"] for address in silent)


def test_many_dead_addresses_of_one_family_do_not_hide_one_of_the_other(lab: Lab) -> None:
    dead = [f"fd00:1ab::dead:{number:x}" for number in range(1, 13)]
    with lab.dns_answers(PORTAL, reply(0, *dead, lab.address_of[PORTAL])):
        found = one(lab, f"http://{PORTAL}/")
    assert found["up"]
    assert [tried["contact"] for tried in found["tried"]] == ["silent", "opened"]
