"""The command, also as `python -m exporter`: what cannot wait until all modules are imported, which takes a second."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

INTERRUPTED: Final = 130  # as shells have it
STANDARD: Final = 2  # the highest of the descriptors of stdin, stdout and stderr


def main() -> None:
    """Run the command line."""
    if sys.platform != "win32":
        _occupy_standard_descriptors()
    if sys.argv[1:2] == ["serve"]:
        _expect_signals()
    try:
        from exporter import cli  # noqa: PLC0415 - see above
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    cli.main()


def _occupy_standard_descriptors() -> None:
    """Open what was closed at the start: else a socket would have such a number, and be written into and closed."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= STANDARD:
        os.set_inheritable(opened, True)
    os.close(opened)


def _expect_signals() -> None:
    """End in order from the first moment: the kernel keeps from process 1 what this does not handle."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing has been read yet that could be read again


if __name__ == "__main__":
    main()
