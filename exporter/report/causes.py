"""What has to be changed once: a Snapshot -> the causes of everything that is down, the worst first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from exporter.model.vocabulary import (
    DIRECT,
    CheckKey,
    Consumer,
    Contact,
    Failure,
    Importance,
    Latest,
    Phase,
    Reason,
    Result,
    Snapshot,
    Use,
)
from exporter.report.evidence import OF_CERTIFICATES, decisive, issuer
from exporter.report.facts import filled
from exporter.report.findings import Down, broken, down
from exporter.report.reasons import Who, Words, inspection_words, words_of
from exporter.results.paths import path_blamed
from exporter.text.numbers import plural
from exporter.text.printable import one_line

_DNS: Final = "dns"
_RANK: Final[Mapping[Importance | None, int]] = {**{found: rank for rank, found in enumerate(Importance)}, None: 9}
_NO_CONNECTION: Final[Mapping[Contact, str]] = {  # to a proxy, by what its address came to
    Contact.REFUSED: "refuses connections",
    Contact.FORBIDDEN: "may not be connected to",
    Contact.SILENT: "does not answer",
    Contact.UNREACHABLE: "cannot be reached",
    Contact.NO_WAY: "cannot be reached",
}


@dataclass(frozen=True)
class Cause:
    """What one person has to change once, and everything that is down by it."""

    path: str  # `dns`, `direct` or `proxy:NAME`
    whole_path: bool  # whether that is down as a whole
    faults: tuple[Down, ...]  # every target that fails by it; the first stands for all
    result: Result  # of the first
    words: Words  # what it means, and what to change
    origin: str = ""  # who issued the certificates, or which product answers, in the service's place
    since: float | None = None  # Unix time of the first failure; None where nothing was probed before
    importance: Importance | None = None  # of the most important feature that is not ready by it; None: of no feature
    features: tuple[str, ...] = ()  # that are not ready by it, for some role in some cloud; the most important first

    @property
    def who(self) -> Who:
        """Who can change it."""
        return self.words.who

    @property
    def failure(self) -> Failure:
        """That of the target which stands for all."""
        return self.faults[0].failure

    @property
    def reason(self) -> Reason:
        """The reason that is most frequent; where no whole path is down, the only one."""
        return self.failure.reason

    @cached_property
    def targets(self) -> tuple[CheckKey, ...]:
        """What fails by it."""
        return tuple(fault.key for fault in self.faults)

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Their hosts, each once."""
        return tuple(dict.fromkeys(key.target.host for key in self.targets))

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """What is documented and down by it."""
        return tuple(sorted({use for fault in self.faults for use in fault.broken}))

    @cached_property
    def consumers(self) -> tuple[Consumer, ...]:
        """Who is not ready by it."""
        return tuple(sorted({use.consumer for use in self.uses}))

    @property
    def harmless(self) -> bool:
        """Whether it makes nothing unusable: wildcards that others keep up, and what is for reference only."""
        return not self.uses

    @cached_property
    def shown(self) -> tuple[Down, ...]:
        """Those that it is reported with: of a path all, else those that something is unusable by."""
        return self.faults if self.whole_path else tuple(broken(self.faults))

    @property
    def number(self) -> str:
        """By which reason, and how many: `connect_timeout, 3 targets`."""
        return f"{self.reason}, {plural(len(self.shown), 'target')}"

    @property
    def evidence(self) -> str:
        """What the log of a firewall or a proxy shows of the target that stands for all; empty: nothing is known."""
        seen = decisive(self.result)
        return seen.line if seen else ""

    @property
    def headline(self) -> str:
        """The whole in a few words: `go.microsoft.com and 2 more hosts: name not found`."""
        said = f"{self._subject}{self._what}"
        said = f"{said[:1].upper()}{said[1:]}" if self.whole_path else said
        return one_line(f"{said} ({self.by})" if self.by else said)

    @property
    def by(self) -> str:
        """Who stands behind it, in words, where that is known: the issuer, or the product that answers."""
        if not self.origin:
            return ""
        return f"{'issued' if self.reason in OF_CERTIFICATES else 'answered'} by {self.origin}"

    @property
    def _subject(self) -> str:
        if self.whole_path:
            if self.path not in {DIRECT, _DNS}:
                return ""  # the words name the proxy
            return "DNS: " if self.path == _DNS else "direct connections: "
        first, *others = dict.fromkeys(fault.key.target.host for fault in self.shown or self.faults)
        return f"{first} and {plural(len(others), 'more host')}: " if others else f"{first}: "

    @property
    def _what(self) -> str:
        proxy = f"the proxy {self.path.removeprefix('proxy:')}" if self.path.startswith("proxy:") else "the proxy"
        plain = self.failure.reason is Reason.PROXY_UNREACHABLE and self.failure.cause is None
        if plain and (said := _why_not_connected(self.result)):
            return f"{proxy} {said}"
        return words_of(self.failure).short.format(proxy=proxy)


def causes(snapshot: Snapshot) -> tuple[Cause, ...]:
    """Every target that is down, in exactly one cause; what makes nothing unusable comes last.

    The worst is what the most important feature is not ready by; then what the most features are, and the most targets.
    """
    found: dict[tuple[object, ...], list[Down]] = {}
    for fault in down(snapshot):
        found.setdefault(_kind(fault, snapshot), []).append(fault)
    return tuple(sorted((_cause(group, snapshot) for group in found.values()), key=_weight))


