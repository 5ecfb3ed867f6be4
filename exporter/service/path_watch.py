"""Which checks to make out of turn, so that a path or a host is known to be down, or up again, at any interval.

Failures of two hosts that blame a path, and no success since the first of them began, are a suspicion: what worked by
that path is asked at once. So are those that have had no answer for longer than is usual for them. While the path is
down, some of its checks are made every few seconds; when one succeeds, what had failed is asked at once. Whether the
path is down is none of this: `paths` says so, by the latest results.

When a check fails, the others of its host by the same path are asked at once, and some of other hosts, unless one has
worked meanwhile: so whatever needs a host is known together, and that it is not the path.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from exporter.model.vocabulary import CheckKey, OutOfTurn, Reason, Result
from exporter.results.paths import Say, all_judge, is_down, says

SUSPICIOUS: Final = 2  # hosts that fail in a row, also behind a proxy: one may well have trouble of its own
FEW: Final = 2  # checks that are asked when one host has failed, and at each look at a path that is down
WITNESSES: Final = 5  # of other hosts that are asked when a host fails: so many must work before an alert calls
LOOK: Final = 5.0  # seconds between two looks
AT_ONCE: Final = 2  # rounds of a path's checks that may be made out of turn: when it is suspected, and when it is back
MINUTE: Final = 60.0  # seconds in which one more may be, which is a third of what the default interval costs

Asked = dict[CheckKey, OutOfTurn]


@dataclass(slots=True)
class _Spare:
    """How many probes may be made out of turn: two rounds at once, and one more a minute."""

    left: float = math.inf
    at: float = 0.0  # as of when

    def some(self, wanted: Asked, most: int, now: float) -> Asked:
        """As many of these as may be made now."""
        self.left = min(self.left + (now - self.at) * most / MINUTE, float(AT_ONCE * most))
        self.at = now
        asked = dict(islice(wanted.items(), int(self.left)))
        self.left -= len(asked)
        return asked


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
    asked: int = 0  # of the witnesses
    spare: _Spare = field(default_factory=_Spare)

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

    def fall_silent(self, key: CheckKey, began: float) -> None:
        """Note that an attempt of what had worked has had no answer for longer than is usual."""
        before = self.heard.get(key)
        if before is not None and not before.say.blames and (not before.say.inside or self._all_judge()):
            self._fails(before.say.host, began, guarded=False)

    def witnesses(self, host: str) -> Iterable[CheckKey]:
        """Some of other hosts that worked by this path, by turns."""
        others = [key for key in self._working() if key.target.host != host]
        begin = self.asked % max(1, len(others))
        self.asked += WITNESSES
        return islice(others[begin:] + others[:begin], WITNESSES)

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
        self.wanted = {key: why for key, why in self.wanted.items() if why is not OutOfTurn.SUSPECTED}

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
        if not self.wanted:
            return {}
        self.wanted = {key: why for key, why in self.wanted.items() if self._is_useful(key, why)}
        asked = self.spare.some(self.wanted, max(len(self.heard), len(self.fell), FEW), now)
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
    """What the newest attempts say of each path and host, and which checks are asked for that out of turn."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path] = {}
        self._fell: dict[CheckKey, float] = {}
        self._worked: dict[str, float] = {}  # by path: when the newest success began
        self._in_question: set[str] = set()  # paths by which nothing has worked since some were asked for that
        self._of_host: dict[tuple[str, str], list[CheckKey]] = {}  # by path
        self._spare = _Spare()
        self._most = FEW

    def keep(self, keys: Collection[CheckKey]) -> None:
        """Forget all checks but these."""
        for key in [key for key in self._fell if key not in keys]:
            del self._fell[key]
        for path in self._paths.values():
            path.heard = {key: heard for key, heard in path.heard.items() if key in keys}
            path.wanted = {key: why for key, why in path.wanted.items() if key in keys}
            path.anew = {key for key in path.anew if key in keys}
        of_host = defaultdict[tuple[str, str], list[CheckKey]](list)
        for key in keys:
            of_host[key.path, key.target.host].append(key)
        self._of_host, self._most = dict(of_host), max(len(keys), FEW)

    def hear(self, result: Result, began: float, now: float) -> Asked:
        """Note what an attempt came to that began at a moment. Returns what is to be asked for it, and why."""
        said = dict(says(result))
        guarded = result.failure is not None and result.failure.reason is Reason.PROXY_AUTH_REQUIRED
        asked: Asked = {}
        if guarded:
            self._fell.pop(result.key, None)
        else:
            asked = self._works(result.key, began) if result.up else self._fails(result, began)
        for name, say in said.items():
            self._paths.setdefault(name, _Path(name, self._fell)).hear(result.key, say, began, guarded=guarded)
        for name in self._paths.keys() - said.keys():
            self._paths[name].heard.pop(result.key, None)
        return self._spare.some(asked, self._most, now) | self._due(now)

    def fail_once(self, result: Result, began: float, now: float) -> Asked:
        """Note an attempt that failed, and that another will confirm. Returns what is to be asked for it, and why."""
        return self._spare.some(self._fails(result, began), self._most, now)

    def fall_silent(self, key: CheckKey, began: float, now: float) -> Asked:
        """Note an attempt that has had no answer for longer than is usual. Returns what is to be asked for it."""
        for path in self._paths.values():
            path.fall_silent(key, began)
        return self._spare.some(self._falls(key, began), self._most, now) | self._due(now)

    def _fails(self, result: Result, began: float) -> Asked:
        """What a failure gives rise to, unless it is a defect of the exporter."""
        if result.failure is not None and result.failure.reason is Reason.INTERNAL_ERROR:
            self._fell.setdefault(result.key, began)
            return {}
        return self._falls(result.key, began)

    def _falls(self, key: CheckKey, began: float) -> Asked:
        """All others of its host that worked, and some of its path if nothing has worked by that meanwhile."""
        if key in self._fell:
            return {}
        self._fell[key] = began
        others = [other for other in self._of_host.get((key.path, key.target.host), ()) if other not in self._fell]
        path = self._paths.get(key.path)
        if path is not None and key.path not in self._in_question and self._worked.get(key.path, -math.inf) < began:
            self._in_question.add(key.path)
            others += path.witnesses(key.target.host)
        return dict.fromkeys(others, OutOfTurn.SUSPECTED)

    def _works(self, key: CheckKey, began: float) -> Asked:
        """All others of its host that had failed before it, if it had failed as well."""
        self._worked[key.path] = max(began, self._worked.get(key.path, -math.inf))
        self._in_question.discard(key.path)
        if self._fell.pop(key, math.inf) > began:
            return {}
        others = self._of_host.get((key.path, key.target.host), ())
        return dict.fromkeys((other for other in others if other in self._fell), OutOfTurn.RECOVERED)

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
