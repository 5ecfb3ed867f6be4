"""What a person asks for by one word: (plan, word) -> the checks that are meant, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from exporter.config.fields import found, meant, unknown
from exporter.model.patterns import host_of, is_wildcard, matches_wildcard
from exporter.model.vocabulary import EndpointState, Plan, Requirement, Site, Snapshot, Target, Use
from exporter.plan.requirements import canonical
from exporter.plan.selection import SelectionError
from exporter.report.findings import details
from exporter.report.invocation import pasteable
from exporter.report.reasons import all_words


@dataclass(frozen=True, slots=True)
class Asked:
    """What is probed for a word."""

    plan: Plan  # with the checks that are meant, and no others
    uses: tuple[Use, ...]  # of the documented endpoint, where the word is one

    def by(self, path: str) -> Asked:
        """What of it goes by one path. Raises SelectionError where nothing does."""
        checks = tuple(check for check in self.plan.checks if check.key.path == path)
        if not checks:
            paths = {check.key.path for check in self.plan.checks}
            raise SelectionError(f"--path {path}: {unknown('path of this target', paths, path)}")
        going = {use for check in checks for use in check.uses}
        return Asked(replace(self.plan, checks=checks), tuple(use for use in self.uses if use in going))

    def usable(self, snapshot: Snapshot) -> bool:
        """Whether the endpoint is, by the rule for endpoints; where targets are meant, whether all of them are."""
        if not self.uses:
            return all(latest.result.up for latest in snapshot.latest.values())
        found = {endpoint.use: endpoint.seen for feature in snapshot.features for endpoint in feature.endpoints}
        return all(found[use] is EndpointState.UP for use in self.uses)


def asked(plan: Plan, word: str) -> Asked | None:
    """What a word means: a target's URL, else an endpoint as it is documented, else a host, with or without a port."""
    targets = [check for check in plan.checks if pasteable(check.key.target.url) == pasteable(_url(word))]
    if targets:
        return Asked(replace(plan, checks=tuple(targets)), ())
    probed = [requirement for requirement in plan.requirements if requirement.targets]
    uses = tuple(requirement.use for requirement in probed if _is_named(requirement, word))
    checks = [check for check in plan.checks if not set(uses).isdisjoint(check.uses)]
    checks = checks or [check for check in plan.checks if _is_on(check.key.target, word)]
    return Asked(replace(plan, checks=tuple(checks)), uses) if checks else None


def why_none(word: str, plan: Plan, documented: Iterable[Requirement], site: Site) -> str:
    """Why a word means no check of the plan, and what to do; `documented` is what is documented for any site at all."""
    unprobed = [requirement for requirement in plan.unprobed if _is_named(requirement, word)]
    if unprobed:
        return _explained(word, "not probed", _why_unprobed(unprobed))
    known = tuple(documented)
    lacking = _lacking((requirement for requirement in known if _concerns(requirement, word)), site)
    if lacking:
        return _explained(word, "documented, but not selected here; what would select it:", lacking)
    return _explained(word, _unknown(word, known), _how_to_have_it_probed(word, known))


def _explained(word: str, verdict: str, lines: Iterable[str]) -> str:
    return "\n  ".join((f"{found(word)}: {verdict}", *lines))


def _url(word: str) -> str:
    try:
        return canonical(word)
    except ValueError:
        return word


def _is_named(requirement: Requirement, word: str) -> bool:
    return requirement.use.pattern.lower() == word.lower()


def _is_on(target: Target, word: str) -> bool:
    return word.lower() in {target.host, f"{target.host}:{target.port}"}


def _concerns(requirement: Requirement, word: str) -> bool:
    return _is_named(requirement, word) or any(
        target.url == _url(word) or _is_on(target, word) for target in requirement.targets
    )


def _names(requirement: Requirement) -> Iterator[str]:
    """The words that mean it."""
    yield requirement.use.pattern
    for target in requirement.targets:
        yield from (target.url, target.host)


def _why_unprobed(requirements: Iterable[Requirement]) -> Iterator[str]:
    needed = tuple(requirements)
    for why in {requirement.why_unprobed: None for requirement in needed if requirement.why_unprobed}:
        words = all_words().unprobed[why]
        yield f"{why}: {words.summary}"
        yield words.to_do
        yield from details(requirement for requirement in needed if requirement.why_unprobed is why)


def _unknown(word: str, documented: Iterable[Requirement]) -> str:
    names = {name for requirement in documented for name in _names(requirement)}
    close = meant(names, word)
    remedy = f", did you mean {close}?" if close else "; the command `endpoints` lists them all"  # which are hundreds
    return f"unknown target or endpoint{remedy}"


def _how_to_have_it_probed(word: str, documented: Iterable[Requirement]) -> Iterator[str]:
    patterns = dict.fromkeys(requirement.use.pattern for requirement in documented)
    wildcards = [pattern for pattern in patterns if is_wildcard(pattern)]
    covering = [pattern for pattern in wildcards if matches_wildcard(host_of(pattern), host_of(word))]
    if covering:
        yield f"It lies under {', '.join(covering)}: to have it probed, give it as `probe` in a group of your own."


def _lacking(requirements: Iterable[Requirement], site: Site) -> tuple[str, ...]:
    """What stands between the site and the nearest of these, a line for each; none where one is selected."""
    lacks = [tuple(_lacks(requirement, site)) for requirement in requirements]
    fewest = min(map(len, lacks), default=0)
    return tuple(dict.fromkeys(", ".join(lack) for lack in lacks if len(lack) == fewest)) if fewest else ()


def _lacks(requirement: Requirement, site: Site) -> Iterator[str]:
    """What the site would have to select, and by which keys and options."""
    consumer, endpoint = requirement.use.consumer, requirement.endpoint
    if site.features and consumer.feature not in site.features:
        yield f"feature {consumer.feature} (`site.features`, `--feature`)"
    if site.roles and consumer.role not in site.roles:
        yield f"role {consumer.role} (`site.roles`, `--role`)"
    if consumer.cloud not in site.clouds:
        yield f"cloud {consumer.cloud} (`site.clouds`, `--cloud`)"
    if endpoint.status not in site.statuses:
        yield f"status {endpoint.status} (`site.statuses`)"
    if not endpoint.versions.includes(site.version):
        first, last = endpoint.versions.first, endpoint.versions.last
        ends = (first and f"from {first}", last and f"up to {last}")
        yield f"a version {' '.join(filter(None, ends))} (`site.version`)"
    for name, values in endpoint.only_for.items():
        if site.parameters.get(name, values[0]) not in values:
            yield f"{' or '.join(values)} (`site.parameters.{name}`)"
