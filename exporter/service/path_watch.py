"""Which checks to make out of turn, so that a path is known to be down, or up again, at any interval.

Failures of two hosts that blame a path, and no success since the first of them began, are a suspicion: what worked by
that path is asked at once. While the path is down, some of its checks are made every few seconds; when one succeeds,
what had failed is asked at once. Whether the path is down is none of this: `paths` says so, by the latest results.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from exporter.model.vocabulary import CheckKey, OutOfTurn, Reason, Result
from exporter.results.paths import Say, all_judge, is_down, says

SUSPICIOUS: Final = 2  # hosts that fail in a row, also behind a proxy: one may well have trouble of its own
FEW: Final = 2  # checks that are asked when one host has failed, and at each look at a path that is down
LOOK: Final = 5.0  # seconds between two looks
AT_ONCE: Final = 2  # rounds of a path's checks that may be made out of turn: when it is suspected, and when it is back
MINUTE: Final = 60.0  # seconds in which one more may be, which is what the default interval costs

Asked = dict[CheckKey, OutOfTurn]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the newest attempt of a check says of a path."""

    say: Say
    failing_since: float  # when the first attempt began that blamed the path and was followed by no other
    guarded: bool  # a proxy refuses an account: it is tried again when its pause is over, and not for a look


@dataclass(slots=True)
class _Path:
    """One path, and what is suspected of it. Times are the event loop's."""

    name: str
    fell: dict[CheckKey, float]  # of all paths, for whatever reason: when the first failed attempt of each began
    heard: dict[CheckKey, _Heard] = field(default_factory=dict)
    since: float = math.inf  # when the first failure began that no success has followed
    works_since: float = -math.inf  # when the success began that ended the last suspicion
    hosts: set[str] = field(default_factory=set)  # that have failed since then, and had not before
    anew: set[CheckKey] = field(default_factory=set)  # that failed while nothing worked: it counts if they do so again
    wanted: Asked = field(default_factory=dict)
    turn: int = 0  # of the looks
    left: float = math.inf  # probes that may be made out of turn
    at: float = 0.0  # as of when

    def hear(self, key: CheckKey, say: Say, began: float, *, guarded: bool) -> None:
        """Note what an attempt says of the path, and what is wanted for it."""
        before = self.heard.get(key)
        still = before is not None and before.say.blames and key not in self.anew
        self.anew.discard(key)
        self.heard[key] = _Heard(say, before.failing_since if before and still else began, guarded)
        if say.blames and began < self.works_since:
            self.wanted[key] = OutOfTurn.RECOVERED  # what it waited for may have been lost before the path was back
            return
        if still if say.blames else self.since == math.inf:
            return  # nothing new
        if say.inside and not self._all_judge():
            return
        if say.blames:
            self._fails(say.host, began, guarded=guarded)
        else:
            self._works(key, began, had_failed=before is None or before.say.blames)

    def _fails(self, host: str, began: float, *, guarded: bool) -> None:
        """What had worked, or was not known, blames the path."""
        self.since = min(self.since, began)
        if guarded or host in self.hosts or len(self.hosts) >= SUSPICIOUS:
            return
        self.hosts.add(host)
        working = self._working()
        others = [key for key in working if key.target.host not in self.hosts]
        asked = others[:FEW] if others and len(self.hosts) < SUSPICIOUS else working
        self.wanted |= dict.fromkeys(asked, OutOfTurn.SUSPECTED)

    def ask_again(self) -> None:
        """Want whatever stands against the suspicion."""
        if len(self.hosts) >= SUSPICIOUS:
            self.wanted |= dict.fromkeys(self._working(), OutOfTurn.SUSPECTED)

    def _works(self, key: CheckKey, began: float, *, had_failed: bool) -> None:
        """Something goes well by a path of which something did not."""
        if began < self.since:  # it may have been answered before the path failed
            self.wanted[key] = OutOfTurn.SUSPECTED
            return
        was_down = had_failed and self._working() == [key]
        if was_down or len(self.hosts) >= SUSPICIOUS:
            failed = [key for key, heard in self._judging() if heard.say.blames and heard.failing_since >= self.since]
            # What goes by a proxy may have failed with the line or the resolver behind that, and says nothing of them.
            others = [key for key, fell in self.fell.items() if was_down and fell >= self.since - MINUTE]
            self.wanted |= dict.fromkeys([*failed, *others], OutOfTurn.RECOVERED)
            self.works_since = began
            self.anew = set(failed) if was_down else set()
        self.since = math.inf
        self.hosts.clear()

    def look(self) -> Asked:
        """Some of its checks, by turns, while it is down."""
        if not is_down(self.name, [heard.say for heard in self.heard.values()]):
            return {}
        askable = [key for key, heard in self._judging() if not heard.guarded]
        self.turn += 1
        apart = max(1, len(askable) // FEW)  # neighbours may be two targets of one host
        chosen = [(self.turn + place * apart) % len(askable) for place in range(FEW) if askable]
        return {askable[place]: OutOfTurn.DOWN for place in chosen}

    def due(self, now: float) -> Asked:
        """What is wanted, as far as it is of use still and not too much."""
        most = max(len(self.heard), len(self.fell), FEW)
        self.left = min(self.left + (now - self.at) * most / MINUTE, float(AT_ONCE * most))
        self.at = now
        if not self.wanted:
            return {}
        self.wanted = {key: why for key, why in self.wanted.items() if self._is_useful(key, why)}
        asked = dict(islice(self.wanted.items(), int(self.left)))
        self.left -= len(asked)
        for key in asked:
            del self.wanted[key]
        return asked

    def _is_useful(self, key: CheckKey, why: OutOfTurn) -> bool:
        heard = self.heard.get(key)
        if why is OutOfTurn.RECOVERED and key in self.fell:
            return True
        return heard is not None and heard.say.blames is (why is OutOfTurn.RECOVERED)

    def _working(self) -> list[CheckKey]:
        return [key for key, heard in self._judging() if not heard.say.blames]

    def _judging(self) -> Iterator[tuple[CheckKey, _Heard]]:
        """Those who have a say in whether the path is down."""
        everybody = self._all_judge()
        return ((key, heard) for key, heard in self.heard.items() if everybody or not heard.say.inside)

    def _all_judge(self) -> bool:
        return all_judge(self.name, (heard.say for heard in self.heard.values()))


class PathWatch:
    """What the newest attempts say of each path, and which checks are asked for that out of turn."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path] = {}
        self._fell: dict[CheckKey, float] = {}

    def keep(self, keys: Container[CheckKey]) -> None:
        """Forget all checks but these."""
        for key in [key for key in self._fell if key not in keys]:
            del self._fell[key]
        for path in self._paths.values():
            path.heard = {key: heard for key, heard in path.heard.items() if key in keys}
            path.wanted = {key: why for key, why in path.wanted.items() if key in keys}
            path.anew = {key for key in path.anew if key in keys}

    def hear(self, result: Result, began: float, now: float) -> Asked:
        """Note what an attempt came to that began at a moment. Returns what is to be asked for it, and why."""
        said = dict(says(result))
        guarded = result.failure is not None and result.failure.reason is Reason.PROXY_AUTH_REQUIRED
        if result.up or guarded:
            self._fell.pop(result.key, None)
        else:
            self._fell.setdefault(result.key, began)
        for name, say in said.items():
            self._paths.setdefault(name, _Path(name, self._fell)).hear(result.key, say, began, guarded=guarded)
        for name in self._paths.keys() - said.keys():
            self._paths[name].heard.pop(result.key, None)
        return self._due(now)

    def ask_again(self, now: float) -> Asked:
        """What is to be asked where probes were broken off."""
        for path in self._paths.values():
            path.ask_again()
        return self._due(now)

    def look(self, now: float) -> Asked:
        """What is to be asked now, without anything new: every LOOK seconds."""
        looks = {key: why for path in self._paths.values() for key, why in path.look().items()}
        return looks | self._due(now)

    def _due(self, now: float) -> Asked:
        return {key: why for path in self._paths.values() for key, why in path.due(now).items()}
