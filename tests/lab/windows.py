"""Windows in the laboratory: the exporter's bundle under wine, in the same network as everything else.

Each laboratory has a copy of the empty Windows that `make_windows.py` made, because the sockets of its programs are
those of one wine server, which lives in one network.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntFlag
from pathlib import Path
from subprocess import DEVNULL, CompletedProcess, Popen
from typing import Any, Final

from tests.lab import Lab
from tests.lab.make_windows import PREFIX, PROGRAM, missing

_ROOT: Final = Path(__file__).parents[2]
NAME: Final = "configmgr-endpoint-exporter.exe"
WINE: Final = Path("/usr/lib/wine/wine64")
WINE_SERVER: Final = Path("/usr/lib/wine/wineserver64")
_REGISTRY: Final = ("system.reg", "user.reg", "userdef.reg")
_LOCK: Final = Path(__file__).with_name("windows_lock.py")
_TRUST: Final = Path(__file__).with_name("windows_trust.py")


class Sharing(IntFlag):
    """What others may do with a file that is open, <winnt.h>."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    DELETE = 4


def missing_windows() -> str | None:
    """Why no Windows can be had here, in words; None: it can."""
    if reason := missing():
        return reason
    if not (PREFIX.exists() and PROGRAM.exists()):
        return "`make test` has not built the bundle for Windows, or not unpacked it"
    return None


def windows_path(path: Path) -> str:
    """A path of this machine as programs of Windows know it here."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


class Windows:
    """A Windows in a laboratory, with the bundle in a folder of it. It trusts the laboratory's root."""

    def __init__(self, lab: Lab) -> None:
        """Begin; `close` ends it."""
        self.lab = lab
        self.folder = lab.file(f"windows-{secrets.token_hex(4)}")
        self.folder.mkdir()
        self._prefix = self.folder / "prefix"
        # By hard links, for it is half a gigabyte; what wine writes anew it puts in the place of the old file, but for
        # the registry, which is given to each.
        shutil.copytree(PREFIX, self._prefix, symlinks=True, copy_function=os.link)
        for name in _REGISTRY:
            (self._prefix / name).unlink()
            shutil.copy(PREFIX / name, self._prefix / name)
        self.program = self.folder / "Pläne und Prüfung" / PROGRAM.name
        shutil.copytree(PROGRAM, self.program, copy_function=os.link)
        self._server = self.popen_unix([WINE_SERVER, "-f", "-p"])
        try:
            # Its background programs keep what they are given as output open: not that of a program that is waited for.
            self.popen_unix([WINE, "wineboot"]).wait()
            self._trust(lab.ca_file)
        except BaseException:
            self.close()
            raise

    def _trust(self, root: Path) -> None:
        done = self.run_python(windows_path(_TRUST), windows_path(root))
        if done.returncode != 0:
            raise RuntimeError(f"Windows does not take the root: {done.stderr.decode(errors='replace')}")

    @property
    def env(self) -> Mapping[str, str]:
        """What programs find in their environment, beside what Windows puts there."""
        return {**self.lab.env, "WINEPREFIX": str(self._prefix), "WINEARCH": "win64", "WINEDEBUG": "-all"}

    @property
    def drive(self) -> Path:
        """Drive C:."""
        return self._prefix / "drive_c"

    @property
    def hosts(self) -> Path:
        """The hosts file of this Windows; names are looked up by the one in /etc."""
        return self.drive / "windows" / "system32" / "drivers" / "etc" / "hosts"

    @property
    def python(self) -> Path:
        """The Python of the bundle."""
        return self.program / "python" / "python.exe"

    def popen_unix(self, argv: Sequence[str | Path]) -> Popen[bytes]:
        """Start a program of wine's own, heard by nobody."""
        return self.lab.popen(argv, env=self.env, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)

    def argv(self, program: str | Path, *arguments: str) -> list[str | Path]:
        """How a program of Windows is started from here."""
        return [WINE, program, *arguments]

    def run(
        self, program: str | Path, *arguments: str, timeout: float = 300.0, **options: Any
    ) -> CompletedProcess[bytes]:
        """Run a program of Windows to its end; its output is kept as it comes. `etc`, `env` and `cwd` as for others."""
        env = {**self.env, **options.pop("env", {})}
        popen = self.lab.popen(
            self.argv(program, *arguments),
            env=env,
            stdin=DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        try:
            out, err = popen.communicate(timeout=timeout)
        except BaseException:
            popen.kill()
            raise
        return CompletedProcess(popen.args, popen.returncode, out, err)

    def run_python(self, *arguments: str, **options: Any) -> CompletedProcess[bytes]:
        """Run the bundle's Python."""
        return self.run(self.python, *arguments, **options)

    def run_test(self, module: str, *arguments: Path, **options: Any) -> CompletedProcess[bytes]:
        """Have the bundle's Python run a module of the tests that needs nothing but the exporter."""
        start = (
            f"import sys, runpy; sys.path.append({windows_path(_ROOT)!r}); "
            f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        )
        return self.run_python("-c", start, *map(windows_path, arguments), **options)

    def take_for_public(self, root: Path) -> None:
        """Put a root in the place of Mozilla's list: TLS in here is then no more inspected than outside."""
        (known,) = self.program.rglob("certifi/cacert.pem")
        known.unlink()  # its other names shall stay as they are
        shutil.copy(root, known)

    def exporter(self, *arguments: str, **options: Any) -> CompletedProcess[bytes]:
        """Run the command of the bundle."""
        return self.run(self.program / NAME, *arguments, **options)

    def popen(self, program: str | Path, *arguments: str, **options: Any) -> Popen[bytes]:
        """Start a program of Windows."""
        return self.lab.popen(self.argv(program, *arguments), env=self.env, stdin=DEVNULL, **options)

    @contextmanager
    def open_file(self, file: Path, by_others: Sharing) -> Iterator[None]:
        """Have a program of Windows keep a file open, and let others do with it meanwhile what is said."""
        begun, ended = (file.with_name(f"{file.name}.{word}") for word in ("begun", "ended"))
        script, locked, *marks = map(windows_path, (_LOCK, file, begun, ended))
        quiet = {"stdout": DEVNULL, "stderr": DEVNULL}
        program = self.popen(self.python, script, locked, str(int(by_others)), *marks, **quiet)
        try:
            while not begun.exists():
                if program.poll() is not None:
                    raise RuntimeError(f"{file} cannot be opened")
                time.sleep(0.05)
            yield
        finally:
            ended.touch()
            program.wait()

    def pid_of(self, name: str) -> int:
        """The process of this machine that is the one program of this name."""
        mark = f"WINEPREFIX={self._prefix}".encode()
        (pid,) = (pid for pid in _processes(name) if mark in _read(pid, "environ").split(b"\0"))
        return pid

    def end(self, name: str) -> None:
        """End the one program of this name at once."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    def handles(self) -> int:
        """How much all programs have open: handles of Windows are descriptors of the wine server."""
        return len(list(Path(f"/proc/{self._server.pid}/fd").iterdir()))

    def close(self) -> None:
        """End all that runs in it, and remove it."""
        self._server.kill()  # its programs end with it
        self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _processes(name: str) -> Iterator[int]:
    """The processes of this machine that run a program of Windows of this name."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and name.encode() in _read(int(folder.name), "cmdline").split(b"\0")[0]:
            yield int(folder.name)


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):  # it may have ended
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


@contextmanager
def windows_in(lab: Lab) -> Iterator[Windows]:
    """A Windows until the block ends."""
    windows = Windows(lab)
    try:
        yield windows
    finally:
        windows.close()
