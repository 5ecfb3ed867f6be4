"""Which event loop runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from exporter import loop


async def running() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
def test_uvloop_runs_where_it_is_installed() -> None:
    assert loop.run_on_loop(running) == "uvloop"


def test_pythons_own_loop_runs_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "UVLOOP", False)
    assert loop.run_on_loop(running) == "asyncio"
