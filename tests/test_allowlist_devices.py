"""The allow list in the devices that it is for: they let through all that is needed, and nothing that looks like it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import pacparser  # type: ignore[import-untyped]
import pytest

from exporter import allowlist as lists
from exporter.allowlist import Rule
from exporter.config import catalogue as shipped
from exporter.model.patterns import span
from exporter.model.vocabulary import Endpoint, Group, Settings, Site, Target
from exporter.plan.checks import plan
from exporter.plan.requirements import requirements
from tests.lab import Lab
from tests.lab.network import NAME_SERVER, PROXY
from tests.running import command, eventually, program

LISTED: Final = "proxy.corp.example:3128"
USUAL: Final = {"http": 80, "https": 443}
SITE: Final = Site(
    clouds=("azure-public", "azure-us-government"),
    parameters={
        "cloud_service_name": "granitefalls",
        "azure_region": "westus",
        "child_site_sup_fqdn": "sup1.corp.example",
        "parent_site_sup_fqdn": "sup0.corp.example",
    },
)
# What only an operator writes: addresses, and stars in other places.
OWN: Final = Group(
    "portal",
    roles=("client",),
    endpoints=(
        Endpoint("192.0.2.7"),
        Endpoint("http://[2001:db8::7]:8530/"),
        Endpoint("a.*.corp.example"),
        Endpoint("*-login.corp.example", schemes=("http", "https")),
    ),
)


# What these mean, beside what is probed.
OWN_MEANT: Final = (
    ("https", "192.0.2.7", 443),
    ("http", "2001:db8::7", 8530),
    ("https", "a.x.y.corp.example", 443),
    ("http", "x.y-login.corp.example", 80),
    ("https", "deep.below.manage.microsoft.com", 443),
)


class Asked(NamedTuple):
    """What somebody asks for."""

    scheme: str
    host: str  # an address of IPv6 without brackets
    port: int

    @property
    def authority(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, without a port that is the usual one: as browsers hand it on."""
        authority = self.authority.removesuffix(f":{USUAL[self.scheme]}")
        return f"{self.scheme}://{authority}/"


@pytest.fixture(scope="module")
def rules() -> tuple[Rule, ...]:
    catalogue = shipped.load()
    return lists.rules(catalogue, (*catalogue.groups, OWN), SITE, Settings())


@pytest.fixture(scope="module")
def targets() -> list[Asked]:
    """Whatever is probed, and the same names as a careless program spells them."""
    catalogue = shipped.load()
    found = {check.key.target for check in plan(requirements(catalogue, catalogue.groups, SITE), {}, {}).checks}
    exact = sorted({asked(target) for target in found})
    shouted = [one._replace(host=one.host.upper()) for one in exact[::5]]
    return [*exact, *shouted, *(one._replace(host=f"{one.host}.") for one in exact[::7])]


def asked(target: Target) -> Asked:
    return Asked(target.scheme, target.host, target.port)


def is_meant(rules: Iterable[Rule], one: Asked) -> bool:
    """Whether the documents mean it, said once more without any code of the exporter that knows wildcards."""
    host = one.host.lower().removesuffix(".")
    return all(host.split(".")) and any(
        rule.protocol == one.scheme and one.port in span(rule.ports) and _within(host, rule.host) for rule in rules
    )


