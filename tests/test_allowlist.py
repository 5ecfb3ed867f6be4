"""What must be let through: nothing that is needed is left out, no format can be broken, and lists are compared."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from exporter import allowlist as lists
from exporter.allowlist import Need, Rule
from exporter.allowlist.data import HEADER
from exporter.allowlist.hosts import covers, samples
from exporter.cli import app
from exporter.cli.allowlist import AllowlistFormat
from exporter.config import catalogue as shipped
from exporter.config.documents import DocumentError
from exporter.model.patterns import span
from exporter.model.vocabulary import (
    Catalogue,
    CheckKey,
    Endpoint,
    ExtraPorts,
    Failure,
    Group,
    Phase,
    Proxy,
    Reason,
    Result,
    Role,
    Settings,
    Site,
    SocketAddress,
    Support,
    Target,
)
from exporter.plan.checks import plan
from exporter.plan.requirements import requirements
from exporter.report.evidence import Connection
from tests.junit_schema import violations
from tests.strategies import catalogues, proxy_maps, sites, vias

ROLES: Final = {slug: Role(slug, slug.title()) for slug in ("client", "site-server")}
CORPORATE: Final = Proxy("corporate", "http://proxy.corp.example:3128", no_proxy=(".corp.example",))


def catalogue_of(*endpoints: Endpoint) -> Catalogue:
    group = Group("portal", docs="https://docs.example/portal", roles=("client",), endpoints=endpoints)
    return Catalogue((group,), ROLES, {}, {}, {}, {})


def rules_of(
    *endpoints: Endpoint, own: Iterable[Group] = (), through: Proxy | None = None, **parameters: str
) -> tuple[Rule, ...]:
    """What a client needs for these lines."""
    catalogue = catalogue_of(*endpoints)
    settings = Settings(proxies={through.name: through}, via={"client": through.name}) if through else Settings()
    site = Site(clouds=("azure-public",), parameters=parameters)
    return lists.rules(catalogue, (*catalogue.groups, *own), site, settings)


def whats(rules: Iterable[Rule]) -> list[str]:
    return [rule.what for rule in rules]


@pytest.fixture(scope="module")
def default() -> tuple[Rule, ...]:
    """What the embedded default needs."""
    catalogue = shipped.load()
    return lists.rules(catalogue, catalogue.groups, Site(), Settings())


# ---------------------------------------------------------------- nothing is left out


@given(catalogues(), sites, proxy_maps, vias)
def test_every_target_that_is_probed_lies_within_a_rule_of_its_role_and_path(
    catalogue: Catalogue, site: Site, proxies: dict[str, Proxy], via: dict[str, str]
) -> None:
    work = plan(requirements(catalogue, catalogue.groups, site), proxies, via)
    rules = lists.rules(catalogue, catalogue.groups, site, Settings(proxies=proxies, via=via))
    for check in work.checks:
        target = check.key.target
        for use in check.uses:
            assert any(
                (rule.role, rule.path, rule.protocol) == (use.consumer.role, check.key.path, target.scheme)
                and covers(rule.host, target.host)
                and target.port in span(rule.ports)
                for rule in rules
                if not rule.missing
            )


@given(catalogues(), sites, proxy_maps, vias)
def test_whatever_is_selected_has_a_rule_probed_or_not_and_no_key_stands_twice(
    catalogue: Catalogue, site: Site, proxies: dict[str, Proxy], via: dict[str, str]
) -> None:
    needed = requirements(catalogue, catalogue.groups, site)
    rules = lists.rules(catalogue, catalogue.groups, site, Settings(proxies=proxies, via=via))
    listed = {(need.feature, rule.role, need.cloud, need.pattern) for rule in rules for need in rule.needed_for}
    selected = {
        (line.use.consumer.feature, line.use.consumer.role, line.use.consumer.cloud, line.use.pattern)
        for line in needed
    }
    assert listed == selected
    assert len({rule.key for rule in rules}) == len(rules)
    assert all(rule.path == "direct" or rule.protocol in {"http", "https"} for rule in rules)


def test_a_line_of_ones_own_takes_no_port_from_the_documented_line_with_the_same_text() -> None:
    documented = Endpoint("*.emdl.example", schemes=("http",))
    own = Group("portal", roles=("client",), endpoints=(Endpoint("*.emdl.example", probe=("http://a.emdl.example/",)),))
    found = whats(rules_of(documented, own=[own]))
    assert found == ["*.emdl.example http 80", "*.emdl.example https 443", "a.emdl.example http 80"]


def test_a_target_elsewhere_than_the_line_says_has_a_rule_too() -> None:
    rules = rules_of(Endpoint("*.cdn.example", probe=("https://a.cdn.example:8443/",)))
    assert whats(rules) == ["*.cdn.example https 443", "a.cdn.example https 8443"]


def test_every_scheme_and_every_port_of_a_line_has_a_rule() -> None:
    rules = rules_of(
        Endpoint("a.example", schemes=("https", "http"), ports=(8531, 8530)),
        Endpoint("b.example", schemes=("udp",), ports=(3544,)),
        Endpoint("https://c.example:9443/x"),
    )
    assert whats(rules) == [
        "a.example http 8530",
        "a.example https 8531",
        "b.example udp 3544",
        "c.example https 9443",
    ]


def test_further_ports_are_let_through_under_their_condition() -> None:
    extra = ExtraPorts("10124-10139", "https", "two or more VMs")
    first, second = rules_of(Endpoint("a.example", extra_ports=(extra,), condition="with a gateway"))
    assert (first.what, second.what) == ("a.example https 443", "a.example https 10124-10139")
    assert second.needed_for[0].condition == "with a gateway; two or more VMs"


def test_a_template_is_what_it_is_filled_with_and_stays_as_documented_while_it_cannot_be() -> None:
    template = Endpoint("<name>.blob.example", probe=("https://{name}.blob.example/", "http://{other}.blob.example/"))
    unfilled, filled = rules_of(template, name="granite")
    assert (filled.what, filled.missing) == ("granite.blob.example https 443", None)
    assert (unfilled.what, unfilled.missing) == ("<name>.blob.example https 443", "set site.parameters.other")


def test_a_protocol_without_a_known_port_is_told_rather_than_opened_at_all() -> None:
    (rule,) = rules_of(Endpoint("a.example", schemes=("udp",)))
    assert rule.missing == "give its `ports`"


def test_the_proxys_exceptions_and_what_no_proxy_carries_are_the_firewalls_matter() -> None:
    rules = rules_of(
        Endpoint("a.example", extra_ports=(ExtraPorts("10140-10155", "tcp-tls", "classic"),)),
        Endpoint("*.corp.example"),
        Endpoint("t.example", schemes=("udp",), ports=(3544,)),
        through=CORPORATE,
    )
    assert {rule.what: rule.path for rule in rules} == {
        "a.example https 443": "proxy:corporate",
        "a.example tcp-tls 10140-10155": "direct",
        "*.corp.example https 443": "direct",
        "t.example udp 3544": "direct",
    }


def test_where_two_lines_ask_for_one_rule_the_more_cautious_counts() -> None:
    lines = (
        Endpoint("a.example", tls_inspection=Support.SUPPORTED),
        Endpoint("https://a.example", tls_inspection=Support.UNSUPPORTED, authenticated_proxy=Support.CONDITIONAL),
    )
    (rule,) = rules_of(*lines)
    assert rule.tls_inspection is Support.UNSUPPORTED
    assert rule.authenticated_proxy is Support.CONDITIONAL
    assert [need.pattern for need in rule.needed_for] == ["a.example", "https://a.example"]


def test_what_has_no_tls_is_not_inspected_and_what_no_proxy_carries_has_no_login() -> None:
    rules = rules_of(Endpoint("a.example", schemes=("http", "udp"), ports=(80, 3544), tls_inspection=Support.SUPPORTED))
    assert [(rule.tls_inspection, rule.authenticated_proxy) for rule in rules] == [(None, "unspecified"), (None, None)]


def test_the_shipped_catalogue_opens_what_is_not_probed_as_well(default: tuple[Rule, ...]) -> None:
    listed = set(whats(default))
    assert {"*.akamaiedge.net https 443", "win1910.ipv6.microsoft.com udp 3544"} <= listed
    assert "<prefix>.<region>.cloudapp.azure.com https 10124-10139" in listed
    assert all(need.docs for rule in default for need in rule.needed_for)


# ---------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*.a.example", "x.y.a.example", True),
        ("*.a.example", "X.A.EXAMPLE.", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "evila.example", False),
        ("*.a.example", "*.b.a.example", True),
        ("*.b.a.example", "*.a.example", False),
        ("*-x.a.example", "*.a.example", False),
        ("a.example", "A.example.", True),
        ("a.example", "x.a.example", False),
        ("a.example", "axexample", False),
    ],
)
def test_a_wildcard_covers_any_depth_and_never_its_apex(pattern: str, host: str, *, covered: bool) -> None:
    assert covers(pattern, host) is covered


@pytest.mark.parametrize("pattern", ["a.example", "*.a.example", "*-x.a.example", "a.*.example"])
def test_samples_lie_within_what_they_stand_for(pattern: str) -> None:
    assert all(covers(pattern, host) for host in samples(pattern))


# ---------------------------------------------------------------- formats

INNER: Final = "*-x.events.example"


@pytest.fixture(scope="module")
def varied() -> tuple[Rule, ...]:
    """Rules of every kind."""
    return rules_of(
        Endpoint("go.example", schemes=("https", "http"), tls_inspection=Support.UNSUPPORTED),
        Endpoint("*.manage.example"),
        Endpoint(INNER),
        Endpoint("a.*.example"),
        Endpoint("https://[2001:db8::1]/"),
        Endpoint("192.0.2.7"),
        Endpoint("teredo.example", schemes=("udp",), ports=(3544,)),
        Endpoint("gate.example", extra_ports=(ExtraPorts("10124-10139", "https", "two VMs"),)),
        Endpoint("<name>.blob.example", probe=("https://{name}.blob.example/",)),
    )


LEFT_OUT: Final = "<name>.blob.example https 443 (set site.parameters.name)"


def test_what_lacks_a_parameter_is_a_comment_that_says_which_and_never_a_rule(varied: tuple[Rule, ...]) -> None:
    edl, notes = lists.edl(varied)
    scripts = (
        lists.squid(varied),
        lists.windows_firewall(varied),
        lists.nftables(varied, {"go.example": ("192.0.2.1",)}),
        lists.pac(varied, None),
    )
    commented = [line for script in scripts for line in script.splitlines() if "blob" in line]
    assert commented == [*[f"#   {LEFT_OUT}"] * 3, f"//   {LEFT_OUT}"]
    assert "blob" not in edl
    assert f"left out: {LEFT_OUT}" in notes
    template = json.loads(lists.azure_firewall(varied))
    assert f"  {LEFT_OUT}" in template["metadata"]["comments"]
    assert "blob" not in json.dumps(template["resources"])


def test_a_list_holds_one_pattern_a_line_and_its_notes_what_it_cannot_say(varied: tuple[Rule, ...]) -> None:
    text, notes = lists.edl(varied)
    assert text.splitlines() == ["*.manage.example", "a.*.example", "gate.example", "go.example", "teredo.example"]
    assert [note for note in notes if "star" in note] == [
        f"left out: {INNER} https 443 (a star within a label: devices take it only as a whole label)",
        "a.*.example: some products take a star only as the whole first label",
    ]


def test_the_list_of_everything_has_stars_only_as_whole_labels() -> None:
    done = CliRunner().invoke(app, ["allowlist", "--format", "edl"])
    labels = {label for host in done.stdout.splitlines() for label in host.split(".")}
    assert {label for label in labels if "*" in label} == {"*"}
    assert "left out: *-umwatsonc.events.data.microsoft.com https 443" in done.stderr


@pytest.mark.parametrize(
    "proxy", ["p.example:0", "p.example:99999", "p.example:65536", "p.example:", "p.example", ":80", "::1:80", "[p]:80"]
)
def test_no_script_names_a_proxy_that_no_browser_can_use(proxy: str) -> None:
    done = CliRunner().invoke(app, ["allowlist", "--format", "pac", "--pac-proxy", proxy])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"a port up to 65535, found '{proxy}'" in done.stderr


@pytest.mark.parametrize("proxy", ["p.example:1", "192.0.2.1:65535", "[2001:db8::1]:3128"])
def test_a_script_names_the_proxy(proxy: str) -> None:
    done = CliRunner().invoke(app, ["allowlist", "--format", "pac", "--pac-proxy", proxy])
    assert f"PROXY {proxy}" in done.stdout


def test_a_template_for_azure_has_the_documented_shape(varied: tuple[Rule, ...]) -> None:
    template = json.loads(lists.azure_firewall(varied))
    (group,) = template["resources"]
    network, application = group["properties"]["ruleCollections"]
    assert group["type"] == "Microsoft.Network/firewallPolicies/ruleCollectionGroups"
    assert {one["ruleCollectionType"] for one in (network, application)} == {"FirewallPolicyFilterRuleCollection"}
    assert [one["action"] for one in (network, application)] == [{"type": "Allow"}] * 2
    assert network["priority"] < application["priority"]
    source = "[parameters('sourceAddresses')]"
    assert application["rules"] == [
        {
            "ruleType": "ApplicationRule",
            "name": name,
            "protocols": [{"protocolType": kind, "port": port} for port in ports],
            "sourceAddresses": source,
            "targetFqdns": hosts,
        }
        for name, kind, ports, hosts in (
            ("http-80", "Http", [80], ["go.example"]),
            ("https-443", "Https", [443], ["*-x.events.example", "*.manage.example", "gate.example", "go.example"]),
            ("https-10124-10139", "Https", range(10124, 10140), ["gate.example"]),
        )
    ]
    assert network["rules"] == [
        {
            "ruleType": "NetworkRule",
            "name": "tcp-443-addresses",
            "ipProtocols": ["TCP"],
            "sourceAddresses": source,
            "destinationAddresses": ["192.0.2.7", "2001:db8::1"],
            "destinationPorts": ["443"],
        },
        {
            "ruleType": "NetworkRule",
            "name": "udp-3544-fqdns",
            "ipProtocols": ["UDP"],
            "sourceAddresses": source,
            "destinationFqdns": ["teredo.example"],
            "destinationPorts": ["3544"],
        },
    ]


def test_a_script_for_windows_makes_a_keyword_for_each_name_and_a_rule_for_each_port(varied: tuple[Rule, ...]) -> None:
    script = lists.windows_firewall(varied)
    keywords = dict(re.findall(r"^    '(\{[0-9a-f-]{36}\})' = '([^']+)'$", script, re.MULTILINE))
    rules = re.findall(
        r"-Protocol (\w+) -RemotePort '([0-9-]+)' -Remote(\w+) '([^']+)' \| Out-Null$", script, re.MULTILINE
    )
    assert sorted(keywords.values()) == ["*.manage.example", "gate.example", "go.example", "teredo.example"]
    assert sorted((keywords.get(remote, remote), protocol, ports) for protocol, ports, _, remote in rules) == [
        ("*.manage.example", "TCP", "443"),
        ("192.0.2.7", "TCP", "443"),
        ("2001:db8::1", "TCP", "443"),
        ("gate.example", "TCP", "10124-10139"),
        ("gate.example", "TCP", "443"),
        ("go.example", "TCP", "443"),
        ("go.example", "TCP", "80"),
        ("teredo.example", "UDP", "3544"),
    ]
    assert f"#   {INNER} https 443 (a keyword's star is documented as the whole first label only)" in script


def test_rules_for_nftables_name_each_address_once_and_what_has_none(varied: tuple[Rule, ...]) -> None:
    names = lists.names_to_resolve(varied)
    script = lists.nftables(
        varied, {"go.example": ("192.0.2.1", "2001:db8::9"), "gate.example": ("192.0.2.1", "fe80::1%eth0")}
    )
    assert names == ("gate.example", "go.example", "teredo.example")
    assert script.count("192.0.2.1,  # gate.example, go.example") == 1
    assert "fe80" not in script
    assert "#   teredo.example udp 3544 (the name has no address now)" in script
    assert "#   *.manage.example https 443 (a wildcard has no addresses)" in script


def test_a_pac_file_names_the_proxy_that_is_given_or_says_that_it_lacks_one(varied: tuple[Rule, ...]) -> None:
    assert 'var LISTED = "PROXY proxy.corp.example:3128";' in lists.pac(varied, "proxy.corp.example:3128")
    assert "TO DO: put your proxy" in lists.pac(varied, None)
    assert "TO DO" not in lists.pac(varied, "proxy.corp.example:3128")


def test_a_request_tells_purpose_roles_destinations_constraints_reasons_and_the_test(varied: tuple[Rule, ...]) -> None:
    text = lists.change_request(varied, ROLES)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Purpose",
        "From where",
        "Direct: rules for the firewall",
        "Not complete yet",
        "Constraints",
        "Reasons",
        "How to test",
    ]
    assert "| `go.example` | http 80, https 443 | **unsupported** |  |" in text
    assert "| `gate.example` | https 10124-10139 | unspecified | two VMs |" in text
    assert "| `portal` | https://docs.example/portal |" in text
    assert "- `teredo.example udp 3544`" in text


def test_a_condition_is_told_only_where_all_that_need_it_have_one() -> None:
    always, sometimes = Endpoint("a.example"), Endpoint("https://a.example", condition="with a gateway")
    assert "with a gateway" not in lists.change_request(rules_of(always, sometimes), ROLES)
    assert "with a gateway" in lists.change_request(rules_of(sometimes), ROLES)


def test_a_table_stays_within_eighty_columns_and_shows_each_host_whole(default: tuple[Rule, ...]) -> None:
    console = Console(width=80, file=io.StringIO())
    lists.print_rules(default, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    short = {rule.host for rule in default if len(rule.host) <= 44}  # what the column has room for
    assert max(map(len, shown.splitlines())) <= 80
    assert {host for host in short if host not in shown} == set()
    assert "TO DO: set site.parameters.cloud_service_name" in shown


def test_csv_and_json_tell_the_same(default: tuple[Rule, ...]) -> None:
    records = list(csv.DictReader(io.StringIO(lists.rules_csv(default))))
    objects = json.loads(lists.rules_json(default))
    plain = ("role", "path", "host", "protocol", "ports")
    assert [[record[key] for key in plain] for record in records] == [[one[key] for key in plain] for one in objects]
    assert [record["missing"] or None for record in records] == [one["missing"] for one in objects]
    weights = [{need["importance"] for need in one["needed_for"]} for one in objects]
    order = ["critical", "normal", "low"]
    assert [record["importance"] for record in records] == [min(each, key=order.index) for each in weights]
    assert len(set(map(len, weights))) > 1


# ---------------------------------------------------------------- nothing that is written in a pattern breaks a format

SAFE: Final = r"[a-z0-9_*][a-z0-9_*.:-]*"
hostile: Final = st.text(max_size=20) | st.sampled_from(
    [
        "a.example\nhttp_access allow all",
        "a.example'; Remove-Item C:\\ #",
        "a.example\u2019; calc #",
        '"];alert(1);//',
        "*/ evil() /*",
        "a.example } ; flush ruleset",
        "fe80::1%'; calc #",
        "a.example\\",
        "[concat('x')]",
        "=cmd|' /C calc'!A0",
        "<x>|`</script>",
        "$(calc)",
        "a.example\u2028evil()",
    ]
)
hostile_rules: Final = st.lists(
    st.builds(
        Rule,
        role=hostile,
        path=st.just("direct") | hostile,
        host=st.just("go.example") | hostile,
        protocol=st.sampled_from(["https", "http", "udp"]) | hostile,
        ports=st.sampled_from(["443", "1-9"]),
        tls_inspection=st.none() | st.sampled_from(Support),
        authenticated_proxy=st.none() | st.sampled_from(Support),
        needed_for=st.builds(
            Need, hostile, hostile, hostile, docs=st.none() | hostile, condition=st.none() | hostile
        ).map(lambda need: (need,)),
        targets=hostile.map(lambda url: (url,)),
        missing=st.none() | hostile,
    ),
    max_size=4,
)
SQUID_LINE: Final = re.compile(
    r"|#(?:.*[^\\])?|acl configmgr_\w+ (?:src all|method CONNECT|proto HTTPS?|port [0-9-]+|any-of [\w ]+"
    rf"|dstdomain -n (?:{SAFE}|\[[0-9a-f:.]+\])|dstdom_regex -n -i \^[\w.*+\[\]:-]+\$)"
    r"|http_access allow configmgr_from !?configmgr_connect [\w ]+"
)
NFT_LINE: Final = re.compile(
    r"|#.*|(?:add|flush) chain inet filter configmgr|add table inet filter"
    r"|(?:add set|flush set|add element|add rule) inet filter configmgr(?:_\w+)?[\w @{};-]*"
    rf"|    [0-9a-f:.]+,  # {SAFE}(?:, {SAFE})*|}}"
)


WINDOWS_LINE: Final = re.compile(
    rf"#.*|    '\{{[0-9a-f-]{{36}}\}}' = '{SAFE}'"
    r"|New-NetFirewallRule -Group \$group -Direction Outbound -Action Allow"
    rf" -DisplayName 'ConfigMgr: {SAFE} \w+ [0-9-]+' -Protocol (?:TCP|UDP) -RemotePort '[0-9-]+'"
    rf" -Remote\w+ '(?:\{{[0-9a-f-]{{36}}\}}|{SAFE})' \| Out-Null"
)
PAC_LINE: Final = re.compile(
    rf'//.*|  \{{scheme: "https?", first: [0-9]+, last: [0-9]+, hosts: \[|    "{SAFE}",?|\]\}},?', re.ASCII
)


@given(hostile_rules)
def test_no_text_leaves_its_place_in_a_script(rules: list[Rule]) -> None:
    addresses = {"go.example": ("192.0.2.1",)}
    windows, pac = set(lists.windows_firewall([]).split("\n")), set(lists.pac([], None).split("\n"))
    assert all(SQUID_LINE.fullmatch(line) for line in lists.squid(rules).split("\n"))
    assert all(NFT_LINE.fullmatch(line) for line in lists.nftables(rules, addresses).split("\n"))
    assert all(
        WINDOWS_LINE.fullmatch(line) for line in lists.windows_firewall(rules).split("\n") if line not in windows
    )
    assert all(PAC_LINE.fullmatch(line) for line in lists.pac(rules, None).split("\n") if line not in pac)
    assert all(re.fullmatch(SAFE, line) for line in lists.edl(rules)[0].split("\n") if line)
    scripts = (lists.squid(rules), lists.windows_firewall(rules), lists.pac(rules, None), *lists.edl(rules)[1])
    assert all(script.isascii() for script in scripts)


def texts(value: Any) -> Iterable[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts(one)]


@given(hostile_rules)
def test_no_text_is_an_expression_in_a_template(rules: list[Rule]) -> None:
    template, empty = (json.loads(lists.azure_firewall(some)) for some in (rules, []))
    expressions = {text for text in texts(template) if text.startswith("[")}
    assert expressions <= {text for text in texts(empty) if text.startswith("[")} | {"[parameters('sourceAddresses')]"}


@given(hostile_rules)
def test_no_text_leaves_its_cell_in_a_table(rules: list[Rule]) -> None:
    roles = {rule.role: Role(rule.role, "title") for rule in rules}
    found = lists.difference(rules, [replace(rule, missing="x") for rule in rules])
    compared = lists.Comparison((), tuple(rules), tuple((rule, "why") for rule in rules))
    failed = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "a | b\n`c` <d>")
    seen = [
        lists.Seen(Result(CheckKey(Target(f"https://{rule.host}/")), 0.0, failure=failed), connection)
        for rule in rules
        for connection in (None, Connection(None, SocketAddress("::1", 53), "udp", 0.0, None, "x", request=rule.host))
    ]
    pages = (
        lists.change_request(rules, roles, seen=seen),
        lists.difference_markdown(found),
        lists.comparison_markdown(compared),
    )
    bars = re.compile(r"(?<!\\)(?:\\\\)*\|")
    for page in pages:
        lines = page.split("\n")
        header = [line for line in lines if line.startswith("| ---")]
        widths = {len(bars.findall(line)) for line in header}
        assert {len(bars.findall(line)) for line in lines if line.startswith("|")} <= widths
        assert all(line.isprintable() for line in lines)
    records = list(csv.reader(io.StringIO(lists.rules_csv(rules), newline="")))
    assert {len(record) for record in records} == {len(records[0])}
    assert not [cell for record in records[1:] for cell in record if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(hostile_rules)
def test_no_text_steers_a_terminal(rules: list[Rule]) -> None:
    console = Console(width=60, file=io.StringIO())
    lists.print_rules(rules, console)
    lists.print_difference(lists.difference(rules, [replace(rule, missing="x") for rule in rules]), console)
    lists.print_comparison(lists.Comparison((), tuple(rules), tuple((rule, "\x1b[2J") for rule in rules)), console)
    assert isinstance(console.file, io.StringIO)
    assert all(line.isprintable() for line in console.file.getvalue().split("\n"))


@given(hostile_rules)
def test_json_and_junit_hold_any_text(rules: list[Rule]) -> None:
    compared = lists.Comparison((), tuple(rules), tuple((rule, "why") for rule in rules))
    report = lists.comparison_junit(compared)
    suite = ET.fromstring(report)  # noqa: S314 - it is our own
    assert violations(report) == []
    unjudged = json.loads(lists.comparison_json(compared))["unjudged"]
    assert [(one["rule"]["host"], one["reason"]) for one in unjudged] == [(rule.host, "why") for rule in rules]
    assert [one["host"] for one in json.loads(lists.rules_json(rules))] == [rule.host for rule in rules]
    assert len(suite.findall(".//failure")) == len(suite.findall(".//skipped")) == len(rules)


# ---------------------------------------------------------------- what changed


def test_what_came_went_and_changed_is_told_and_how_a_rule_is_tested_is_no_change() -> None:
    before = rules_of(Endpoint("a.example"), Endpoint("b.example"), Endpoint("c.example"))
    after = rules_of(
        Endpoint("a.example", tls_inspection=Support.UNSUPPORTED),
        Endpoint("b.example", probe=("https://b.example/health",)),
        Endpoint("d.example"),
    )
    found = lists.difference(before, after)
    assert (whats(found.added), whats(found.removed)) == (["d.example https 443"], ["c.example https 443"])
    assert [(was.what, now.tls_inspection) for was, now in found.changed] == [("a.example https 443", "unsupported")]
    assert "TLS inspection: unspecified, now unsupported" in lists.difference_markdown(found)
    assert found.headline == "1 added, 1 removed, 1 changed"


def test_a_new_feature_or_document_of_a_rule_is_a_change() -> None:
    (rule,) = rules_of(Endpoint("a.example"))
    moved = replace(rule, needed_for=(replace(rule.needed_for[0], docs="https://docs.example/new"),))
    text = lists.difference_markdown(lists.difference([rule], [moved]))
    assert "no longer needed for portal (azure-public, active), see https://docs.example/portal" in text
    assert "now needed for portal (azure-public, active), see https://docs.example/new" in text


@given(catalogues(), sites)
def test_a_list_that_was_written_and_read_again_has_not_changed(catalogue: Catalogue, site: Site) -> None:
    rules = lists.rules(catalogue, catalogue.groups, site, Settings())
    written = read_back(lists.rules_json(rules))
    assert written == rules
    assert not lists.difference(written, rules)


def read_back(text: str) -> tuple[Rule, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.allowlist.existing.read_text", lambda *_: text)
        return lists.read_rules(Path("old.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: not JSON: Expecting value"),
        ("{}", ":1: no rule of an allow list"),
        ('[{"role": "client"}]', ":1: [0].path: no rule of an allow list"),
        ("[1]", ":1: [0]: no rule of an allow list"),
        ("[" * 100_000, ":1: no"),
        ("\ufeff[\n{]", ":2: not JSON"),
    ],
)
def test_an_older_list_that_is_none_is_an_error_with_a_remedy(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError) as error:
        lists.read_rules(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "write the file anew by `allowlist --format json`" in str(error.value)


def test_ports_that_are_none_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(lists.rules_json(rules_of(Endpoint("a.example"))).replace('"443"', '"any"'))
    with pytest.raises(DocumentError, match="no JSON of an allow list"):
        lists.read_rules(path)


# ---------------------------------------------------------------- what a list lacks

NEEDED: Final = (
    Endpoint("a.example", schemes=("https", "http")),
    Endpoint("*.b.example"),
    Endpoint("c.example", ports=(8531,)),
    Endpoint("t.example", schemes=("udp",), ports=(3544,)),
    Endpoint("<name>.example", probe=("https://{name}.example/",)),
)
READ_BACK: Final = {AllowlistFormat.CSV, AllowlistFormat.JSON, AllowlistFormat.EDL, AllowlistFormat.NFTABLES}
PUBLIC: Final = ["*.b.example https 443", "a.example http 80", "a.example https 443", "c.example https 8531"]


@pytest.fixture
def missing_in(tmp_path: Path) -> Any:
    """What a file lacks of NEEDED."""

    def compare(text: str) -> list[str]:
        path = tmp_path / "list"
        path.write_text(text, newline="")
        return whats(lists.compare(rules_of(*NEEDED), lists.read_allowed(path)).missing)

    return compare


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        # What lists say line by line, in the notations of several products.
        ("a.example\n*.b.example\nc.example\nt.example", []),
        ("# comment\n; more\n\nA.EXAMPLE.\n.b.example  # below\nc.example\t// tab\n t.example ", []),
        # A URL allows its scheme, by its port or the usual one.
        ("https://a.example\n*.b.example\nHTTPS://c.example:8531/\nt.example", ["a.example http 80"]),
        (
            "http://a.example/\n.b.example\nhttps://c.example\nt.example",
            ["a.example https 443", "c.example https 8531"],
        ),
        ("a.example\n*.b.example\nc.example:443\nt.example", ["c.example https 8531"]),
        ("a.example/only/this\n.b.example\nc.example\nt.example", ["a.example http 80", "a.example https 443"]),
        ("*.example", []),
        (".example", []),
        ("a.example\nx.b.example\nc.example\nt.example", ["*.b.example https 443"]),
        ("[2001:db8::1]\n2001:db8::1\n192.0.2.7", [*PUBLIC, "t.example udp 3544"]),
    ],
)
def test_what_a_list_lacks_is_told(missing_in: Any, text: str, missing: list[str]) -> None:
    assert missing_in(text) == missing


def test_a_list_that_allows_a_part_of_the_ports_lacks_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "list"
    rules = rules_of(Endpoint("a.example", extra_ports=(ExtraPorts("10124-10139", "https", "two VMs"),)))
    path.write_text("a.example:443\na.example:10124\n")
    assert whats(lists.compare(rules, lists.read_allowed(path)).missing) == ["a.example https 10124-10139"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: lists nothing"),
        ("# a comment", ":1: lists nothing"),
        ("Subject: request\n\nDear all,\nplease open the firewall", ":1: expected a host"),
        (
            "a.example\nb.example\nplease open these",
            ":3: expected a host, a wildcard or a URL alone on its line, found 'ple",
        ),
        ("a.example\nb.example deny", ":2: expected a host"),
        ("a.example ; deny", ":1: expected a host"),
        ("a.example;deny\n", ":1: expected a host"),
        ("a.example\n!b.example", ":2: expected a host"),
        ("a.example\n-b.example", ":2: expected a host"),
        ("a.example\nftp://b.example", ":2: expected a host"),
        ('"a.example",\n"b.example"', ":1: expected a host"),
        ("host,action\na.example,deny", ":1: expected a host"),
        # What a proxy or a firewall is configured by.
        (
            "# ours\nacl l dstdomain .example\nhttp_access allow localhost manager\nhttp_access deny all",
            ":2: expected a",
        ),
        ("function FindProxyForURL(url, host) {\n  return 'DIRECT';\n}", ":1: expected a host"),
        ("table inet filter {\n}", ":1: expected a host"),
        ('{"$schema": "https://schema.management.azure.com/", "resources": []}', ":1: no rule"),
        ('{"rules": []}', ":1: no rule of an allow list"),
        (f"{','.join(HEADER)}\nclient,direct,a.example,https,any", ":2: no record of an allow list"),
    ],
)
def test_a_file_that_is_no_allow_list_is_an_error(missing_in: Any, text: str, message: str) -> None:
    with pytest.raises(DocumentError) as error:
        missing_in(text)
    assert message in str(error.value)
    assert "run the exporter through it: `check` asks it" in str(error.value) or "--format csv`" in str(error.value)


@pytest.mark.parametrize("form", [form for form in AllowlistFormat if form not in READ_BACK])
def test_the_files_for_devices_are_refused_with_what_to_do_instead(form: AllowlistFormat, tmp_path: Path) -> None:
    path = tmp_path / "written"
    arguments = ["allowlist", "--role", "console", "--feature", "admin-console", "--format", form]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    path.write_text(done.stdout)
    with pytest.raises(DocumentError, match="run the exporter through it: `check` asks it"):
        lists.read_allowed(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_as_a_spreadsheet_saves_it(varied: tuple[Rule, ...], delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    records = list(csv.DictReader(io.StringIO(lists.rules_csv(varied))))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, ["ports", "host", "protocol"], delimiter=delimiter, extrasaction="ignore")
        table.writeheader()
        table.writerows(records[1:])
        file.write(f"{delimiter}{delimiter}\r\n")
    first = records[0]
    lacking = lists.compare(varied, lists.read_allowed(path)).missing
    assert whats(lacking) == [f"{first['host']} {first['protocol']} {first['ports']}"]


@given(catalogues(), sites)
def test_what_we_write_ourselves_is_complete(catalogue: Catalogue, site: Site) -> None:
    rules = lists.rules(catalogue, catalogue.groups, site, Settings())
    with pytest.MonkeyPatch.context() as patch:
        for text in (lists.rules_csv(rules), lists.rules_json(rules)):
            patch.setattr("exporter.allowlist.existing.read_text", lambda *_, text=text: text)
            assert lists.compare(rules, lists.read_allowed(Path("list"))).missing == ()


def test_what_we_write_for_addresses_and_unusual_wildcards_is_complete(
    varied: tuple[Rule, ...], tmp_path: Path
) -> None:
    path = tmp_path / "list"
    names = [rule for rule in varied if "192" not in rule.host and ":" not in rule.host and rule.host != INNER]
    for rules, text in (
        (varied, lists.rules_csv(varied)),
        (names, lists.edl(varied)[0]),
    ):
        path.write_text(text, newline="")
        assert lists.compare(rules, lists.read_allowed(path)).missing == ()


def test_what_lacks_a_parameter_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(".example\n")
    compared = lists.compare(rules_of(*NEEDED), lists.read_allowed(path))
    assert [rule.what for rule, _ in compared.unjudged] == ["<name>.example https 443"]
    assert compared.headline == "COMPLETE: 0 of 5 rules missing; 1 not judged"


# ---------------------------------------------------------------- the commands


@pytest.mark.parametrize("form", [form for form in AllowlistFormat if form is not AllowlistFormat.NFTABLES])
def test_every_format_is_written_for_any_pattern_that_the_configuration_takes(
    form: AllowlistFormat, tmp_path: Path
) -> None:
    names = ["a\nhttp_access allow all", "'; calc #", '"];x(); //', "\u2028", "\u2019; calc #", "=1+1", "|`$(b)"]
    endpoints = [{"pattern": f"<{name}>.corp.example"} for name in names]
    endpoints += [{"pattern": "https://[fe80::1%25';calc]/"}, {"pattern": "a.example/'\"`$(x)|"}]
    path = tmp_path / "exporter.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"feature": "portal", "roles": ["client"], "endpoints": endpoints}]}))
    arguments = ["--config.file", str(path), "--role", "client", "--feature", "portal", "--format", form]
    done = CliRunner().invoke(app, ["allowlist", *arguments])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip()


def test_a_path_narrows_the_list_and_one_that_the_site_does_not_take_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yaml"
    path.write_text(
        """
