"""Make the bundle for Windows: the source and CPython's embeddable zip file -> one zip file that needs no network.

It asks pip's and uv's index for packages, and runs on Linux; nothing in it is ever run here. The same source, pins and
Python give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import MAGIC_NUMBER
from pathlib import Path, PurePosixPath
from typing import Final

from config.windows.embedded_python import Python, Refused, downloaded, verified

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
CACHE: Final = ROOT / ".venv" / "windows"
NAME: Final = "configmgr-endpoint-exporter"
PACKAGES: Final = "python/Lib/site-packages"
# With the extra `negotiate`: NTLM and Kerberos by Windows itself, with the account that the exporter runs as.
LOCKED: Final = ROOT / "locked" / "negotiate.txt"

# The file of this name isolates Python from every other one: neither PYTHONPATH nor the registry counts. Folders are
# relative to it. Without `import site`, the packages of a user (%APPDATA%\Python) do not count either, which would come
# before these; so what pywin32's .pth file asks for stands here.
SEARCH_PATH: Final = (
    "python3{minor}.zip",
    ".",
    "Lib\\site-packages",
    "Lib\\site-packages\\win32",
    "Lib\\site-packages\\win32\\lib",
)
# Where Windows looks for libraries of a program: beside it.
BESIDE_PYTHON: Final = re.compile(r"pywin32_system32/(pywintypes\d+\.dll)")

# Not needed to run: pywin32's help, editor, COM, IIS and database parts, and tests of packages. `bin` has launchers for
# the system that made the bundle; the other names are installers' notes of what they did.
LEFT_OUT: Final = re.compile(
    r"(PyWin32\.chm|pythonwin|isapi|adodbapi|win32com|win32comext|pythoncom\.py|bin|Scripts)(/|$)"
    r"|win32/(Demos|include|libs|scripts|test)/"
    r"|pywin32_system32/pythoncom\d+\.dll$"
    r"|[^/]+/tests/"
    r"|(.+/)?(__pycache__|\.agents)/"
    r"|[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json)$"
    r"|\.lock$"
)
LICENCE: Final = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*", re.IGNORECASE)

# What of the source an administrator can use.
ALSO: Final = (
    "CHANGELOG.md",
    "README.md",
    "SECURITY.md",
    "config/exporter.yaml",
    "config/roles/*.yaml",
    "config/schema/*.json",
    "dashboards/*.json",
    "dashboards/*.md",
    "dashboards/alertmanager/*",
    "dashboards/prometheus/**/*",
    "dashboards/provisioning/**/*",
    "dashboards/rules/*",
    "dashboards/runbooks/*",
    "docs/*.md",
    "docs/*.png",
)
FIRST: Final = "FIRST-STEPS.txt"
# Notepad of Windows Server 2016 shows a file without carriage returns as one line.
EDITED: Final = re.compile(r"config/.*\.yaml|" + re.escape(FIRST))

COMPILE: Final = """
import py_compile, sys
for line in sys.stdin:
    where, name = line.rstrip("\\n").split("\\t")
    try:
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(where, dfile=name, doraise=True, invalidation_mode=unchecked)
    except py_compile.PyCompileError as error:
        sys.exit(str(error))
"""

COMMAND: Final = """\
import re
import sys

from exporter.__main__ import main

sys.argv[0] = re.sub(r"(?i)\\.exe$", "", sys.argv[0])
sys.exit(main())
"""


def build(directory: Path, *, python_zip: Path | None = None, checksum: str | None = None, cache: Path = CACHE) -> Path:
    """Write the bundle and its checksum beside it into the directory; gives the bundle's path.

    Without `python_zip`, Python is downloaded once and kept in `cache`. `checksum` is that of `python_zip`, as its
    publisher states it. Raises `Refused` for what must not be packed.
    """
    python = verified(python_zip or downloaded(cache), checksum)
    with tempfile.TemporaryDirectory() as folder:
        files = dict(_contents(python, Path(folder)))
    version = _version(files)
    bundle = directory / f"{NAME}-{version}-windows-amd64.zip"
    directory.mkdir(parents=True, exist_ok=True)
    _write(bundle, f"{NAME}-{version}", files)
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    bundle.with_name(f"{bundle.name}.sha256").write_text(f"{digest}  {bundle.name}\n", encoding="ascii", newline="\n")
    return bundle


def _contents(python: Python, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the bundle by its place in the top folder."""
    minor = python.version.partition(".")[2]
    for name, data in python.files.items():
        yield f"python/{name}", data
    yield f"python/python3{minor}._pth", "".join(f"{line}\r\n" for line in SEARCH_PATH).format(minor=minor).encode()
    packages = folder / "packages"
    _install(python, packages, _wheel(folder / "wheel"))
    sources = dict(_kept(packages))
    for name, data in sources.items():
        beside = BESIDE_PYTHON.fullmatch(name)
        yield (f"python/{beside[1]}" if beside else f"{PACKAGES}/{name}"), data
    yield from ((f"{PACKAGES}/{name}", data) for name, data in _compiled(python, sources, folder / "compiled"))
    yield f"{NAME}.exe", _launcher()
    yield from _also(_version(sources))
    yield from _licences(python, sources)


def _wheel(folder: Path) -> Path:
    """The exporter's own wheel, as `make wheel` builds it."""
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    _run(argv, "hatchling could not build the wheel")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _install(python: Python, target: Path, wheel: Path) -> None:
    """Unpack what the exporter needs on Windows, each file by its hash in LOCKED, and then the wheel."""
    argv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config", "--target", str(target)]
    argv += ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", python.version]
    argv += ["--python", sys.executable, "--only-binary", ":all:", "--link-mode", "copy"]
    _run([*argv, "--require-hashes", "--requirement", str(LOCKED)], "uv could not install what the exporter needs")
    _run([*argv, "--no-deps", str(wheel)], "uv could not install the exporter")


