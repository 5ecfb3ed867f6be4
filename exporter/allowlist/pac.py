"""The allow list as a proxy auto-config file: Rules -> JavaScript that every engine of the last decades runs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from string import Template
from typing import Final

from exporter.allowlist.openings import Opening, heading, not_for_a_web_proxy, openings
from exporter.allowlist.rules import Rule
from exporter.model.patterns import span

PLACEHOLDER: Final = "proxy.invalid:3128"

_ADVICE: Final = (
    "What is listed goes through the proxy (LISTED); everything else goes where OTHERS says: direct, so that the",
    "firewall decides. For the reverse, where listed hosts shall bypass the proxy, exchange the two values.",
    "A PAC file leads, it allows nothing: the proxy must let these hosts through, too.",
)
_UNNAMED: Final = f"TO DO: put your proxy in the place of {PLACEHOLDER}."
_PAC: Final = Template("""\
$heading
var LISTED = "PROXY $proxy";
var OTHERS = "DIRECT";

// By scheme and ports.
var OPENINGS = [
$openings
];

function FindProxyForURL(url, host) {
  var parts = /^(https?):[/][/](?:[^/?#@]*@)?(?:\\[[^\\]]*\\]|[^/?#:@]*)(?::([0-9]+))?(?:[/?#]|$$)/i.exec(url);
  if (!parts) {
    return OTHERS;
  }
  var scheme = parts[1].toLowerCase();
  var port = parts[2] ? Number(parts[2]) : (scheme == "https" ? 443 : 80);
  var name = host.toLowerCase().replace(/^\\[|\\]$$|\\.$$/g, "");
  if (/(^|\\.)(\\.|$$)/.test(name)) {
    return OTHERS;
  }
  for (var i = 0; i < OPENINGS.length; i++) {
    var opening = OPENINGS[i];
    if (opening.scheme == scheme && opening.first <= port && port <= opening.last && isListed(name, opening.hosts)) {
      return LISTED;
    }
  }
  return OTHERS;
}

function isListed(name, hosts) {
  for (var i = 0; i < hosts.length; i++) {
    // A star is at least one character: the name itself does not lie below it.
    if (hosts[i] == name || (hosts[i].indexOf("*") >= 0 && shExpMatch(name, hosts[i].replace(/[*]/g, "?*")))) {
      return true;
    }
  }
  return false;
}""")


def pac(rules: Iterable[Rule], proxy: str | None) -> str:
    """A PAC file that sends what is listed through a proxy, `HOST:PORT`; without one, through a placeholder."""
    needed = tuple(rules)
    chosen = openings(needed, not_for_a_web_proxy)
    advice = _ADVICE if proxy else (_UNNAMED, *_ADVICE)
    head = heading("A proxy auto-config (PAC) file", needed, advice, chosen.left_out)
    return _PAC.substitute(
        heading="\n".join(f"// {line}" for line in head),
        proxy=proxy or PLACEHOLDER,
        openings=",\n".join(_opening(opening) for opening in chosen.by_protocol()),
    )


def _opening(opening: Opening) -> str:
    ports = span(opening.ports)
    head = f'  {{scheme: "{opening.protocol}", first: {ports[0]}, last: {ports[-1]}, hosts: '
    return f"{head}{json.dumps(opening.hosts, indent=4)}}}"
