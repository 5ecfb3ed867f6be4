"""What a run of the tests prints at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.running import ROOT

MEASURES = """
def test_measures(figure):
    figure("a page: 12 ms")

def test_fails(figure):
    figure("another page: 4 s")
    assert not figure
"""


def test_what_was_measured_is_printed_also_of_what_failed(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(MEASURES)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*argv, "--rootdir", tmp_path, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    _, _, figures = done.stdout.partition(" figures ")
    assert "\na page: 12 ms\nanother page: 4 s\n" in figures