site: {parameters: {child_site_sup_fqdn: sup1.corp.example}}
proxies: {corporate: {url: "http://proxy.corp.example:3128", no_proxy: [.corp.example]}}
via: {software-update-point: corporate}
"""
    )
    arguments = [
        "allowlist",
        "--config.file",
        str(path),
        "--role",
        "software-update-point",
        "--format",
        "edl",
        "--path",
    ]
    direct = CliRunner().invoke(app, [*arguments, "direct"])
    proxied = CliRunner().invoke(app, [*arguments, "proxy:corporate"])
    unknown = CliRunner().invoke(app, [*arguments, "proxy:corporat"])
    assert direct.stdout == "sup1.corp.example\n"
    assert "sws.update.microsoft.com" in proxied.stdout.splitlines()
    assert "sup1" not in proxied.stdout
    assert "did you mean proxy:corporate?" in str(unknown.exception)


def test_the_difference_to_an_older_list_is_the_exit_status(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text(CliRunner().invoke(app, ["allowlist", "--role", "console", "--format", "json"]).stdout)
    same = CliRunner().invoke(app, ["allowlist", "--role", "console", "--diff", str(old)])
    other = CliRunner().invoke(app, ["allowlist", "--role", "client", "--diff", str(old), "--format", "json"])
    assert (same.exit_code, same.stdout) == (0, "No rule has changed.\n")
    assert other.exit_code == 1
    assert {rule["role"] for rule in json.loads(other.stdout)["added"]} == {"client"}


@pytest.mark.parametrize("form", ["table", "json", "junit", "markdown"])
def test_what_an_existing_list_lacks_is_the_exit_status_and_nothing_is_probed(form: str, tmp_path: Path) -> None:
    arguments = ["--role", "console", "--format", form, "--against"]
    full, part = tmp_path / "full", tmp_path / "part"
    full.write_text(CliRunner().invoke(app, ["allowlist", "--role", "console", "--format", "csv"]).stdout)
    part.write_text("aka.ms\n")
    complete = CliRunner().invoke(app, ["check", *arguments, str(full)])
    lacking = CliRunner().invoke(app, ["check", *arguments, str(part)])
    assert (complete.exit_code, lacking.exit_code) == (0, 1)
    assert "aadcdn.msauth.net" in lacking.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["allowlist", "--diff", "old.json", "--format", "pac"], "--diff is written as table, json, markdown"),
        (["allowlist", "--pac-proxy", "proxy.corp.example:3128"], "--pac-proxy goes with --format pac"),
        (["allowlist", "--format", "pac", "--pac-proxy", '";x();"'], "expected HOST:PORT"),
        (["check", "--path", "direct"], "--path goes with --against"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, arguments, terminal_width=200)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_a_firewall_request_says_how_important_its_features_are_as_the_operator_has_it(tmp_path: Path) -> None:
    (tmp_path / "exporter.yaml").write_text(
        "site: {roles: [console]}\nfeatures: {deploy-edge: {importance: critical}}\n"
    )
    asked = ["allowlist", "--config.file", str(tmp_path / "exporter.yaml"), "--feature"]
    said = {
        feature: CliRunner().invoke(app, [*asked, feature, "--format", "markdown"]).stdout
        for feature in ("deploy-edge", "console-feedback")
    }
    data = json.loads(CliRunner().invoke(app, [*asked, "deploy-edge", "--format", "json"]).stdout)
    assert "\n\nImportance: critical. Authenticated proxy: " in said["deploy-edge"]
    assert "\n\nImportance: low. Authenticated proxy: " in said["console-feedback"]
    assert {need["importance"] for rule in data for need in rule["needed_for"]} == {"critical"}
