"""A short run of what `make fuzz` does at length."""

from __future__ import annotations

from pathlib import Path

import anyio

from tests.tools.fuzz import run


def test_nothing_that_strangers_send_ends_in_an_exception_that_is_not_ours(tmp_path: Path) -> None:
    told = list(anyio.run(run, 4000, 1, tmp_path))
    assert [line.partition(",")[0] for line in told] == [
        "answers: 2000 inputs",
        "certificates: 1000 inputs",
        "configurations: 1000 inputs",
    ]
