"""Divide a plan among several exporters: (plan, shard) -> the part of it that this one probes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b

from exporter.model.vocabulary import Plan, Use
from exporter.plan.checks import order


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` exporters that divide a plan, numbered from 0; by default the only one."""

    index: int = 0
    count: int = 1


def share(plan: Plan, shard: Shard) -> Plan:
    """What this shard probes, and what it lists as unprobed.

    Laws: every check and every requirement is in exactly one shard; a shard that is added takes its part from the
    others, and nothing moves between these. Uses that have a check in common, directly or through other uses, stay
    together with all their checks: so a shard judges an endpoint as a single exporter would, also a wildcard, of which
    one target is enough, and a feature is ready if all shards that probe for it say so.
    """
    bundle_of = _bundles(plan)
    names: dict[Use, list[str]] = {}
    for check in plan.checks:
        names.setdefault(bundle_of[check.uses[0]], []).append(ascii(order(check.key)))
    for requirement in plan.unprobed:
        names[requirement.use] = [ascii(astuple(requirement.use))]
    ours = {bundle for bundle, found in names.items() if _home(found, shard.count) == shard.index}
    return Plan(
        tuple(check for check in plan.checks if bundle_of[check.uses[0]] in ours),
        tuple(requirement for requirement in plan.requirements if bundle_of[requirement.use] in ours),
    )


def _bundles(plan: Plan) -> Mapping[Use, Use]:
    """For each use the one that stands for all that stay together with it."""
    bundle_of = {requirement.use: [requirement.use] for requirement in plan.requirements}
    for check in plan.checks:
        for use in check.uses[1:]:
            smaller, larger = sorted((bundle_of[use], bundle_of[check.uses[0]]), key=len)
            if smaller is not larger:
                larger += smaller
                bundle_of |= dict.fromkeys(smaller, larger)
    return {use: bundle[0] for use, bundle in bundle_of.items()}


def _home(names: Collection[str], count: int) -> int:
    """The shard with the highest weight for any of these names: rendezvous hashing."""
    return max(range(count), key=lambda index: max(_weight(name, index) for name in names))


def _weight(name: str, index: int) -> bytes:
    """The same in every process and on every machine: shards agree without a word between them."""
    return blake2b(f"{index} {name}".encode(), digest_size=8).digest()
