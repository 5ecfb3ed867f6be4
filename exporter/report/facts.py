"""What a probe saw and what that means, in words: a check, its result and its requirements -> facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Final

from exporter.model.addresses import is_private
from exporter.model.patterns import address_of
from exporter.model.vocabulary import (
    Cause,
    Certificate,
    Check,
    Consumer,
    Endpoint,
    Failure,
    Phase,
    Requirement,
    Result,
    Root,
    Status,
    Support,
    TlsFacts,
)
from exporter.report.evidence import common_name, connections, decisive, inspected, issuer, moment, request
from exporter.report.findings import places
from exporter.report.reasons import Who, Words, inspection_words, words_of
from exporter.text.numbers import plural
from exporter.text.secrets import harmless

Fact = tuple[str, str]  # what it is, and what it says

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_NAMED: Final = 6  # endpoints in a sentence

_ROOTS: Final = {
    Root.PUBLIC: "a public root",
    Root.MICROSOFT_PRODUCT: "a Microsoft product root, which Windows ships and Linux trust stores lack",
    Root.PRIVATE: "a private root: an organisation's own, or an inspecting device's",
    None: "no root that is known",
}
_INSPECTED: Final = {
    True: "possible: the certificate is not the service's own",
    False: "none seen: the certificate is the service's own",
    None: "unknown",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe and what it is made for."""

    check: Check
    result: Result
    needs: tuple[Requirement, ...]

    @property
    def inspected(self) -> bool | None:
        """Whether somebody on the way issued the certificate; None where that is unknown."""
        return inspected(self.result.evidence.tls, self.needs)

    @property
    def uninspectable(self) -> tuple[Requirement, ...]:
        """What the documents say that TLS inspection breaks."""
        return tuple(need for need in self.needs if need.endpoint.tls_inspection is Support.UNSUPPORTED)

    @property
    def threatened(self) -> bool:
        """Whether something will fail however the probe ended."""
        return self.inspected is True and bool(self.uninspectable)

    @property
    def troubled(self) -> bool:
        """Whether there is a fault, now or to come."""
        return not self.result.up or self.threatened


def connection(result: Result) -> Iterator[Fact]:
    """The path, the addresses, and what became of the tunnel."""
    key, evidence = result.key, result.evidence
    yield "path", _path(result)
    if evidence.addresses:
        listed = evidence.by_dns is False and not result.through_proxy and address_of(key.target.host) is None
        found = ", ".join(evidence.addresses) + (", by the hosts file of this machine" if listed else "")
        yield "proxy's name resolved to" if result.through_proxy else "name resolved to", found
    if not result.through_proxy:
        yield from _private(result)
    if evidence.unanswered:
        yield "resolver", f"no answer to {evidence.unanswered.words}"
    yield from _tried(result)
    if evidence.address:
        yield "connected to", evidence.address
    if Phase.PROXY in result.phases:
        opened = result.failure is None or result.failure.phase is not Phase.PROXY
        yield "tunnel", "opened" if opened else "not opened"


def _path(result: Result) -> str:
    """The path that the probe took. Of several proxies its number is shown, because an address is a secret."""
    name, way = result.key.proxy, result.evidence.way
    if name is None:
        return "direct"
    number = f"way {way.number} of {way.of} named for the target, " if way is not None and way.of > 1 else ""
    if not result.through_proxy:
        return f"{number}direct, as the settings or the PAC file of the proxy {name} say"
    return f"{number}through the proxy {name}, which resolves the name of the target itself"


def _private(result: Result) -> Iterator[Fact]:
    """That a name led to an address of somebody's own network."""
    target, found = result.key.target, [text for text in result.evidence.addresses if is_private(text)]
    if not found or address_of(target.host) is not None:
        return
    kind = f"{', '.join(found)}: private, so no address of the internet"
    if target.own:
        yield "address", f"{kind}; right for a server of your own, else ask DNS first"
    else:
        yield "address", f"{kind}; a private endpoint or a zone of your own answers for the name: ask DNS first"


def _tried(result: Result) -> Iterator[Fact]:
    """Each connection as a firewall sees it; where a name came to nothing, the DNS servers that were asked."""
    for number, one in enumerate(connections(result)):
        yield "" if number else "tried" if result.evidence.tried else "asked", one.line


