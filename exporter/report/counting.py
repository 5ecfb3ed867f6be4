"""How much there is, counted in the same units everywhere: a Plan -> numbers of features, endpoints, targets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.model.vocabulary import NO_PATTERN, Plan
from exporter.text.numbers import plural


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of a plan. An endpoint and a target count once, however many features need them."""

    features: int  # each once for each role and cloud that it is for
    clouds: int
    endpoints: int  # as documented, by their text
    unprobed: int  # of these: without a target for somebody
    targets: int  # each once for each path to it

    @property
    def unit(self) -> str:
        """What a feature is counted by."""
        return "by role" if self.clouds <= 1 else "by role and cloud"

    @property
    def words(self) -> str:
        """`46 features by role, 182 endpoints (31 not probed), 173 targets`."""
        missing = f" ({self.unprobed} not probed)" if self.unprobed else ""
        return (
            f"{plural(self.features, 'feature')} {self.unit}, {plural(self.endpoints, 'endpoint')}{missing}, "
            f"{plural(self.targets, 'target')}"
        )


def counted(plan: Plan) -> Counts:
    """How much a plan has of each."""
    uses = plan.checks_of
    return Counts(
        features=len({use.consumer for use in uses}),
        clouds=len({use.consumer.cloud for use in uses}),
        endpoints=len({use.pattern for use in uses} - {NO_PATTERN}),
        unprobed=len({requirement.use.pattern for requirement in plan.unprobed} - {NO_PATTERN}),
        targets=len(plan.checks),
    )