def reported(snapshot: Snapshot) -> tuple[Cause, ...]:
    """The causes that something is unusable by, and every path that is down."""
    return tuple(cause for cause in causes(snapshot) if cause.shown)


def apart(snapshot: Snapshot) -> tuple[Down, ...]:
    """What is down for another reason than that a whole path is, in the plan's order."""
    by_path = {key for cause in causes(snapshot) if cause.whole_path for key in cause.targets}
    return tuple(fault for fault in down(snapshot) if fault.key not in by_path)


def _kind(fault: Down, snapshot: Snapshot) -> tuple[object, ...]:
    """What targets have in common that fail by one cause."""
    result = snapshot.latest[fault.key].result
    blamed = path_blamed(result)
    if blamed is not None and snapshot.paths.get(blamed) is False:
        return (blamed,)
    failure = fault.failure
    return fault.key.path, failure.reason, failure.cause, _origin(result, fault, snapshot)


def _origin(result: Result, fault: Down, snapshot: Snapshot) -> str:
    return one_line(fault.failure.answered_by or "") or _issuer(result, fault, snapshot)


def _issuer(result: Result, fault: Down, snapshot: Snapshot) -> str:
    requirement_of = snapshot.plan.requirement_of
    return issuer(result, (requirement_of[use] for use in fault.uses if use in requirement_of))


def _cause(group: Iterable[Down], snapshot: Snapshot) -> Cause:
    faults = _worst_first(tuple(group), snapshot)
    first, result = faults[0], snapshot.latest[faults[0].key].result
    path, *others = _kind(first, snapshot)
    whole = not others
    origin = "" if whole else _origin(result, first, snapshot)
    words = words_of(first.failure) if whole else _words(faults, result, snapshot)
    begun = filter(None, (_since(snapshot.latest[fault.key]) for fault in faults))
    return Cause(
        str(path),
        whole,
        faults,
        result,
        words,
        origin,
        min(begun, default=None),
        min((_importance(fault, snapshot) for fault in faults), key=_RANK.__getitem__),
        _features(faults, snapshot),
    )


def _features(faults: Iterable[Down], snapshot: Snapshot) -> tuple[str, ...]:
    consumers = {use.consumer for fault in faults for use in fault.broken}
    weight = {consumer: _RANK[snapshot.plan.importance_of.get(consumer, Importance.NORMAL)] for consumer in consumers}
    return tuple(dict.fromkeys(one.feature for one in sorted(consumers, key=lambda one: (weight[one], one))))


def _words(faults: Sequence[Down], result: Result, snapshot: Snapshot) -> Words:
    """What it means and what to change: by port, endpoints and address where those are known of all."""
    first, by = faults[0], _issuer(result, faults[0], snapshot)
    words = inspection_words() if by else words_of(first.failure)
    uses = [use for fault in broken(faults) or faults for use in fault.uses]
    needs = [snapshot.plan.requirement_of[use] for use in uses if use in snapshot.plan.requirement_of]
    alike = len({(fault.key.target.scheme, fault.key.target.port) for fault in faults}) == 1
    return filled(words, result, needs, by) if alike and needs else words


def _worst_first(faults: tuple[Down, ...], snapshot: Snapshot) -> tuple[Down, ...]:
    """The same whatever their order: those of the most frequent kind first."""
    kinds = Counter((fault.failure.reason, fault.failure.cause) for fault in faults)

    def weight(fault: Down) -> tuple[object, ...]:
        reason, cause, target = fault.failure.reason, fault.failure.cause, fault.key.target
        frequent = -kinds[reason, cause], list(Reason).index(reason), cause or ""
        heavy = _RANK[_importance(fault, snapshot)], -len(fault.broken)
        return *frequent, *heavy, target.url, target.method, sorted(target.accept or ()), fault.key.path

    return tuple(sorted(faults, key=weight))


def _weight(cause: Cause) -> tuple[object, ...]:
    size = _RANK[cause.importance], -len(cause.features), -len(cause.consumers), -len(cause.targets)
    return *size, not cause.whole_path, cause.path, cause.reason, cause.failure.cause or "", cause.origin


def _importance(fault: Down, snapshot: Snapshot) -> Importance | None:
    found = {snapshot.plan.importance_of.get(use.consumer, Importance.NORMAL) for use in fault.broken}
    return min(found, key=_RANK.__getitem__, default=None)


def _since(latest: Latest) -> float | None:
    """When it began to fail, whatever the reasons since; None where this is the first that is known of it."""
    after = latest.last_success
    spells = [spell.first for spell in latest.history if spell.reason is not None]
    begun = min((first for first in spells if after is None or first > after), default=latest.since)
    return None if after is None and begun == latest.result.finished else begun


def _why_not_connected(result: Result) -> str | None:
    """Why a proxy takes no connection, as the address says that leads to a remedy."""
    if result.failure and result.failure.phase is Phase.RESOLVE:
        return "has a name that is not found"
    found = min((one.contact for one in result.evidence.tried), key=list(Contact).index, default=None)
    return _NO_CONNECTION.get(found) if found else None