def handshake(tls: TlsFacts, probe: Probe) -> Iterator[Fact]:
    """Whether the certificate verifies, where its chain leads, and the chain."""
    failure = probe.result.failure
    refused = failure if failure and failure.phase is Phase.TLS else None
    yield "protocol", tls.protocol or "not known"
    yield "verifies", f"no: {harmless(refused.message)}" if refused else "yes"
    yield "leads to", _ROOTS[tls.leads_to]
    yield "inspection", "; ".join((_INSPECTED[probe.inspected], *_issued(tls, probe), *_unsupported(probe)))
    yield from _chain(tls, probe.result.finished)


def handshake_with_proxy(tls: TlsFacts, result: Result) -> Iterator[Fact]:
    """Whether the proxy's own certificate verifies, and its chain."""
    failure = result.failure
    refused = failure if failure and failure.cause is Cause.PROXY_CERTIFICATE else None
    yield "protocol", tls.protocol or "not known"
    yield "verifies", f"no: {harmless(refused.message)}" if refused else "yes"
    yield from _chain(tls, result.finished)


def _chain(tls: TlsFacts, now: float) -> Iterator[Fact]:
    """Each certificate that was presented or used, the server's own first."""
    if tls.missing is not None:
        yield "stops at", f"{tls.missing or 'an issuer without a name'}, which was not sent and is not known here"
    if tls.unread:
        yield "not read", f"{plural(tls.unread, 'certificate')}: broken, too large, or one of very many"
    on_the_path = {certificate.sha256 for certificate in tls.path}
    way = "on the path that verified" if tls.verified else "on the path that was tried"
    for number, certificate in enumerate(tls.chain, 1):
        yield f"{number}", certificate.subject if certificate.subject is not None else "a name that cannot be read"
        if tls.path:
            yield "used", way if certificate.sha256 in on_the_path else "no: presented, and on no path that is needed"
        yield from _certificate(certificate, now)
    for certificate in tls.path:
        if not tls.was_sent(certificate):
            yield "trusted", certificate.subject or "a root without a name"
            yield "used", f"{way}; it was not sent, and comes from this machine's trust"
            yield from _certificate(certificate, now)


def _certificate(certificate: Certificate, now: float) -> Iterator[Fact]:
    if not certificate.readable:
        yield "unreadable", plural(certificate.size, "byte")
    if certificate.issuer is not None:
        yield "issued by", certificate.issuer
    if certificate.ca_issuers is not None:
        yield "issuer at", certificate.ca_issuers
    if certificate.weak is not None:
        yield "weak", certificate.weak
    if certificate.not_before is not None and certificate.not_after is not None:
        yield "valid", _validity(certificate.not_before, certificate.not_after, now)
    yield "SHA-256", certificate.sha256


def _issued(tls: TlsFacts, probe: Probe) -> Iterator[str]:
    if probe.inspected and tls.chain:
        yield f"it is issued by {common_name(tls.chain[0].issuer)}"


def _unsupported(probe: Probe) -> Iterator[str]:
    if probe.uninspectable:
        yield f"the documents do not support it for {_patterns(probe.uninspectable)}"


def _validity(begins: float, ends: float, now: float) -> str:
    """From when to when, and how that stands to `now`."""
    first, last = moment(begins), moment(ends)
    if now < begins:
        standing = f"not valid for another {span(begins - now)}"
    elif now > ends:
        standing = f"EXPIRED {span(now - ends)} ago"
    else:
        standing = f"{span(ends - now)} left"
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {standing}"


