"""Sign in to a proxy with care: a directory locks an account whose password is refused too often.

Until the proxy is known to take the account, one probe signs in and the others wait to hear what comes of it. A refusal
comes soon; where nothing comes, the probe waits for its target, and the next may sign in beside it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from exporter.model.vocabulary import Answer, Cause, Proxy
from exporter.probe.errors import SignInBroken, SignInFailed
from exporter.probe.net.authentication import Account
from exporter.system.threads import Job

# Seconds after a refusal in which the account is not tried again. Directories lock after some five failures in a
# quarter of an hour or more; a hundred targets behind one proxy would get there at once.
PAUSE: Final = 600.0
SHORT_PAUSE: Final = 30.0  # after the first refusal of an account that had been taken: directories are restarted, too
QUIET: Final = 2.0  # seconds after which no answer is no refusal, most likely; some wait as long before they refuse
MOST: Final = 3  # probes that sign in at a time before the account is taken: fewer than lock it, were all refused
SILENCE: Final = 10.0  # seconds without an answer to any of them, after which the account counts as taken

# What a proxy may say before it has looked at the account: that it does not understand, or that its rules forbid it.
_NO_PROOF: Final = frozenset({400, 401, 403, 405, 407, 451, 470})
_ELSEWHERE: Final = frozenset({301, 302, 303, 307, 308})  # a proxy's rules may also forbid by redirect


@dataclass(eq=False, slots=True)
class Turn:
    """Leave for one probe to sign in. Times are the event loop's."""

    begun: float = math.inf
    said: float = math.inf  # when it last said something
    shown: bool = False  # whether the proxy has been sent what proves the password
    heard: bool = False  # whether the proxy has answered since


