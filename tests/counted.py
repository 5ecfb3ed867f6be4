"""The exporter's command line, in a process that writes its number of tasks to a file whenever it gets SIGUSR1."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from pathlib import Path

from exporter.cli import main

if __name__ == "__main__":
    faulthandler.enable()
    told = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, lambda *_: told.write_text(f"{len(asyncio.all_tasks())}"))
    main()
