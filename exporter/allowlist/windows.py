"""The allow list for Windows Firewall: Rules -> a PowerShell script. Pure.

The facts are those of the document "Windows Firewall dynamic keywords" (learn.microsoft.com/windows/security/
operating-system-security/network-security/windows-firewall/dynamic-keywords).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from uuid import NAMESPACE_DNS, uuid5

from exporter.allowlist.hosts import begins_with_its_star
from exporter.allowlist.openings import heading, openings
from exporter.allowlist.rules import Rule
from exporter.model.patterns import address_of, is_wildcard

_ADVICE: Final = (
    "Names become addresses by dynamic keywords: these need Microsoft Defender Antivirus (platform 4.18.2209.7 or",
    "newer) with network protection in block or audit mode, and DNS over HTTPS switched off. A name opens as soon as a",
    "program has asked the DNS for it, so a very first connection may come too early. What goes through a proxy, a VPN",
    "tunnel or a secure DNS service may not be seen. The rules matter only where outbound traffic is blocked by",
    "default: Set-NetFirewallProfile -DefaultOutboundAction Block.",
    "Run it as administrator; run again, it replaces its own rules.",
)
_HEAD: Final = """\
$ErrorActionPreference = 'Stop'
$group = 'configmgr-endpoint-exporter'
Get-NetFirewallRule -Group $group -ErrorAction SilentlyContinue | Remove-NetFirewallRule
"""
_KEYWORDS: Final = """\
foreach ($id in $keywords.Keys) {
    Remove-NetFirewallDynamicKeywordAddress -Id $id -ErrorAction SilentlyContinue
    New-NetFirewallDynamicKeywordAddress -Id $id -Keyword $keywords[$id] -AutoResolve $true | Out-Null
}
"""
_ALLOW: Final = "New-NetFirewallRule -Group $group -Direction Outbound -Action Allow"


def windows_firewall(rules: Iterable[Rule]) -> str:
    """A script that allows outbound what is listed. It changes no default and blocks nothing."""
    needed = tuple(rules)
    chosen = openings(needed, _why_not)
    names = sorted({rule.host for rule in chosen.written if address_of(rule.host) is None})
    return "\n".join(
        (
            *(f"# {line}" for line in heading("Windows Firewall rules", needed, _ADVICE, chosen.left_out)),
            "",
            _HEAD,
            "$keywords = @{",
            *(f"    {_quoted(_id(name))} = {_quoted(name)}" for name in names),
            "}",
            _KEYWORDS,
            *_rules(chosen.written),
        )
    )


def _why_not(rule: Rule) -> str | None:
    if is_wildcard(rule.host) and not begins_with_its_star(rule.host):
        return "a keyword's star is documented as the whole first label only"
    return None


def _rules(written: Iterable[Rule]) -> Iterator[str]:
    for host, transport, ports in sorted({(rule.host, rule.transport, rule.ports) for rule in written}):
        name = _quoted(f"ConfigMgr: {host} {transport} {ports}")
        where = f"-Protocol {transport.upper()} -RemotePort {_quoted(ports)}"
        remote = (
            f"-RemoteDynamicKeywordAddresses {_quoted(_id(host))}"
            if address_of(host) is None
            else f"-RemoteAddress {_quoted(host)}"
        )
        yield f"{_ALLOW} -DisplayName {name} {where} {remote} | Out-Null"


def _id(name: str) -> str:
    """The keyword's id: always the same for a name, so that a second run finds what the first has made."""
    return f"{{{uuid5(NAMESPACE_DNS, name)}}}"


def _quoted(text: str) -> str:
    """A verbatim string. What is written here holds no quote of any kind: `openings` lets none through."""
    return f"'{text}'"
