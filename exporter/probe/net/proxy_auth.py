"""What one probe says to a proxy about who asks: a 407 in, the credentials to go on with out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, Self

from exporter.model.vocabulary import Answer, Auth, Phase
from exporter.probe.errors import SignInBroken, SignInFailed
from exporter.probe.net.signin import SignIn, Turn
from exporter.probe.net.trace import Trace
from exporter.system.threads import Job, in_daemon_thread

_IDLE: Final = 1.0  # seconds without a request after which a proxy may have closed a new connection
_HANGING: Final = 2  # questions to a KDC that may hang at a time: each keeps a thread


class Talk:
    """What is said to a proxy about who asks, until it lets the request pass or refuses for good.

    What the account says comes from a thread: it may ask a KDC, whose time is the phase's. The time until one's turn is
    neither the phase's nor the attempt's.
    """

    def __init__(self, sign_in: SignIn, trace: Trace, phase: Phase) -> None:
        self._sign_in = sign_in
        self._trace = trace
        self._phase = phase
        self._tunnel = phase is Phase.PROXY
        self._dialogue = sign_in.account.dialogue()
        self._turn: Turn | None = None
        self._idled = False  # since the connection was opened

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._turn is not None:
            self._sign_in.end(self._turn)

    async def may_begin(self) -> None:
        """Wait out a short pause of the account, before a connection is opened that would idle meanwhile."""
        if self._sign_in.guarded:
            try:
                with self._trace.limit.standing_still() as patience:
                    await self._sign_in.pause_over(patience)
            except SignInFailed:
                self._trace.enter(self._phase)
                raise

    def wants_login(self, status: int) -> bool:
        """Whether a proxy's answer asks who is there. Some say 401 to CONNECT, though that is a web server's word."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return True
        return self._tunnel and status == HTTPStatus.UNAUTHORIZED

    def goes_on_after(self, answer: Answer) -> bool:
        """Whether an answer holds a challenge, to which the reply must travel on the same connection."""
        return self.wants_login(answer.status) and self._dialogue.awaits(answer.values("Proxy-Authenticate"))

    def may_ask_again(self, error: OSError, *, used: bool) -> bool:
        """Whether to ask once more on a new connection, as the old one was closed before a byte of an answer.

        `used`: for an earlier request. One that idled before its first request may be closed as well. Raises
        SignInBroken where the dialogue belongs to the old one.
        """
        if self._dialogue.bound:
            raise SignInBroken("the proxy closed the connection while signing in") from error
        idled, self._idled = self._idled, False
        return used or idled

    async def opening(self) -> str | None:
        """The credentials to begin with; None where the proxy has to ask first."""
        if self._sign_in.account.auth in {Auth.AUTO, Auth.NONE}:
            return None
        return await self._say(self._dialogue.opening)

    async def heard(self, answer: Answer, *, connected: bool) -> str | None:
        """The credentials to go on with; None where there is nothing more to say, or no need.

        `connected`: the connection on which the answer came lives on. Raises SignInFailed and SignInBroken.
        """
        if not self.wants_login(answer.status):
            if self._turn is not None:
                self._sign_in.let_through(self._turn, answer, tunnel=self._tunnel)
            return None
        if self._sign_in.account.auth is Auth.NONE:
            return None
        challenges = answer.values("Proxy-Authenticate")
        credentials = await self._say(partial(self._dialogue.answer, challenges, connected=connected))
        if credentials is None and self._turn is not None and self._turn.shown:
            self._trace.cause = self._sign_in.refused(self._turn)
        return credentials

    async def _say(self, words: Callable[[], str | None]) -> str | None:
        turn = self._turn = self._turn or await self._wait_for_turn()
        self._sign_in.say(turn)
        try:
            with self._trace.waiting():
                credentials = await in_daemon_thread(words, self._still_hanging())
        except SignInFailed as failure:
            if failure.refused:
                self._trace.cause = self._sign_in.refused(turn)
            raise
        if credentials is not None:
            self._sign_in.said(turn, shown=self._dialogue.shown)
        return credentials

    async def _wait_for_turn(self) -> Turn:
        stood_still = self._trace.limit.stood_still
        with self._trace.limit.standing_still() as patience:
            turn = await self._sign_in.begin(patience)
        self._idled = self._trace.limit.stood_still - stood_still > _IDLE
        return turn

    def _still_hanging(self) -> list[Job[str | None]]:
        """What was asked of the account, was given up and still hangs. Raises SignInFailed where it is too much."""
        hanging = self._sign_in.hanging
        hanging[:] = [job for job in hanging if not job.ended]
        if len(hanging) >= _HANGING:
            raise SignInFailed(f"no answer yet to {_HANGING} earlier questions for credentials: the KDC is silent")
        return hanging