def span(seconds: float) -> str:
    """Whole days; below one, hours or minutes, to the nearest: enough to see a wrong clock or a forgotten renewal."""
    minutes, hours = round(seconds / _MINUTE), round(seconds / _HOUR)
    if seconds >= _DAY:
        return plural(int(seconds // _DAY), "day")
    if minutes >= _HOUR // _MINUTE:
        return plural(hours, "hour")
    return plural(minutes, "minute") if minutes else "less than a minute"


# ---------------------------------------------------------------- what it means


def documented(needs: Sequence[Requirement]) -> Iterator[str]:
    """Each pattern once, with the documents' remark on it; its features where the remark is not for all of them."""
    for pattern, group in groupby(sorted(needs, key=attrgetter("use.pattern")), key=attrgetter("use.pattern")):
        naming = tuple(group)
        needs_of: dict[str, list[Requirement]] = {}
        for need in naming:
            for remark in _remarks(need.endpoint):
                needs_of.setdefault(remark, []).append(need)
        everybody = _features(naming)
        remarks = [said if _features(by) == everybody else f"{said} ({_features(by)})" for said, by in needs_of.items()]
        yield f"{pattern}: {'; '.join(remarks)}" if remarks else pattern


def _remarks(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.status is not Status.ACTIVE:
        yield endpoint.status
    if endpoint.reference is not None:
        yield f"reference only ({endpoint.reference}): it decides nothing"
    yield from filter(None, (endpoint.condition, endpoint.note))


def asking(consumers: Iterable[Consumer]) -> Iterator[str]:
    """Features with the same roles and clouds together: `co-management, deploy-edge: client (azure-public)`."""
    features_at: dict[tuple[str, ...], list[str]] = {}
    for feature, group in groupby(sorted(set(consumers)), key=attrgetter("feature")):
        features_at.setdefault(places(group), []).append(feature)
    for found, features in features_at.items():
        for place in found:
            yield f"{', '.join(features)}: {place}"


def cause(probe: Probe, failure: Failure) -> tuple[str, str]:
    """Why it fails, what to change, and who can."""
    words = words_for(probe, failure)
    return words.summary, words.to_do


def words_for(probe: Probe, failure: Failure) -> Words:
    """The words for the failure of one target, with what is known of it in the remedy."""
    by = issuer(probe.result, probe.needs)
    words = inspection_words() if by else words_of(failure)
    return filled(words, probe.result, probe.needs, by) if probe.needs else words


def filled(words: Words, result: Result, needs: Sequence[Requirement], by: str) -> Words:
    """The words with what is known of a probe in the remedy, and everything that is needed and fails like it.

    `by` is who issued its certificate in the service's place.
    """
    if not words.for_one:
        return words
    target, evidence, seen = result.key.target, result.evidence, decisive(result)
    patterns = dict.fromkeys(need.use.pattern for need in needs)
    remedy = words.for_one.format(
        port=target.port,
        roles=", ".join(sorted({need.use.consumer.role for need in needs})),
        patterns=", ".join(patterns)
        if len(patterns) <= _NAMED
        else f"the {len(patterns)} endpoints that are down by it",
        addresses=", ".join(evidence.addresses) or target.host,
        time=f"{moment(seen.at if seen else result.started):%Y-%m-%d %H:%M:%S} UTC",
        source=seen.source.address if seen and seen.source else "this machine",
        request=request(result.key),
        issuer=by,
    )
    return replace(words, remedy=remedy)


def to_come(needs: Sequence[Requirement]) -> Iterator[str]:
    """What fails when TLS is inspected on the way, however the probe ended."""
    yield (
        f"TLS seems to be inspected on the way, and the documents do not support that for {_patterns(needs)}. Even "
        f"where this machine trusts the chain, expect a failure of {_features(needs)}."
    )
    yield f"To do ({Who.FIREWALL}, {Who.PROXY}): Exempt these names from inspection."


def traces(needs: Iterable[Requirement]) -> Iterator[Fact]:
    """Where the product itself shows the fault, feature by feature."""
    for feature, group in groupby(needs, key=attrgetter("use.consumer.feature")):
        found = list(group)
        logs = dict.fromkeys(log for need in found for log in need.logs)
        messages = dict.fromkeys(message for need in found for message in need.messages)
        if logs:
            yield f"{feature}", f"logs: {'; '.join(logs)}"
        if messages:
            yield "" if logs else feature, f"status messages: {'; '.join(messages)}"


def documents(probe: Probe) -> tuple[str, ...]:
    """Every document once: those that ask for the target, and after a failure those that help."""
    asking = [need.docs for need in probe.needs]
    helping = [need.troubleshooting for need in probe.needs] if probe.troubled else []
    return tuple(dict.fromkeys(document for document in (*asking, *helping) if document))


def _patterns(needs: Iterable[Requirement]) -> str:
    return ", ".join(dict.fromkeys(need.use.pattern for need in needs))


def _features(needs: Iterable[Requirement]) -> str:
    return ", ".join(dict.fromkeys(need.use.consumer.feature for need in needs))