@dataclass(eq=False)
class SignIn:
    """The account of one proxy, and what came of its sign-ins. A reload that does not change the account keeps it."""

    account: Account
    hanging: list[Job[str | None]] = field(
        default_factory=list
    )  # what was asked of the account in vain: its KDC is silent
    _taken: bool = False
    _proven: bool = False  # it is not only taken for want of an answer
    _refused: float = -math.inf
    _pause: float = 0.0  # after that refusal
    _asking: list[Turn] = field(default_factory=list)  # who signs in before it is known whether the account is taken
    _waiting: list[Turn] = field(default_factory=list)
    _change: anyio.Event = field(default_factory=anyio.Event)

    @property
    def guarded(self) -> bool:
        """Whether the account has been refused and is not tried again yet."""
        return anyio.current_time() < self._refused + self._pause

    @property
    def was_refused(self) -> bool:
        """Whether it knows of a refusal, which the account must be guarded by as long as the process lives."""
        return self._refused > -math.inf

    def begin_anew(self) -> None:
        """Take the account for known no more: its proxy is away, and may be back before the directory behind it."""
        self._taken = False

    async def pause_over(self, patience: float) -> None:
        """Wait out the pause after the first refusal of an account that had been taken.

        Raises SignInFailed when it takes longer than `patience` seconds.
        """
        left = self._refused + self._pause - anyio.current_time()
        if left > 0 and self._pause == SHORT_PAUSE:
            await anyio.sleep(min(left, max(patience, 0.0)))
            if left > patience:
                raise self._refusal()

    async def begin(self, patience: float) -> Turn:
        """Leave to sign in, when it is one's turn; give it back by `end`.

        Raises SignInFailed while the account pauses, or SignInBroken when nothing is known after `patience` seconds.
        """
        turn = Turn()
        self._waiting.append(turn)
        try:
            await self._wait(turn, anyio.current_time() + patience)
        except BaseException:
            self.end(turn)
            raise
        return turn

    def end(self, turn: Turn) -> None:
        """Note that a probe signs in no more."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        silent = turn.shown and not turn.heard and turn.said + QUIET <= anyio.current_time()
        if turn in self._asking and not silent:
            self._asking.remove(turn)
        self._admit()

    def say(self, turn: Turn) -> None:
        """Ask whether to say more. Raises SignInFailed where another has been refused meanwhile."""
        if turn.begun <= self._refused:
            self._go_no_further_if_refused()

    def said(self, turn: Turn, *, shown: bool) -> None:
        """Note that something is said now; `shown`: the password is put to the test by it."""
        turn.said, turn.shown, turn.heard = anyio.current_time(), turn.shown or shown, False

    def let_through(self, turn: Turn, answer: Answer, *, tunnel: bool) -> None:
        """Note an answer that wants no login; it may prove that the account is taken."""
        turn.heard = True
        forbidden = tunnel or bool(answer.values("X-Squid-Error"))
        if answer.status in _NO_PROOF or (answer.status in _ELSEWHERE and forbidden):
            return
        if turn.begun > self._refused:  # who began before may have been let in before
            self._taken = self._proven = True
            self._asking.clear()
            self._admit()

    def refused(self, turn: Turn) -> Cause | None:
        """Note that the proxy, or the directory behind it, did not take the account; what else is known of that."""
        turn.heard = True
        if turn.begun > self._refused:  # who began before says nothing new
            self._refused = anyio.current_time()
            self._pause = SHORT_PAUSE if self._proven else PAUSE
            self._taken = self._proven = False
            self._asking.clear()
            self._wake()
        return Cause.ACCOUNT_LAPSED if self._pause == SHORT_PAUSE else None

    async def _wait(self, turn: Turn, until: float) -> None:
        self._admit()
        while turn.begun == math.inf:
            self._go_no_further_if_refused()
            if anyio.current_time() >= until:
                raise self._refusal() if self.guarded else SignInBroken(_UNKNOWN)
            with anyio.CancelScope(deadline=min(until, self._next_look())):
                await self._change.wait()
            self._admit()

    def _admit(self) -> None:
        """Give a turn to whoever may have one now: to all when the account is taken, else by lot.

        In the order of the plan, every probe that hangs might come first.
        """
        now = anyio.current_time()
        admitted = False
        while self._waiting and self._has_room(now):
            turn = self._waiting.pop(random.randrange(len(self._waiting)))  # noqa: S311 - it guards no secret
            turn.begun = turn.said = now
            if not self._taken:
                self._asking.append(turn)
            admitted = True
        if admitted:
            self._wake()

    def _has_room(self, now: float) -> bool:
        if self._taken:
            return True
        if self.guarded or any(turn.said + QUIET > now for turn in self._asking):
            return False
        if len(self._asking) >= MOST:
            self._taken = any(turn.shown and turn.said + SILENCE <= now for turn in self._asking)
            return self._taken
        return True

    def _next_look(self) -> float:
        """When the next may have its turn, if nobody is heard until then."""
        now = anyio.current_time()
        if self.guarded:
            return self._refused + self._pause
        moments = [turn.said + QUIET for turn in self._asking]
        moments += [turn.said + SILENCE for turn in self._asking if turn.shown]
        return min((moment for moment in moments if moment > now), default=math.inf)

    def _wake(self) -> None:
        self._change.set()
        self._change = anyio.Event()

    def _go_no_further_if_refused(self) -> None:
        if self.guarded and self._pause == PAUSE:
            raise self._refusal()

    def _refusal(self) -> SignInFailed:
        since = anyio.current_time() - self._refused
        return SignInFailed(
            f"the account was refused {since:.0f} s ago and is tried again in {self._pause - since:.0f} s, "
            "so that it is not locked; another password is tried at once",
            cause=Cause.ACCOUNT_LAPSED if self._pause == SHORT_PAUSE else None,
        )


_UNKNOWN: Final = "the proxy has not yet answered another probe that signs in"


def sign_ins_of(proxies: Mapping[str, Proxy], known: Iterable[SignIn]) -> dict[str, SignIn]:
    """Each proxy's sign-in by the proxy's name: a known one where nothing changes for the account, else a new one.

    Proxies with the same URL and account share theirs.
    """
    all_known = list(known)
    found = {}
    for name, proxy in proxies.items():
        same = next((sign_in for sign_in in all_known if sign_in.account.belongs_to(proxy)), None)
        if same is None:
            all_known.append(same := SignIn(Account(proxy)))
        found[name] = same
    return found
