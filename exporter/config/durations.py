"""Durations as Prometheus writes them (`1m30s`, `500ms`): text <-> seconds."""

from __future__ import annotations

import re
from typing import Final

from exporter.config.fields import expected

_DAY: Final = 86_400_000  # milliseconds, as all of these
_UNITS: Final = {"y": 365 * _DAY, "w": 7 * _DAY, "d": _DAY, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION: Final = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,18}}){unit})?" for unit in _UNITS))
_SHAPE: Final = "".join(f"([0-9]{{1,18}}{unit})?" for unit in _UNITS)
LONGER_THAN_0: Final = f"^(?=.*[1-9]){_SHAPE}$"  # in the dialect of JSON Schema
_WORDS: Final = re.compile(
    r"([0-9]{1,18})\s*(ms|[ywdhms])(?:illisec\w*|ears?|eeks?|ays?|ours?|rs?|inutes?|ins?|econds?|ecs?)?"
)
_LONGEST: Final = 2**63 // 10**6  # what Prometheus can hold


def seconds(duration: str) -> float:
    """A Prometheus duration (`1m30s`, `500ms`, `0`) in seconds. Raises ValueError."""
    match = _DURATION.fullmatch(duration)
    if duration == "0":
        return 0.0
    if not duration or not match:
        what = "a duration such as 60s, 1m30s or 500ms (units y, w, d, h, m, s, ms in this order)"
        near = _WORDS.fullmatch(duration.lower())
        raise ValueError(expected(what, duration) + (f"; write {near[1]}{near[2]}" if near else ""))
    milliseconds = sum(int(count) * _UNITS[unit] for unit, count in match.groupdict("0").items())
    if milliseconds > _LONGEST:
        raise ValueError("longer than 292 years; write a shorter duration")
    return milliseconds / 1000


def spelled(length: float) -> str:
    """Seconds as a Prometheus duration, to the millisecond: `90s`, `7s500ms`."""
    whole, rest = divmod(round(length * 1000), 1000)
    return (f"{whole}s" if whole or not rest else "") + (f"{rest}ms" if rest else "")
