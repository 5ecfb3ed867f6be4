"""What to search for in the log of a firewall or a proxy: searches.yaml, the one place for these texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from exporter.model.vocabulary import Reason, Target
from exporter.report.commands import EXAMPLE_TARGET, filled_in
from exporter.report.shipped import KEYS_ARE_KNOWN, read_shipped


@dataclass(frozen=True, slots=True)
class _Searches:
    """What searches.yaml holds."""

    reasons: Mapping[Reason, tuple[str, ...]]
    parts: object = None  # what the others share, by YAML's anchors

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


@cache
def _searches() -> _Searches:
    return read_shipped("searches.yaml", _Searches)


def searched(reason: Reason, target: Target = EXAMPLE_TARGET) -> tuple[str, ...]:
    """What the log shows of a failure for this reason, in Markdown; nothing where no device has a part in it."""
    return tuple(filled_in(text, target) for text in _searches().reasons[reason])


def words_for(target: Target) -> Mapping[str, tuple[str, ...]]:
    """What stands within the backticks of each text for this target, by the text for the target of the examples."""
    return {
        filled_in(text): tuple(filled_in(code, target) for code in re.findall("`([^`]*)`", text))
        for texts in _searches().reasons.values()
        for text in texts
    }
