"""Make what a Windows in the laboratory is made of: the bundle, unpacked, and an empty Windows of wine.

Both lie in `.venv/windows`, and are made again only when what they are made of has changed. So do the wheels of which
pip can install the exporter on a Windows that reaches no index.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

from config.windows.bundle import CACHE, ROOT, build
from config.windows.embedded_python import Refused

MADE_OF: Final = ("exporter", "config", "dashboards", "docs", "pyproject.toml", "constraints.txt")
LACKING: Final = Path(__file__).with_name("bcryptprimitives.c")
PREFIX: Final = CACHE / "prefix"
PROGRAM: Final = CACHE / "program"
WHEELS: Final = CACHE / "wheels"
STAMP: Final = CACHE / "made-of"
LOCKED: Final = (ROOT / "locked" / "run.txt", ROOT / "locked" / "build.txt")  # what pip installs, and builds with
# What a Python on a 64-bit Windows says of itself, by which packages decide what they need there.
WINDOWS: Final = {
    "os_name": "nt",
    "sys_platform": "win32",
    "platform_system": "Windows",
    "platform_machine": "AMD64",
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
NEEDED: Final = {
    "osslsigncode": "osslsigncode",
    "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64-win32",
    "/usr/lib/wine/wine64": "wine64",
}


def missing() -> str | None:
    """Which Debian packages are missing for it, in words; None: nothing is."""
    packages = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"not installed: {', '.join(packages)}" if packages else None


def made() -> Path:
    """The bundle; it lies unpacked in `PROGRAM`, with the library that wine lacks. `PREFIX` is the empty Windows."""
    with _alone():
        stamp = _stamp()
        if not STAMP.exists() or STAMP.read_text(encoding="ascii") != stamp:
            STAMP.unlink(missing_ok=True)
            for old in CACHE.glob("*.zip"):
                if "windows-amd64" in old.name:
                    old.unlink()
            _unpack(build(CACHE), CACHE / "new")
            STAMP.write_text(stamp, encoding="ascii")
        if not PREFIX.exists():
            _boot(CACHE / "new-prefix")
        _fetch_wheels()
        (bundle,) = CACHE.glob("*-windows-amd64.zip")
    return bundle


def _fetch_wheels() -> None:
    """Fetch what is not there yet, each file by its hash; pip would decide by this system what is needed."""
    locked = "".join(file.read_text(encoding="utf-8") for file in LOCKED).replace("\\\n", " ")
    needed = {line for line in locked.splitlines() if _is_needed(line.partition(" --hash")[0])}
    wanted = "".join(f"{line.partition(' ; ')[0]} --hash{line.partition(' --hash')[2]}\n" for line in sorted(needed))
    fetched = WHEELS / "fetched.txt"
    if fetched.exists() and fetched.read_text(encoding="ascii") == wanted:
        return
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir()
    asked = WHEELS / "wanted.txt"
    asked.write_text(wanted, encoding="ascii")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    argv += ["--platform", "win_amd64", "--python-version", WINDOWS["python_version"], "--retries", "5"]
    done = subprocess.run([*argv, "--dest", WHEELS, "--requirement", asked], check=False, capture_output=True)
    if done.returncode:
        raise Refused(f"pip could not fetch what it installs on Windows:\n{done.stderr.decode(errors='replace')}")
    asked.rename(fetched)


def _is_needed(line: str) -> bool:
    from packaging.requirements import Requirement  # noqa: PLC0415 - the other Python, which reads this too, has none

    marker = Requirement(line).marker
    return marker is None or marker.evaluate(WINDOWS)


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp() -> str:
    """A checksum over all that the bundle is made of, and who makes it."""
    seen = hashlib.sha256(f"{sys.version}\0{os.environ.get('SOURCE_DATE_EPOCH')}\0".encode())
    files = (
        file for part in MADE_OF for file in ([ROOT / part] if (ROOT / part).is_file() else (ROOT / part).rglob("*"))
    )
    for file in sorted([*files, *ROOT.glob("*.md"), LACKING]):
        if file.is_file() and "__pycache__" not in file.parts:
            seen.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return seen.hexdigest()


def _unpack(bundle: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    (top,) = folder.iterdir()
    library = top / "python" / "bcryptprimitives.dll"
    argv: list[str | Path] = ["x86_64-w64-mingw32-gcc", "-shared", "-O1", "-s", LACKING, "-ladvapi32", "-o", library]
    subprocess.run(argv, check=True, capture_output=True)
    shutil.rmtree(PROGRAM, ignore_errors=True)
    top.rename(PROGRAM)
    folder.rmdir()


def _boot(prefix: Path) -> None:
    """Make an empty Windows; its programs have ended when this returns."""
    shutil.rmtree(prefix, ignore_errors=True)
    environment = os.environ | {"WINEPREFIX": str(prefix), "WINEARCH": "win64", "WINEDEBUG": "-all", "DISPLAY": ""}
    environment["WINEDLLOVERRIDES"] = "mscoree,mshtml=d"  # whose parts wine would offer to download
    for argv in (["wine64", "wineboot", "--init"], ["wineserver64", "--wait"]):
        program = [f"/usr/lib/wine/{argv[0]}", *argv[1:]]
        subprocess.run(program, check=True, env=environment, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    prefix.rename(PREFIX)


def main() -> None:
    """Make it, or say why not and succeed: the tests that need it are then skipped, with the reason."""
    if lacking := missing():
        sys.stdout.write(f"Windows: not made, {lacking}\n")
        return
    try:
        sys.stdout.write(f"Windows: made of {made().name}\n")
    except Refused as refused:
        sys.exit(f"Windows: no bundle: {refused}")


if __name__ == "__main__":
    main()