def _within(host: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return host == pattern
    return host.startswith(before) and host.endswith(after) and len(host) > len(before + after)


@pytest.fixture(scope="module")
def others(rules: tuple[Rule, ...]) -> list[Asked]:
    """Two hundred at least that are not meant, and look as if they were."""
    web = sorted({(rule.protocol, rule.host, span(rule.ports)[0]) for rule in rules if rule.protocol in USUAL})
    found = dict.fromkeys(
        Asked(scheme, host, port)
        for known, pattern, usual in web
        if "<" not in pattern
        for scheme, host, port in chain(
            ((known, host, usual) for host in _lookalikes(pattern.replace("*", "x").replace("x.", "", 1))),
            ((known, host, usual) for host in (pattern.replace("*", ""), f"evil{pattern.replace('*', 'x')}")),
            ((known, pattern.replace("*", "x"), port) for port in (22, 8080, 8443, 65535)),
            ((other, pattern.replace("*", "x"), 444) for other in USUAL),
        )
    )
    addresses = [Asked(scheme, host, port) for scheme, port in USUAL.items() for host in ADDRESSES]
    return [one for one in (*found, *addresses) if not is_meant(rules, one)]


ADDRESSES: Final = ("192.0.2.8", "198.18.0.1", "127.0.0.1", "2001:db8::8", "::1", "3221225992", "0300.0.2.8")


def _lookalikes(apex: str) -> Iterator[str]:
    """Names that resemble a name and those below it; the name itself, which a wildcard does not mean, too."""
    yield from (apex, apex.upper(), f"{apex}.", f"evil{apex}", f"EVIL{apex}".upper(), f"{apex}.evil.example")
    yield from (f"x.evil{apex}", f"x-{apex}", apex.replace(".", "x", 1), apex.replace(".", "-"), f"{apex}x")
    yield from (f".{apex}", f"..{apex}", f"x..{apex}", f"x.{apex}.evil.example", f"evil.example.{apex[1:]}")


def test_the_others_are_many_and_of_every_kind(others: list[Asked]) -> None:
    assert len(others) > 200
    assert {one.scheme for one in others} == set(USUAL)
    assert {"manage.microsoft.us", "evilmanage.microsoft.com", "manage.microsoft.com.evil.example"} <= {
        one.host for one in others
    }


# ---------------------------------------------------------------- PAC


@pytest.fixture
def find_proxy(rules: tuple[Rule, ...]) -> Iterator[None]:
    """The engine that several programs use for PAC files, with ours in it."""
    pacparser.init()
    try:
        pacparser.parse_pac_string(lists.pac(rules, LISTED))
        yield
    finally:
        pacparser.cleanup()


@pytest.mark.usefixtures("find_proxy")
def test_a_pac_file_sends_what_is_needed_through_the_proxy_and_nothing_else(
    rules: tuple[Rule, ...], targets: list[Asked], others: list[Asked]
) -> None:
    requests = [*targets, *others, *(Asked(*own) for own in OWN_MEANT)]
    verdicts = {one: pacparser.find_proxy(one.url, one.host) for one in requests}
    wrong = {
        one: verdict for one, verdict in verdicts.items() if (verdict == f"PROXY {LISTED}") != is_meant(rules, one)
    }
    assert wrong == {}
    assert {verdicts[one] for one in targets} == {f"PROXY {LISTED}"}
    assert {verdicts[one] for one in others} == {"DIRECT"}


@pytest.mark.usefixtures("find_proxy")
@pytest.mark.parametrize(
    ("url", "host", "verdict"),
    [
        ("https://go.microsoft.com/fwlink/?LinkID=619849", "go.microsoft.com", "PROXY"),
        ("HTTPS://GO.MICROSOFT.COM/", "GO.MICROSOFT.COM", "PROXY"),
        ("https://user:pass@go.microsoft.com/", "go.microsoft.com", "PROXY"),
        ("https://go.microsoft.com:443@evil.example/", "evil.example", "DIRECT"),
        ("https://evil.example/?https://go.microsoft.com/", "evil.example", "DIRECT"),
        ("https://evil.example:443/#@go.microsoft.com:443", "evil.example", "DIRECT"),
        ("http://[2001:db8::7]:8530/", "[2001:db8::7]", "PROXY"),
        ("http://[2001:db8::7]:8530/", "2001:db8::7", "PROXY"),
        ("ftp://go.microsoft.com/", "go.microsoft.com", "DIRECT"),
        ("go.microsoft.com", "go.microsoft.com", "DIRECT"),
        ("https://go.microsoft.com../", "go.microsoft.com..", "DIRECT"),
        ("https://constructor/", "constructor", "DIRECT"),
    ],
)
def test_a_pac_file_reads_urls_as_browsers_do(url: str, host: str, verdict: str) -> None:
    assert pacparser.find_proxy(url, host).split()[0] == verdict


# ---------------------------------------------------------------- Squid

SQUID: Final = f"""\
http_port {PROXY[0]}:3150
visible_hostname proxy.corp.example
dns_nameservers {NAME_SERVER}
hosts_file none
cache deny all
include {{rules}}
http_access deny all
access_log none
cache_log /dev/null
coredump_dir {{directory}}
pid_filename none
netdb_filename none
pinger_enable off
max_filedescriptors 4096
shutdown_lifetime 0 seconds
"""
# One request on each connection, as it stands; what matters is who answers.
CLIENT: Final = f"""
import json, socket, sys
for head in json.load(sys.stdin):
    with socket.create_connection(("{PROXY[0]}", 3150), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b""
        while b"\\r\\n\\r\\n" not in answer and (data := connection.recv(4096)):
            answer += data
    denied = b"ERR_ACCESS_DENIED" in answer or b"ERR_INVALID_URL" in answer or b"ERR_INVALID_REQ" in answer
    print(json.dumps([answer.split(b"\\r\\n")[0].decode(), denied]))
"""


class Verdict(NamedTuple):
    """What became of a request."""

    status: str
    denied: bool


@contextmanager
def squid(lab: Lab, directory: Path, text: str) -> Iterator[None]:
    """A Squid of its own that allows what the rules do, and then denies all."""
    (directory / "rules.conf").write_text(text)
    config = directory / "squid.conf"
    config.write_text(SQUID.format(rules=directory / "rules.conf", directory=directory))
    log = directory / "squid.log"
    with program(lab, log, ["squid", "-N", "-n", "allowlist", "-d", "1", "-f", config]) as process:
        eventually("Squid listens", lambda: "HTTP Socket connections at" in log.read_text() or process.poll())
        assert process.poll() is None, log.read_text()
        yield


def verdicts_on(lab: Lab, requests: list[str]) -> list[Verdict]:
    done = lab.run([sys.executable, "-I", "-S", "-c", CLIENT], input=json.dumps(requests))
    assert done.returncode == 0, done.stderr
    return [Verdict(*json.loads(line)) for line in done.stdout.splitlines()]


def head(one: Asked) -> str:
    """CONNECT for https, and for http a request with the whole URL."""
    line = f"CONNECT {one.authority}" if one.scheme == "https" else f"GET http://{one.authority}/"
    return f"{line} HTTP/1.1\r\nHost: {one.authority}\r\nConnection: close\r\n\r\n"


@pytest.mark.lab
def test_squid_lets_through_what_is_needed_and_nothing_else(
    lab: Lab, rules: tuple[Rule, ...], targets: list[Asked], others: list[Asked], tmp_path: Path
) -> None:
    requests = [*targets, *others, *(Asked(*own) for own in OWN_MEANT)]
    with squid(lab, tmp_path, lists.squid(rules)):
        found = dict(zip(requests, verdicts_on(lab, [head(one) for one in requests]), strict=True))
    said = (tmp_path / "squid.log").read_text()
    assert {one: verdict for one, verdict in found.items() if verdict.denied is is_meant(rules, one)} == {}
    assert {found[one].status.split()[1] for one in targets} == {"200"}
    assert [one for one in others if not found[one].denied] == []
    assert [own for own in OWN_MEANT if found[Asked(*own)].denied] == []
    assert re.findall(r"(?:WARNING|ERROR|FATAL): .*(?:acl|ACL|configmgr).*", said) == []


@pytest.mark.lab
def test_squid_takes_no_other_method_for_a_tunnel_and_no_tunnel_for_a_request(
    lab: Lab, rules: tuple[Rule, ...], tmp_path: Path
) -> None:
    host = "download.windowsupdate.com"
    requests = [
        f"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n",
        f"GET http://{host}:443/ HTTP/1.1\r\nHost: {host}:443\r\nConnection: close\r\n\r\n",
        f"GET https://{host}:80/ HTTP/1.1\r\nHost: {host}:80\r\nConnection: close\r\n\r\n",
        f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]
    with squid(lab, tmp_path, lists.squid(rules)):
        denied = [verdict.denied for verdict in verdicts_on(lab, requests)]
    assert denied == [True, True, True, False]


# ---------------------------------------------------------------- nftables


@pytest.mark.lab
def test_nftables_loads_the_addresses_of_the_moment_and_in_their_place_those_of_the_next(
    lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "rules.nft"
    script = command(lab, "allowlist", "--format", "nftables", "--role", "service-connection-point").stdout
    moved = lab.address_of["aka.ms"]

    def loaded(text: str) -> tuple[set[str], str]:
        """The addresses for port 443, and the rules, once it is loaded."""
        path.write_text(text)
        lab.run(["nft", "--check", "--file", path], check=True)
        lab.run(["nft", "--file", path], check=True)
        elements = lab.run(["nft", "list", "set", "inet", "filter", "configmgr_tcp_443_ipv4_addr"], check=True).stdout
        accepts = lab.run(["nft", "list", "chain", "inet", "filter", "configmgr"], check=True).stdout
        return set(re.findall(r"[0-9]+(?:[.][0-9]+){3}", elements)), accepts

    try:
        first, accepts = loaded(script)
        second, accepts_then = loaded(script.replace(f" {moved},", " 198.51.100.7,"))
    finally:
        lab.run(["nft", "delete", "table", "inet", "filter"])
    assert {lab.address_of[host] for host in ("dc.services.visualstudio.com", "aka.ms", "go.microsoft.com")} <= first
    assert first - second == {moved}
    assert second - first == {"198.51.100.7"}
    assert accepts == accepts_then
    assert "ip daddr @configmgr_tcp_443_ipv4_addr tcp dport 443 accept" in accepts
    assert "*.manage.microsoft.com https 443 (a wildcard has no addresses)" in script
