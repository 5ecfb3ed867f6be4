"""What each reason means in words, what to change, and who can: the one place for these words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Cause, Failure, Reason, WhyUnprobed


class Who(StrEnum):
    """Who can change it."""

    DNS = "DNS"
    FIREWALL = "firewall"
    PROXY = "proxy"
    PKI = "PKI"
    OPERATOR = "exporter's operator"
    NOBODY = "owner not known yet"  # first find out who answers, or who keeps silent


@dataclass(frozen=True, slots=True)
class Words:
    """A reason for people: one sentence of what it means, what to change, and whose change that is."""

    summary: str
    remedy: str
    who: Who

    @property
    def to_do(self) -> str:
        """What to change, and who can, on one line."""
        return f"To do ({self.who}): {self.remedy}"


WORDS: Final[Mapping[Reason, Words]] = MappingProxyType(
    {
        Reason.DNS_NOT_FOUND: Words(
            "The resolver that this machine uses says that the name does not exist.",
            "Ask a resolver outside for the same name. If it knows the name, let the resolver here answer for public "
            "names: a zone of your own or a DNS filter may hide it. If it does not know it either, check the spelling "
            "of names that you configured, and whether the endpoint is still documented. If the role goes through a "
            "proxy, name the proxy under `via`: then the proxy resolves the name.",
            Who.DNS,
        ),
        Reason.DNS_TIMEOUT: Words(
            "The resolver that this machine uses did not answer before the time-out.",
            "Make the DNS servers of this machine reachable from it, by UDP and TCP port 53, and have them forward "
            "public names to a server that answers. If the role goes through a proxy, name the proxy under `via`: "
            "then the proxy resolves the name.",
            Who.DNS,
        ),
        Reason.DNS_ERROR: Words(
            "The name could not be resolved: no DNS server could be asked, or the answer was an error.",
            "Check which DNS servers this machine is given, that they are reachable by UDP and TCP port 53, and that "
            "they can resolve public names. If the role goes through a proxy, name the proxy under `via`: then the "
            "proxy resolves the name.",
            Who.DNS,
        ),
        Reason.CONNECT_TIMEOUT: Words(
            "Nothing answers on that address and port: most likely a firewall drops the packets.",
            "Open the TCP port of the target (443 for https and 80 for http, if the URL does not name another) from "
            "the role's server outwards, for the name or wildcard as documented. If the role must go through a proxy, "
            "name the proxy under `via`.",
            Who.FIREWALL,
        ),
        Reason.CONNECT_REFUSED: Words(
            "The connection is rejected: a firewall refuses it, or nothing listens on that port of that address.",
            "Check that the name resolves to the service's own address and not to one that a DNS filter or a hosts "
            "file puts in its place. Then open the TCP port of the target from the role's server outwards, on the "
            "firewall that sends the reset.",
            Who.FIREWALL,
        ),
        Reason.CONNECT_UNREACHABLE: Words(
            "There is no way to that address: no route leads there, or a firewall on this machine or on the way "
            "forbids it.",
            "Check the default route, and the outbound rules of this machine's own firewall. If the address is an "
            "IPv6 address, give this machine a way to IPv6 addresses or resolve the name to IPv4. If the role must go "
            "through a proxy, name the proxy under `via`.",
            Who.FIREWALL,
        ),
        Reason.PROXY_UNREACHABLE: Words(
            "No connection to the proxy: its name does not resolve, or it does not take the connection.",
            "Check host and port in the `url` of the proxy under `proxies`, that the proxy is running, and that the "
            "role's server may connect to it. Until then nothing through this proxy can be judged.",
            Who.PROXY,
        ),
        Reason.PROXY_AUTH_REQUIRED: Words(
            "The proxy asks for credentials (407): it was given none, or does not accept those that it was given.",
            "Set `username` and `password_file` of the proxy under `proxies`, and `auth` where just one way to sign in "
            "will do, or let the role's server through without authentication. A site system itself signs in with its "
            "computer account, unless it has a proxy server account: the proxy must let that one through as well.",
            Who.PROXY,
        ),
        Reason.PROXY_DENIED: Words(
            "The proxy refuses the request: its rules do not allow this host and port.",
            "Allow the name or wildcard, as documented, in the proxy's rules for the role's server: CONNECT for https, "
            "GET for http.",
            Who.PROXY,
        ),
        Reason.PROXY_ERROR: Words(
            "The proxy took the request for a tunnel but did not open it: it failed, broke off, or did not answer in "
            "time.",
            "Look for the target in the proxy's log. Check that the proxy itself resolves the name, and that the "
            "firewall lets the proxy connect to the host and port of the target.",
            Who.PROXY,
        ),
        Reason.TLS_TIMEOUT: Words(
            "The connection opened, but the TLS handshake was not finished before the time-out: something on the way "
            "may hold it back.",
            "Let firewall and proxy pass TLS to this name without inspection, and check that they do not drop packets "
            "of full size on the way.",
            Who.FIREWALL,
        ),
        Reason.TLS_UNTRUSTED: Words(
            "The certificate's chain does not verify on this machine: it ends in an authority that is not trusted "
            "here, as behind a device that inspects TLS, or the chain is otherwise not valid.",
            "Look at who issued the certificate. If it is an inspecting device or proxy, exempt this name from "
            "inspection; where inspection is allowed, add the authority to this machine's trust or give it as "
            "`tls.ca_file`. If it is the service's own, add the missing root: Linux lacks some that Windows ships.",
            Who.PKI,
        ),
        Reason.TLS_EXPIRED: Words(
            "A certificate in the chain has expired, or is not valid yet.",
            "Check the clock of this machine. If it is right, look at whose certificate it is: renew your own (an "
            "inspecting device, a cloud management gateway, a server of the intranet); for a public service, look "
            "for a stale certificate that a device on the way presents instead.",
            Who.PKI,
        ),
        Reason.TLS_HOSTNAME_MISMATCH: Words(
            "The certificate is for another name: what answers is not the service, or its certificate lacks this name.",
            "Check that the name resolves to the service's own address, and that no portal or block page answers in "
            "its place. If the service is your own, issue a certificate that holds this name.",
            Who.PKI,
        ),
        Reason.TLS_HANDSHAKE: Words(
            "The TLS handshake was broken off: the connection was cut, or the two sides agree on no protocol version "
            "or cipher suite.",
            "Check that firewall and proxy neither cut connections to this name nor, where they inspect, offer only "
            "old protocol versions or cipher suites: TLS 1.2 must be possible. A port that does not speak TLS at all "
            "looks the same.",
            Who.FIREWALL,
        ),
        Reason.HTTP_TIMEOUT: Words(
            "The connection is open and the request was sent, but no answer came before the time-out.",
            "See from the phases where the time went: if the whole path is slow, raise `probe.timeout`. If only this "
            "phase is, look for a firewall or proxy that holds requests back, and check that packets of full size are "
            "not dropped on the way (path MTU); if it is neither, the service is slow or disturbed: try again later.",
            Who.NOBODY,
        ),
        Reason.HTTP_RESET: Words(
            "The connection was cut after it had opened and before the answer came.",
            "Look for the connection in the logs of firewall, intrusion prevention and proxy: one that reads the "
            "request and does not like it cuts just there. Let requests to this name through.",
            Who.FIREWALL,
        ),
        Reason.HTTP_PROTOCOL: Words(
            "What answers does not speak HTTP as it should.",
            "Find out what listens on that address and port: another service, a device on the way, or a port that "
            "expects the other scheme (http and https mixed up). Correct the port or the scheme if you configured "
            "them.",
            Who.NOBODY,
        ),
        Reason.HTTP_STATUS: Words(
            "The answer has a status that counts as failed: 407, 408, 426, 502, 598 or 599, as Configuration Manager's "
            "own endpoint check counts, or one that the endpoint's own list does not accept.",
            "Find out who answers: 407, 502, 598 and 599 speak of a proxy or gateway on the way, so look for the "
            "target in its log; a 407 without a configured proxy means one on the way that wants to be named under "
            "`via`. If the endpoint has accepted statuses of its own, check that list.",
            Who.PROXY,
        ),
        Reason.HTTP_BLOCKED: Words(
            "The answer is not the service's: a block page, a captive portal, or a status that says so (451, 511).",
            "Exempt this name from the web filter, and the role's server from the portal's sign-in.",
            Who.PROXY,
        ),
        Reason.INTERNAL_ERROR: Words(
            "The probe failed on this machine and says nothing about the endpoint: out of sockets, files or memory, "
            "or a defect of the exporter.",
            "Read the message. If resources are short, raise the limit of open files or lower `probe.concurrency`; "
            "else report it as a defect, with the message.",
            Who.OPERATOR,
        ),
    }
)

CAUSES: Final[Mapping[Cause, Words]] = MappingProxyType(
    {
        Cause.PROXY_SCHEME: Words(
            "The proxy speaks plain HTTP where its `url` says https, or TLS where it says http.",
            "Correct the scheme in the `url` of the proxy under `proxies`. Most proxies are asked in plain HTTP, also "
            "for https targets: write http. Until then nothing through this proxy can be judged.",
            Who.OPERATOR,
        ),
        Cause.PROXY_CERTIFICATE: Words(
            "The proxy's own certificate does not verify, so no connection to the proxy is made.",
            "Look at the proxy's certificate: the host in the `url` of the proxy under `proxies` must stand in it, it "
            "must be valid, and its authority must be trusted here: add that to this machine's trust or give it as "
            "`tls.ca_file`. If the proxy can be asked in plain HTTP, write http in its `url`.",
            Who.PROXY,
        ),
        Cause.NOT_A_PROXY: Words(
            "What answers at the proxy's address does not act as a proxy: most likely it is a web server.",
            "Check host and port in the `url` of the proxy under `proxies`. Many proxies have a web page on a port of "
            "its own beside the one for requests.",
            Who.OPERATOR,
        ),
        Cause.PLAIN_TEXT: Words(
            "What answers on this port speaks plain text and not TLS.",
            "Read what it says. If it is a page of a filter or a portal, exempt this name there. If you configured the "
            "port or the scheme, correct them. Else find out what listens on that address and port.",
            Who.NOBODY,
        ),
        Cause.CLIENT_CERTIFICATE: Words(
            "The server asks for a client certificate, and the exporter has none to show.",
            "The network lets the role through as far as this server. If the server should take anybody, as a public "
            "service does, find out who answers in its place. If it is your own and wants a certificate, the "
            "connection is as good as an exporter without a certificate can see.",
            Who.NOBODY,
        ),
        Cause.FULL_SIZE_PACKETS: Words(
            "Small packets come through, and packets of full size do not: a tunnel or a line on the way takes smaller "
            "ones only, and something keeps the message that says so from the sender.",
            'Let ICMP "fragmentation needed" (for IPv6 "packet too big") through every firewall on the way, or have '
            "the router before the tunnel lower the segment size of TCP (MSS clamping). A smaller MTU on this machine "
            "shows whether it is that.",
            Who.FIREWALL,
        ),
        Cause.LOGIN_PAGE: Words(
            "A proxy or a filter wants somebody to log in on a page of its own, which no service can do.",
            "Let the role's server through without that login: exempt its address, or this name, from authentication "
            "at the product that the message names. A cloud proxy knows a server by its address or by a tunnel from "
            "your site. `username` and `password_file` of the proxy do not help here.",
            Who.PROXY,
        ),
        Cause.OWN_REDIRECT: Words(
            "Your own endpoint sends on to a host of another domain, which the configuration does not name.",
            "If it should, as to a sign-in, name that host under `leads_to` of the endpoint, in your group. If it "
            "should not, somebody answers in its place: exempt this name from the web filter, and the role's server "
            "from the portal's sign-in.",
            Who.OPERATOR,
        ),
        Cause.EXPECTS_TLS: Words(
            "What answers on this port speaks TLS, and was asked in plain HTTP.",
            "Ask it by https: correct the scheme or the port if you configured them. Else find out what listens on "
            "that address and port.",
            Who.OPERATOR,
        ),
        Cause.ACCOUNT_LAPSED: Words(
            "The proxy refuses the account, which it took before: the directory behind it failed for a moment, or the "
            "password was changed, has expired, or the account is locked.",
            "Wait for the next probe. If the account is refused again, look it up in the directory, and write the new "
            "password into the `password_file` of the proxy under `proxies`.",
            Who.PROXY,
        ),
        Cause.NO_SCHEME_OFFERED: Words(
            "The proxy wants a login, but does not say which ways to sign in it takes: there is no usable "
            "`Proxy-Authenticate` in its answer.",
            "Choose the way to sign in by name: `auth` of the proxy under `proxies`, beside `username` and "
            "`password_file`, as in auth: basic (or ntlm, negotiate). Where it is chosen already, the proxy does not "
            "accept the account.",
            Who.PROXY,
        ),
        Cause.SINKHOLE: Words(
            "The name resolves to an address that its host cannot have, so nothing was connected to: a DNS filter or a "
            "hosts file hides the name.",
            "Exempt the name, or the wildcard as documented, in the DNS filter that this machine's resolver asks, and "
            "take the name out of this machine's hosts file if it stands there. If it is a name of your own, have its "
            "zone give it the address of the server.",
            Who.DNS,
        ),
        Cause.PRIVATE_ADDRESS: Words(
            "The name of a public service resolves to a private address, and there the connection fails: a private "
            "endpoint or a zone of your own answers for the name.",
            "Ask DNS first: see which zone holds the name, and whether this machine is meant to use it. If it is not, "
            "let its resolver give the public address. If it is, give this machine a route to the private address and "
            "open the TCP port of the target there.",
            Who.DNS,
        ),
        Cause.STRICTER_CLIENT: Words(
            "The exporter's own TLS client is the stricter one: it refuses what this server offers, and Windows may "
            "take it.",
            "Try from Windows: what is old may still work there. Then have whoever runs the server, or the device that "
            "inspects, renew it: it lacks the suites, the key length or the signatures of today. The exporter takes "
            "what OpenSSL offers by default at its security level 2: keys of 2048 bits, no 3DES, nothing signed with "
            "SHA-1.",
            Who.FIREWALL,
        ),
        Cause.OLD_TLS: Words(
            "What answers speaks TLS 1.1 or older only: the exporter asks for TLS 1.2, as Configuration Manager's "
            "services do, though older Windows may still take it.",
            "Look for an old inspecting device or proxy on the way, and have it speak TLS 1.2. If the server is your "
            "own, switch TLS 1.2 on there.",
            Who.FIREWALL,
        ),
        Cause.MISSING_INTERMEDIATE: Words(
            "The chain that was sent stops short: the certificate of an issuer is missing, and this machine does not "
            "know that issuer, so whether TLS is inspected cannot be told.",
            "Have the server send its intermediate certificates, that is all but the root: Windows fetches a missing "
            "one from the address that the certificate names (AIA), OpenSSL does not, and neither do other clients. If "
            "the issuer that is named is itself a root, of your own or of an inspecting device, add it to this "
            "machine's trust or give it as `tls.ca_file`; or exempt this name from inspection.",
            Who.PKI,
        ),
        Cause.MISSING_ROOT: Words(
            "The chain leads to a root that is public or Microsoft's own, and that this machine does not trust: its "
            "list of roots lacks it.",
            "Update the list of roots of this machine (the package ca-certificates on Linux), or give the missing root "
            "as `tls.ca_file`: Linux lacks some that Windows ships, Microsoft's product roots among them.",
            Who.PKI,
        ),
        Cause.OUTDATED_ROOTS: Words(
            "This machine's list of roots is out of date: all that the server sent is valid, and what has expired is a "
            "root in this machine's own trust.",
            "Update the list of roots of this machine (the package ca-certificates on Linux), or let Windows fetch "
            "roots. If the expired root came from `tls.ca_file`, put the new one there.",
            Who.OPERATOR,
        ),
        Cause.NOT_YET_VALID: Words(
            "A certificate in the chain is not valid yet: a clock is wrong, or it was put into use too early.",
            "Compare the clock of this machine with that of the device that makes the certificate (an inspecting "
            "device makes them as it goes), time zones included. By how much they differ is how long it is not valid.",
            Who.PKI,
        ),
        Cause.WEAK_CERTIFICATE: Words(
            "The certificate itself, or one above it, is not fit for this: its key is too short, or it is signed with "
            "a hash that is broken, which Windows may take, as it is less strict.",
            "Issue a new certificate with an RSA key of at least 2048 bits, or an elliptic one, signed with SHA-256.",
            Who.PKI,
        ),
        Cause.WRONG_PURPOSE: Words(
            "The certificate itself is not fit for this: it was made for another purpose than a server.",
            "Issue a new certificate with the purpose of server authentication (extended key usage 1.3.6.1.5.5.7.3.1) "
            "and the key usage of digital signatures: look at the certificate template.",
            Who.PKI,
        ),
        Cause.NAME_CONSTRAINTS: Words(
            "The certificate itself is not fit for this: an authority above it may issue for certain names only (name "
            "constraints), and this name is not one of them.",
            "Issue a new certificate by an authority that may issue for this name, or one for a name within the "
            "constraints.",
            Who.PKI,
        ),
        Cause.REVOKED: Words(
            "The certificate, or one above it, was revoked by its issuer.",
            "Issue a new certificate and install it. If the service is a public one, find out who presents a revoked "
            "certificate in its place.",
            Who.PKI,
        ),
        Cause.UNFIT_CERTIFICATE: Words(
            "The certificate itself, or one above it, is not fit for this: it breaks a rule that the message names.",
            "Issue a new certificate that keeps the rule. A signature that does not fit speaks of an authority that "
            "was made anew under its old name: have this machine trust the new one.",
            Who.PKI,
        ),
    }
)


def words_of(failure: Failure) -> Words:
    """The words for a failure: those of its cause where it is known, else those of its reason."""
    return WORDS[failure.reason] if failure.cause is None else CAUSES[failure.cause]


UNPROBED: Final[Mapping[WhyUnprobed, Words]] = MappingProxyType(
    {
        WhyUnprobed.MISSING_PARAMETER: Words(
            "The endpoint contains a name that only you know, such as your gateway's.",
            "Set the parameter under `site.parameters`.",
            Who.OPERATOR,
        ),
        WhyUnprobed.NO_REPRESENTATIVE: Words(
            "The endpoint stands for many hosts, and Microsoft documents none of them, so it cannot be tested.",
            "Allow it in firewall and proxy all the same. To have it probed, give `probe` URLs of hosts that your site "
            "really uses, in a group of your own.",
            Who.OPERATOR,
        ),
        WhyUnprobed.NOT_HTTP: Words(
            "The endpoint does not speak HTTP, and the exporter probes by HTTP only.",
            "Allow it in the firewall all the same, and test it by other means.",
            Who.FIREWALL,
        ),
    }
)
