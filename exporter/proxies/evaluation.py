"""Have a PAC file run by `engine`, a child that cannot outlast its time: (script, questions) -> answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

import exporter

SECONDS = 20.0  # for all targets together; what takes longer waits for names that nobody resolves, or for ever
MOST_MEMORY: Final = 512 * 1024 * 1024  # bytes, the interpreter's own included
_MOST_SAID: Final = 4 * 1024 * 1024  # bytes of answers
_MOST_HEARD: Final = 64 * 1024  # bytes of what the engine says beside
_JS_ERROR: Final = re.compile(r"JSERROR: ([^\r\n]*)")
_LONGEST: Final = 200  # characters of it
_LACKING: Final = (
    "to run it needs pacparser, which is not made in advance for this kind of machine; with a C compiler, this makes "
    "it: pip install pacparser"
)
_SPARE: Final = 1.0  # seconds for what remains in the pipes of a process that has ended


class NotEvaluated(Exception):
    """A PAC file that gave no answer; the message says why, for which URL, and what to do."""


class NoEngine(NotEvaluated):
    """There is nothing on this machine that runs a script."""


def evaluate(script: str, asked: Sequence[tuple[str, str]]) -> list[str]:
    """What a PAC file answers to each URL and host, in their order. Blocks; raises NotEvaluated."""
    if find_spec("pacparser") is None:
        raise NoEngine(_LACKING)
    order = {"script": script, "asked": asked, "seconds": int(SECONDS) + 1, "bytes": MOST_MEMORY}
    try:
        status, said, heard = _run(json.dumps(order).encode(), SECONDS)
    except OSError as error:
        raise NotEvaluated(
            f"its engine cannot be started: {error.strerror or error}; what decides here which programs may run must "
            f"let {interpreter()} start itself, and the folder for temporary files must be writable"
        ) from None
    if status is None:
        raise NotEvaluated(
            f"it gave no answer for all targets within {SECONDS:.0f} s: it loops for ever, or looks up names that "
            "nobody resolves; try it in a browser, and ask who keeps it"
        )
    try:
        answer = json.loads(said)
        if "answers" in answer:
            return [str(one) for one in answer["answers"]]
        failed = int(answer["failed"])
    except (ValueError, KeyError, TypeError):
        raise NotEvaluated(f"its engine ended with status {status} and without an answer{_reason(heard)}") from None
    where = f"for {asked[failed][0]} it fails" if failed >= 0 else "it is no PAC file that can be run"
    raise NotEvaluated(f"{where}{_reason(heard)}; try it in a browser, and ask who keeps it")


def _reason(heard: bytes) -> str:
    """What the engine says of the error, whose text may be anybody's."""
    found = _JS_ERROR.search(heard.decode("utf-8", "replace"))
    return f": {ascii(found[1][:_LONGEST])[1:-1]}" if found else ""


if sys.platform == "win32":
    _NO_WINDOW: Final = subprocess.CREATE_NO_WINDOW

    def interpreter() -> str:
        """The Python that runs modules: the host of a Windows service is none itself, but has one beside it."""
        if re.fullmatch(r"python(w|[0-9.]+)?", Path(sys.executable).stem, re.IGNORECASE):
            return sys.executable
        return str(Path(sys.exec_prefix) / "python.exe")

else:
    _NO_WINDOW: Final = 0

    def interpreter() -> str:
        """The Python that runs modules: this one."""
        return sys.executable


def _run(order: bytes, seconds: float) -> tuple[int | None, bytes, bytes]:
    """The status (None: out of time) of the engine, what it says on stdout, and on stderr."""
    argv = [interpreter(), "-B", "-P", "-m", "exporter.proxies.engine"]
    package = os.fspath(Path(exporter.__file__).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as stdin:
        stdin.write(order)
        stdin.seek(0)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            creationflags=_NO_WINDOW,
        )
    with process:
        said, heard = bytearray(), bytearray()
        readers = [
            threading.Thread(target=_read, args=pipe, daemon=True)
            for pipe in ((process.stdout, said, _MOST_SAID), (process.stderr, heard, _MOST_HEARD))
        ]
        for reader in readers:
            reader.start()
        status: int | None = None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            for reader in readers:
                reader.join(_SPARE)
        return status, bytes(said), bytes(heard)


def _read(pipe: IO[bytes], into: bytearray, most: int) -> None:
    """Read everything, so that the engine does not wait, and keep its beginning."""
    while part := pipe.read(1 << 16):
        if len(into) < most:
            into += part