def _run(argv: list[str], failed: str, **environment: str) -> None:
    done = subprocess.run(argv, check=False, cwd=ROOT, env=os.environ | environment, capture_output=True)
    if done.returncode:
        raise Refused(f"{failed}:\n{done.stderr.decode('utf-8', 'replace')}")


def _kept(packages: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(packages.rglob("*")):
        name = file.relative_to(packages).as_posix()
        if file.is_file() and not LEFT_OUT.match(name):
            yield name, file.read_bytes()


def _compiled(python: Python, sources: Mapping[str, bytes], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each module as bytecode that Python takes without a look at its source's date, which unpacking changes.

    Where the exporter may not write, Python could never keep its own. The format is the same on every system, and the
    same version of Python makes the same bytes.
    """
    modules = sorted(name for name in sources if name.endswith(".py"))
    for name in modules:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sources[name])
    lines = "".join(f"{folder / name}\t{name}\n" for name in modules)
    argv = [compiler(python), "-W", "ignore", "-c", COMPILE]
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": ""}
    given = os.environ | environment
    done = subprocess.run(argv, check=False, env=given, input=lines, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise Refused(f"a module could not be compiled: {done.stderr}")
    for file in sorted(folder.rglob("*.pyc")):
        yield file.relative_to(folder).as_posix(), file.read_bytes()


def compiler(python: Python) -> str:
    """A Python here that writes the same bytecode as the one that is packed; raises `Refused` where there is none."""
    if python.magic == MAGIC_NUMBER:
        return sys.executable
    other = shutil.which(f"python{python.version}")
    ask = "import importlib.util, sys; sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER)"
    if other and subprocess.run([other, "-c", ask], check=False, capture_output=True).stdout == python.magic:
        return other
    raise Refused(
        f"python{python.version} is not on the PATH, which compiles what is packed for Python {python.version}"
    )


def _launcher() -> bytes:
    """The command as a program: distlib's launcher, which Python to start, and what to run, in a row.

    `<launcher_dir>` is what the launcher puts its own folder for, so the bundle works wherever it lies.
    """
    (launcher,) = (file for file in importlib.metadata.files("distlib") or () if file.name == "t64.exe")
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_entry("__main__.py"), COMMAND)
        file.seek(0)
        return launcher.read_binary() + b"#!<launcher_dir>\\python\\python.exe\r\n" + file.read()


def _also(version: str) -> Iterator[tuple[str, bytes]]:
    for pattern in ALSO:
        for file in sorted(ROOT.glob(pattern)):
            if file.is_file():
                yield (name := file.relative_to(ROOT).as_posix()), _lines(name, file.read_bytes())
    first = (HERE / FIRST).read_text(encoding="utf-8").replace("VERSION", version)
    yield FIRST, _lines(FIRST, first.encode())


def _lines(name: str, data: bytes) -> bytes:
    """With the ends of lines that Windows has, where people edit it."""
    return data.replace(b"\n", b"\r\n") if EDITED.fullmatch(name) else data


def _licences(python: Python, packages: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The licence of each part, in a folder for each; raises `Refused` for a package of which there is none."""
    yield f"LICENSES/Python-{python.version}/LICENSE.txt", python.files["LICENSE.txt"]
    yield f"LICENSES/Python-{python.version}/LIBRARIES.txt", (HERE / "licences/Python/LIBRARIES.txt").read_bytes()
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    for folder in sorted({name.partition("/")[0] for name in packages if ".dist-info/" in name}):
        part = folder.removesuffix(".dist-info")
        found = [name for name in packages if name.startswith(f"{folder}/") and LICENCE.match(PurePosixPath(name).name)]
        given = sorted((HERE / "licences" / part.rpartition("-")[0]).glob("*"))  # where a package forgets its own
        if not found and not given:
            raise Refused(f"{part}: brings no licence")
        for text in given:
            yield f"LICENSES/{part}/{text.name}", text.read_bytes()
        for name in found:
            yield f"LICENSES/{part}/{name.removeprefix(f'{folder}/').removeprefix('licenses/')}", packages[name]
    distlib = importlib.metadata.distribution("distlib")
    for file in distlib.files or ():
        if ".dist-info" in file.parts[0] and LICENCE.match(file.name):
            yield f"LICENSES/distlib-{distlib.version}/{file.name}", file.read_binary()


def _version(files: Mapping[str, bytes]) -> str:
    own = re.compile(rf"(?:{PACKAGES}/)?{NAME.replace('-', '_')}-(.+)\.dist-info/METADATA")
    (version,) = {match[1] for name in files if (match := own.fullmatch(name))}
    return version


def _write(bundle: Path, top: str, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(_entry(f"{top}/{name}"), data)


def _entry(name: str) -> zipfile.ZipInfo:
    """A member that looks the same wherever and whenever it is made; its time is SOURCE_DATE_EPOCH, as of wheels."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", "1580601600"))  # hatchling's
    entry = zipfile.ZipInfo(name, time.gmtime(moment)[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # so that the next line counts, whatever made it
    entry.external_attr = 0o100644 << 16
    return entry


def main() -> None:
    """Make it from the command line."""
    parser = argparse.ArgumentParser(description="Make the bundle for Windows.")
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT / "dist")
    parser.add_argument("--python-zip", type=Path, help="the embeddable package of python.org (default: download it)")
    parser.add_argument("--python-sha256", help="its checksum, as python.org states it")
    given = parser.parse_args()
    try:
        print(build(given.directory, python_zip=given.python_zip, checksum=given.python_sha256))
    except Refused as refused:
        sys.exit(f"no bundle: {refused}")


if __name__ == "__main__":
    main()
