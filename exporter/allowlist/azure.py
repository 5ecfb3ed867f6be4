"""The allow list for Azure Firewall: Rules -> a template of Azure Resource Manager. Pure.

The shape is that of Microsoft.Network/firewallPolicies/ruleCollectionGroups; what names and ports may be is from the
Azure Firewall FAQ, "FQDN filtering in network rules" and the REST reference of FirewallPolicyRuleApplicationProtocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from exporter.allowlist.openings import Openings, heading, openings
from exporter.allowlist.rules import WEB, Rule
from exporter.model.patterns import address_of, is_wildcard, span

_LAST_PORT: Final = 64_000  # of an application rule
_MOST_PORTS: Final = 64  # an application rule names each; a longer range would drown the others
_ADVICE: Final = (
    "Deploy it into the resource group of the firewall policy, with its name as firewallPolicyName.",
    "Names in network rules need the policy's DNS proxy.",
)


def azure_firewall(rules: Iterable[Rule]) -> str:
    """A template with a rule collection group: application rules for HTTP, network rules for the rest."""
    needed = tuple(rules)
    chosen = openings(needed, _why_not)
    application = Openings(tuple(rule for rule in chosen.written if _is_application(rule)), ())
    network = Openings(tuple(rule for rule in chosen.written if not _is_application(rule)), ())
    collections = [
        *_collection("configmgr-network", 100, list(_network_rules(network))),
        *_collection("configmgr-application", 200, list(_application_rules(application))),
    ]
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": {"comments": list(heading("Rules for Azure Firewall", needed, _ADVICE, chosen.left_out))},
        "parameters": {
            "firewallPolicyName": {"type": "string"},
            "priority": {"type": "int", "defaultValue": 1000},
            "sourceAddresses": {"type": "array", "defaultValue": ["*"]},
        },
        "resources": [
            {
                "type": "Microsoft.Network/firewallPolicies/ruleCollectionGroups",
                "apiVersion": "2023-09-01",
                "name": "[concat(parameters('firewallPolicyName'), '/configmgr')]",
                "properties": {"priority": "[parameters('priority')]", "ruleCollections": collections},
            }
        ],
    }
    return json.dumps(template, indent=2)


def _why_not(rule: Rule) -> str | None:
    if "*" in rule.host[1:]:
        return "a star may stand at the left end only"
    if is_wildcard(rule.host) and not _is_application(rule):
        return "a network rule takes no wildcard"
    return None


def _is_application(rule: Rule) -> bool:
    """Whether an application rule can hold it: HTTP to a name, at ports that can be listed."""
    ports = span(rule.ports)
    return (
        rule.protocol in WEB and address_of(rule.host) is None and len(ports) <= _MOST_PORTS and ports[-1] <= _LAST_PORT
    )


def _collection(name: str, priority: int, rules: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A collection, unless it would be empty."""
    if rules:
        yield {
            "ruleCollectionType": "FirewallPolicyFilterRuleCollection",
            "name": name,
            "priority": priority,
            "action": {"type": "Allow"},
            "rules": rules,
        }


def _application_rules(chosen: Openings) -> Iterator[dict[str, Any]]:
    for opening in chosen.by_protocol():
        kind = opening.protocol.capitalize()
        yield {
            "ruleType": "ApplicationRule",
            "name": f"{opening.protocol}-{opening.ports}",
            "protocols": [{"protocolType": kind, "port": port} for port in span(opening.ports)],
            "sourceAddresses": "[parameters('sourceAddresses')]",
            "targetFqdns": list(opening.hosts),
        }


def _network_rules(chosen: Openings) -> Iterator[dict[str, Any]]:
    """Names and addresses by themselves: a rule takes one of the two."""
    for opening in chosen.by_transport():
        addresses = [host for host in opening.hosts if address_of(host) is not None]
        names = [host for host in opening.hosts if address_of(host) is None]
        for kind, hosts in (("Fqdns", names), ("Addresses", addresses)):
            if hosts:
                yield {
                    "ruleType": "NetworkRule",
                    "name": f"{opening.protocol}-{opening.ports}-{kind.lower()}",
                    "ipProtocols": [opening.protocol.upper()],
                    "sourceAddresses": "[parameters('sourceAddresses')]",
                    f"destination{kind}": hosts,
                    "destinationPorts": [opening.ports],
                }
