"""A program in the laboratory that lives by a wall clock of its own, which jumps when it is told to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def wall_clock(directory: Path) -> Iterator[tuple[list[str | Path], Callable[[float], None]]]:
    """What a program is started with so that it lives by such a clock, and what moves that so many seconds off ours."""
    library, file = directory / "clock.so", directory / "clock"
    file.write_bytes(bytes(8))
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    with file.open("r+b", buffering=0) as clock:

        def move(seconds: float) -> None:
            clock.seek(0)
            clock.write(round(seconds).to_bytes(8, sys.byteorder, signed=True))

        yield ["env", f"LD_PRELOAD={library}", f"WALL_CLOCK={file}"], move
