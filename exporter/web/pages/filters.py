"""What somebody wants to see of the status page: the query of its address -> Filters, and what is wrong in it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import urlencode

from exporter.model.vocabulary import CheckKey, EndpointState, Snapshot, Use

PAUSED: Final = "off"
WHOLE: Final = "all"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is chosen; empty: everything."""

    feature: str = ""
    role: str = ""
    cloud: str = ""
    path: str = ""
    state: str = ""
    target: str = ""  # a part of a URL or of a documented pattern
    refresh: str = ""
    show: str = ""  # whole lists, however long
    page: int = 1

    @property
    def narrow(self) -> bool:
        """Whether something is left out."""
        return any((self.feature, self.role, self.cloud, self.path, self.state, self.target))

    def href(self, **changes: str | int) -> str:
        """The relative address of the status page with these filters."""
        chosen = asdict(self) | changes
        said = {field.name: chosen[field.name] for field in fields(self) if chosen[field.name] != field.default}
        return f"./?{urlencode(said)}" if said else "./"

    @property
    def everything(self) -> str:
        """The same without what narrows it."""
        return type(self)(refresh=self.refresh).href()

    def admits_use(self, use: Use) -> bool:
        """Whether this is what somebody wants to see, whatever its state."""
        wanted = (self.feature, self.role, self.cloud)
        has = (use.consumer.feature, use.consumer.role, use.consumer.cloud)
        return all(want in {"", have} for want, have in zip(wanted, has, strict=True))

    def admits_path(self, *paths: str) -> bool:
        """Whether one of the paths is wanted."""
        return self.path in {"", *paths}

    def admits_state(self, state: EndpointState) -> bool:
        """Whether this state is wanted."""
        return self.state in {"", state}

    def admits_text(self, *texts: str) -> bool:
        """Whether one of the texts is what somebody looks for."""
        return not self.target or any(self.target.lower() in text.lower() for text in texts)

    def admits(self, uses: Iterable[Use], key: CheckKey) -> bool:
        """Whether a target is wanted, which is probed for these, whatever its state."""
        return self.admits_path(key.path) and any(
            self.admits_use(use) and self.admits_text(use.pattern, key.target.url) for use in uses
        )


Choices = Mapping[str, tuple[str, ...]]  # what each filter of a closed set takes


def choices(snapshot: Snapshot) -> Choices:
    """What can be chosen in this plan."""
    consumers = [feature.consumer for feature in snapshot.features]
    return {
        "feature": tuple(sorted({consumer.feature for consumer in consumers})),
        "role": tuple(sorted({consumer.role for consumer in consumers})),
        "cloud": tuple(sorted({consumer.cloud for consumer in consumers})),
        "path": tuple(sorted({check.key.path for check in snapshot.plan.checks})),
        "state": tuple(EndpointState),
    }


def read(query: Mapping[str, str], known: Choices) -> tuple[Filters, tuple[str, ...]]:
    """The filters of an address, and a sentence for each that cannot be followed and is left out."""
    chosen: dict[str, Any] = {"target": query.get("target", "").strip()}
    mistakes = []
    for name, values in {**known, "refresh": (PAUSED,), "show": (WHOLE,)}.items():
        value = query.get(name, "")
        if value in {"", *values}:
            chosen[name] = value
        else:
            mistakes.append(_unknown(name, value, values))
    page = query.get("page", "1")
    if page.isascii() and page.isdecimal() and len(page) < 6 and int(page) > 0:  # noqa: PLR2004 - digits enough
        chosen["page"] = int(page)
    else:
        mistakes.append(f"page: {quoted(page)} is not a page's number.")
    return Filters(**chosen), tuple(mistakes)


def _unknown(name: str, value: str, known: Collection[str]) -> str:
    close = get_close_matches(value, known, n=1)
    remedy = f"Did you mean {close[0]}?" if close else "It may have left the configuration; choose one from the list."
    return f"{name}: {quoted(value)} is not known here. {remedy}"


def quoted(text: str) -> str:
    """A text of somebody's, cut where it is long."""
    longest = 60
    return repr(text if len(text) <= longest else f"{text[:longest]}...")
