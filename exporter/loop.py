"""Run what is asynchronous on the fastest event loop that is installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Final, TypeVar, TypeVarTuple

import anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

UVLOOP: Final = find_spec("uvloop") is not None  # the extra `fast`


def run_on_loop(function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """Run to its end."""
    return anyio.run(function, *arguments, backend_options={"use_uvloop": UVLOOP})
