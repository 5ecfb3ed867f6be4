"""How a person on this machine asks the same as a running exporter: Source -> its command line."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path

from exporter.report.invocation import PROGRAM, Invocation, Shell
from exporter.service.load import Source


def by_hand(source: Source, program: tuple[str, ...] = (PROGRAM,)) -> Invocation:
    """The exporter's command with this configuration, for the shell of this machine."""
    file, selection = source.config_file, source.selection
    return Invocation(
        program,
        # A name that is no text is not shown as it is, but the page is.
        str(file.absolute()).encode(errors="replace").decode() if file else "",
        selection.features,
        selection.roles,
        selection.clouds,
        Shell.POWERSHELL if sys.platform == "win32" else Shell.POSIX,
    )


def program_here() -> tuple[str, ...]:
    """What a person types for the program that runs: its name where the shell finds it by that, else where it is."""
    name = f"{PROGRAM}.exe" if sys.platform == "win32" else PROGRAM
    folder = Path(sys.executable).parent
    script = next((file for file in (folder / name, folder.parent / name) if file.is_file()), None)  # pip, the bundle
    if script is None:
        return (sys.executable, "-m", "exporter")
    with suppress(OSError):  # a folder that cannot be looked into
        if (known := shutil.which(PROGRAM)) and Path(known).samefile(script):
            return (PROGRAM,)
    return (str(script),)
