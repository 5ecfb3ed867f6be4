"""Passwords of those who ask: compared with their hashes, one at a time, and what came of it is remembered."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import anyio
import bcrypt

from exporter.system.threads import Job, NoThread
from exporter.web.turns import Busy, Turns

REMEMBERED: Final = 100  # wrong ones; the toolkit of other exporters remembers as many verdicts
WAITING_OF_ONE_ORIGIN: Final = 4
WAITING: Final = 64
_BCRYPT_READS: Final = 72  # bytes: others leave the rest unread, so a longer password fits here where it fits there
_PREFIX: Final = len("$2b$10$")
_NOBODYS: Final = "." * 53  # salt and digest: no password is known to fit


class Passwords:
    """Compares passwords with hashes: one at a time, since each takes as long as it should, in turn by origin.

    Right and wrong ones are remembered apart, so that no number of wrong ones displaces a right one.
    """

    def __init__(self) -> None:
        self._turns = Turns(at_once=1, at_once_of_one=1, waiting=WAITING, waiting_of_one=WAITING_OF_ONE_ORIGIN)
        self._salt = secrets.token_bytes(16)
        self._right: set[bytes] = set()
        self._wrong = OrderedDict[bytes, None]()

    async def user(self, origin: str, authorization: str, users: Mapping[str, bytes]) -> str | None:
        """Whose credentials these are, if somebody's. Raises Busy where too many others of their origin wait."""
        name, password = _credentials(authorization)
        if name is None:
            return None
        known = users.get(name) or self._stand_in(name, users)
        seen = hashlib.sha256(b"\0".join((self._salt, known, name.encode(), password))).digest()
        verdict = self._remembered(seen)
        if verdict is None:
            verdict = await self._compared(origin, seen, password, known, len(users))
        return name if verdict and name in users else None

    def _remembered(self, seen: bytes) -> bool | None:
        if seen in self._right:
            return True
        if seen in self._wrong:
            self._wrong.move_to_end(seen)
            return False
        return None

    async def _compared(self, origin: str, seen: bytes, password: bytes, known: bytes, users: int) -> bool:
        turn = await self._turns.begin(origin)
        try:
            verdict = self._remembered(seen)  # another of the same may have come first
            if verdict is None:
                try:
                    job = Job(lambda: _fits(password, known))
                except NoThread:  # as many as the system gives are at work
                    raise Busy from None
                with anyio.CancelScope(shield=True):  # who hangs up does not have two compared at a time
                    await job.wait()
                verdict = job.value()
                self._remember(seen, users, right=verdict)
        finally:
            turn.end()
        return verdict

    def _remember(self, seen: bytes, users: int, *, right: bool) -> None:
        if right:
            if len(self._right) > users:  # hashes that were replaced
                self._right.clear()
            self._right.add(seen)
            return
        self._wrong[seen] = None
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def _stand_in(self, name: str, users: Mapping[str, bytes]) -> bytes:
        """What to compare with where there is no such user: it takes as long as one of the users does.

        Always as long as the same one, as a user would.
        """
        drawn = hashlib.sha256(self._salt + name.encode()).digest()
        costs = sorted(users.values())
        return costs[int.from_bytes(drawn[:8], "big") % len(costs)][:_PREFIX] + _NOBODYS.encode()


def _credentials(authorization: str) -> tuple[str | None, bytes]:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    with suppress(NotBase64, UnicodeDecodeError, ValueError):
        name, colon, password = b64decode(text.strip(), validate=True).partition(b":")
        if colon:
            return name.decode(), password
    return None, b""


def _fits(password: bytes, known: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_READS], known)
    except ValueError:  # with a NUL in it
        return False
