"""What must be let through for a site, in the words of firewalls and proxies, and what an existing list lacks."""

from exporter.allowlist.azure import azure_firewall
from exporter.allowlist.comparison import Comparison, compare
from exporter.allowlist.data import comparison_json, difference_json, rules_csv, rules_json
from exporter.allowlist.difference import Difference, difference
from exporter.allowlist.down import Closed, Seen, closed
from exporter.allowlist.edl import edl
from exporter.allowlist.existing import read_allowed, read_rules
from exporter.allowlist.junit import comparison_junit
from exporter.allowlist.lookup import addresses_of
from exporter.allowlist.markdown import change_request, comparison_markdown, difference_markdown
from exporter.allowlist.nftables import names_to_resolve, nftables
from exporter.allowlist.pac import pac
from exporter.allowlist.rules import Need, Rule, rules
from exporter.allowlist.squid import squid
from exporter.allowlist.terminal import print_comparison, print_difference, print_rules
from exporter.allowlist.windows import windows_firewall

__all__ = [
    "Closed",
    "Comparison",
    "Difference",
    "Need",
    "Rule",
    "Seen",
    "addresses_of",
    "azure_firewall",
    "change_request",
    "closed",
    "compare",
    "comparison_json",
    "comparison_junit",
    "comparison_markdown",
    "difference",
    "difference_json",
    "difference_markdown",
    "edl",
    "names_to_resolve",
    "nftables",
    "pac",
    "print_comparison",
    "print_difference",
    "print_rules",
    "read_allowed",
    "read_rules",
    "rules",
    "rules_csv",
    "rules_json",
    "squid",
    "windows_firewall",
]
