"""What one probe says to a proxy about who asks: a 407 in, the credentials to go on with out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from typing import Self

from exporter.authentication import SignInFailed
from exporter.model import Answer, Auth
from exporter.net.signin import SignIn
from exporter.net.sockets import in_daemon_thread


class Talk:
    """What is said to a proxy about who asks, until it lets the request pass or refuses for good.

    What the account says comes from a thread: it may ask a KDC.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._dialogue = sign_in.account.dialogue()
        self._turn = AsyncExitStack()
        self._spoke = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._turn.aclose()

    async def opening(self) -> str | None:
        """The credentials to begin with; None where the proxy has to ask first."""
        if self._sign_in.account.auth in {Auth.AUTO, Auth.NONE}:
            return None
        return await self._say(self._dialogue.opening)

    async def heard(self, answer: Answer) -> str | None:
        """The credentials to go on with; None where there is nothing more to say, or no need."""
        if answer.status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            if self._spoke:
                self._sign_in.accepted()
            return None
        credentials = await self._say(partial(self._dialogue.answer, answer.values("Proxy-Authenticate")))
        if credentials is None and self._spoke:
            self._sign_in.refused()
        return credentials

    async def _say(self, words: Callable[[], str | None]) -> str | None:
        if not self._spoke:
            await self._turn.enter_async_context(self._sign_in.turn())
        try:
            credentials = await in_daemon_thread(words)
        except SignInFailed as failure:
            if failure.refused:
                self._sign_in.refused()
            raise
        self._spoke = self._spoke or credentials is not None
        return credentials
