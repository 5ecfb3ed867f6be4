"""What a machine lacks is said last, with how many tests were skipped for it, and fails in continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_ROOT = "import os; os.geteuid = lambda: 1000"
NO_OTHER = "import pathlib, tests.pythons; tests.pythons.OTHER_PYTHON = pathlib.Path('/nowhere')"


@pytest.mark.parametrize(
    ("lack", "test", "said"),
    [
        (NOT_ROOT, "test_lab.py::test_unknown_names_do_not_exist", "the laboratory needs root"),
        (NO_OTHER, "test_faults.py::test_the_other_python_runs_what_is_tested", "no Python 3.13 was found"),
    ],
)
@pytest.mark.parametrize(("ci", "status"), [("true", pytest.ExitCode.TESTS_FAILED), ("false", pytest.ExitCode.OK)])
def test_what_is_missing_is_said_last_and_fails_only_in_ci(
    lack: str, test: str, said: str, ci: str, status: pytest.ExitCode
) -> None:
    run = f"{lack}; import sys, pytest; sys.exit(pytest.main(['-p', 'no:cacheprovider', 'tests/{test}']))"
    done = subprocess.run(
        [sys.executable, "-c", run], cwd=ROOT, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False
    )
    *_, told, _ = done.stdout.splitlines()
    assert done.returncode == status, done.stdout
    assert told.startswith("1 ")
    assert " tests skipped" in told
    assert said in told
    assert ("with CI=true that fails the run" in told) is (ci == "true")
