"""By which Pythons the exporter is tried: the one that runs the tests, and the newest that is supported.

The newest one is the base of the container, and the strictest about certificates. `make` gives it a virtual environment
where it finds it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

OWN: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER: Final = "3.13"
OTHER_PYTHON: Final = Path(__file__).parents[1] / ".venv" / f"python{OTHER}" / "bin" / "python"


def pythons() -> Mapping[str, str]:
    """What runs the exporter, by version: this Python first, then the other one where it is there."""
    return {OWN: sys.executable} | ({} if missing_python() else {OTHER: str(OTHER_PYTHON)})


def missing_python() -> str | None:
    """Why nothing can be tried by the other Python, in words; None: it can."""
    if OTHER_PYTHON.exists():
        return None
    return f"no Python {OTHER} was found on the path or among pyenv's versions, when `make test` looked for one"


def public_roots_of(python: str) -> Path:
    """Where a Python has Mozilla's list of roots."""
    asked = [python, "-c", "import certifi; print(certifi.where())"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
