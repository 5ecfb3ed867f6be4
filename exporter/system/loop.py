"""Run what is asynchronous on the event loop that suits the system."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, Final, TypeVar, TypeVarTuple

import anyio

from exporter.system.waiting import SOCKETS, none_left

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

UVLOOP: Final = find_spec("uvloop") is not None  # the extra `fast`


def run_on_loop(function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts, beside: bool = False) -> T:
    """Run to its end; `beside` the loop that serves, or before there is one, its sockets are not `waited_for`.

    On Windows anyio waits for the sockets of asyncio's default loop in a thread of its own, by `select`. That ends with
    WSAENOTSOCK when a socket is closed meanwhile, as that of each probe that times out is, and from then on no wait
    ends. The other loop waits by `select` itself, between two steps of the program, so that nothing is closed then.
    """
    options: dict[str, Any] = {"use_uvloop": UVLOOP}
    if sys.platform == "win32":
        options = {"loop_factory": asyncio.SelectorEventLoop if beside else selecting_loop}
    return anyio.run(function, *arguments, backend_options=options)


class Selector(selectors.SelectSelector):
    """Waits by `select`, and refuses a socket that would be one too many: `select` would fail for all of them."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as its base has it
        """Wait for one more. Raises OSError (EMFILE)."""
        if len(self.get_map()) >= SOCKETS:
            raise none_left()
        return super().register(fileobj, events, data)


_selectors: Final[list[Selector]] = []  # that of the running loop


def selecting_loop() -> asyncio.AbstractEventLoop:
    """An event loop that waits by `select`, and whose sockets `waited_for` counts."""
    _selectors[:] = [Selector()]
    return asyncio.SelectorEventLoop(_selectors[0])


def waited_for() -> int:
    """How many sockets such a loop waits for."""
    return len(_selectors[0].get_map() or ()) if _selectors else 0
