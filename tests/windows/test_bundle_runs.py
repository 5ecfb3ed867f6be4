"""The quick start under wine: the bundle, unpacked on a Windows that has no Python, and pip on one that has.

Nothing is on its PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import pexpect
import pip
import pytest

from config.windows.bundle import NAME, ROOT
from exporter import __version__
from tests.lab.make_windows import PREFIX, PROGRAM, WHEELS, made

pytestmark = pytest.mark.windows

PROGRAM_NAME: Final = f"{NAME}.exe"
WINE: Final = Path("/usr/lib/wine")

# Run by the bundle's Python: what follows is started by Windows' own means, several times in one Windows.
ASK: Final = """
import json, os, subprocess, sys
command, calls = json.load(sys.stdin)
environment = {name: os.environ[name] for name in ("SystemRoot", "TEMP", "ProgramData")} | {
    "PATH": "", "PYTHONPATH": sys.argv[1], "PYTHONHOME": sys.argv[1], "PYTHONDONTWRITEBYTECODE": "",
    "APPDATA": sys.argv[1], "PYTHONUSERBASE": sys.argv[1] + r"\\Python",
}
answers = []
for folder, *arguments in calls:
    options = {"cwd": folder, "env": environment, "capture_output": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run([command, *arguments], **options)
    answers.append([done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")])
json.dump(answers, sys.stdout)
"""

# The quick start in two commands, by its first words. PowerShell is not here, nor is py, which finds a Python: what
# they name is done by other means.
QUICK_START: Final = {
    first.split()[0]: (first, second)
    for first, second in re.findall(
        r"^```powershell\n(.*)\n(.*)\n```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
}

# What lies beside a Python, and not in its folder of libraries; one of them is what wine lacks.
BESIDE: Final = re.compile(r"(python|vcruntime|bcryptprimitives).*\.dll")

# Nothing but this machine is asked.
OWN: Final = """\
site: {features: [own]}
groups:
  - feature: own
    title: Own
    docs: https://portal.corp.example/help
    status: active
    endpoints: [{pattern: "http://127.0.0.1:9/"}]
"""


def linked(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError:  # another file system
        shutil.copy(source, copy)


def windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """An environment for programs of Windows, in a Windows of their own."""
    made()
    prefix = tmp_path_factory.mktemp("windows") / "prefix"
    shutil.copytree(PREFIX, prefix, symlinks=True, copy_function=linked)
    for registry in prefix.glob("*.reg"):  # which is written, while the rest is replaced
        content = registry.read_bytes()
        registry.unlink()
        registry.write_bytes(content)
    environment = os.environ | {"WINEPREFIX": str(prefix), "WINEARCH": "win64", "WINEDEBUG": "-all", "DISPLAY": ""}
    yield environment
    subprocess.run([WINE / "wineserver64", "-k", "-w"], check=False, env=environment)


@pytest.fixture(scope="module")
def unpacked(wine: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody unpacked it by the first command: the folder has a blank and an umlaut."""
    assert wine
    _, name, into = QUICK_START["Expand-Archive"][0].split()
    folder = tmp_path_factory.mktemp("unpacked") / "Prüfung und Pläne"
    with zipfile.ZipFile(made().with_name(name)) as archive:
        archive.extractall(folder / into)
    (top,) = folder.iterdir()
    shutil.copy(PROGRAM / "python" / "bcryptprimitives.dll", top / "python")
    return top


@pytest.fixture(scope="module")
def python(wine: Mapping[str, str]) -> Path:
    """A Python with pip, in the folders in which the installer of python.org puts it."""
    folder = Path(wine["WINEPREFIX"], "drive_c", "Python311")
    (folder / "DLLs").mkdir(parents=True)
    for file in (PROGRAM / "python").glob("*.*"):
        if file.suffix in {".exe", ".zip"} or BESIDE.match(file.name):
            linked(str(file), str(folder / file.name))
        elif file.suffix in {".dll", ".pyd"}:
            linked(str(file), str(folder / "DLLs" / file.name))
    ours = Path(pip.__file__).parent  # the same for every system
    shutil.copytree(ours, folder / "Lib" / "site-packages" / ours.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "python.exe"


@pytest.fixture(scope="module")
def installed(wine: Mapping[str, str], python: Path) -> Path:
    """A Python for which pip has installed the exporter, by the first command, in a clone. It reaches no index."""
    _, *arguments = QUICK_START["py"][0].split()
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": windows_path(WHEELS), "PIP_NO_COMPILE": "1"}
    argv = [WINE / "wine64", python, *arguments]
    done = subprocess.run(
        argv, check=False, cwd=ROOT, env={**wine, **offline}, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python


@pytest.fixture(scope="module")
def answers(wine: Mapping[str, str], unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Status, output and messages of a few commands, each from another folder than its own."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for others in (elsewhere, elsewhere / "Python" / "Python311" / "site-packages"):  # and what a user has installed
        (others / "exporter").mkdir(parents=True)
        (others / "exporter" / "__init__.py").write_text("raise SystemExit('another exporter')\n")
    (elsewhere / "bad.yaml").write_text("site: {roles: [clinet]}\n", encoding="utf-8")
    folder = windows_path(elsewhere)
    calls = {
        "version": [folder, "--version"],
        "example": [windows_path(unpacked), "validate", "--config.file", r"config\exporter.yaml"],
        "mistake": [folder, "validate", "--config.file", "bad.yaml"],
        "endpoints": [folder, "endpoints", "--format", "json"],
        "help": [folder, "service", "--help"],
    }
    (elsewhere / "ask.py").write_text(ASK, encoding="utf-8")
    done = subprocess.run(
        [WINE / "wine64", unpacked / "python" / "python.exe", windows_path(elsewhere / "ask.py"), folder],
        check=True,
        env=wine,
        input=json.dumps([windows_path(unpacked / PROGRAM_NAME), list(calls.values())]),
        capture_output=True,
        encoding="utf-8",
    )
    return dict(zip(calls, json.loads(done.stdout), strict=True))


def test_the_command_runs_from_any_folder_without_path_and_beside_other_pythons(answers: Mapping[str, Any]) -> None:
    assert answers["version"] == [0, f"{__version__}\r\n", ""]
    assert answers["help"][0] == 0
    assert "configmgr-endpoint-exporter service" in answers["help"][1]


def test_its_example_is_valid(answers: Mapping[str, Any]) -> None:
    assert answers["example"][0] == 0, answers["example"]


def test_its_status_is_that_of_the_command(answers: Mapping[str, Any]) -> None:
    status, _, said = answers["mistake"]
    assert status == 2
    assert "bad.yaml:1: site.roles[0]" in said
    assert "client" in said


def test_it_lists_what_is_documented(answers: Mapping[str, Any]) -> None:
    status, listed, _ = answers["endpoints"]
    assert status == 0
    assert len(json.loads(listed)) > 100


@pytest.mark.parametrize("by", ["Expand-Archive", "py"])
def test_what_the_quick_start_brings_serves_until_ctrl_c_in_its_console_ends_it_in_order(
    wine: Mapping[str, str], request: pytest.FixtureRequest, tmp_path: Path, by: str
) -> None:
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    program, *arguments = QUICK_START[by][1].split()
    own = ["--config.file", windows_path(tmp_path / "own.yaml"), "--web.listen-address", "127.0.0.1:0"]
    if program == "py":
        start = request.getfixturevalue("installed")
    else:
        start = request.getfixturevalue("unpacked").parent / f"{PureWindowsPath(program).as_posix()}.exe"
    argv = [str(start), *arguments, *own]
    console = pexpect.spawn(
        str(WINE / "wine64"), argv, cwd=str(tmp_path), env=dict(wine), encoding="utf-8", timeout=300
    )
    try:
        console.expect("msg=listening")
        console.expect("target is down")
        console.send("\x03")
        console.expect(pexpect.EOF)
    finally:
        console.close(force=True)
    assert console.exitstatus == 0
    assert "Traceback" not in (console.before or "")


def test_pip_makes_a_command_of_it(installed: Path) -> None:
    assert (installed.parent / "Scripts" / PROGRAM_NAME).is_file()


def test_it_leaves_its_own_folder_as_it_was(answers: Mapping[str, Any], unpacked: Path) -> None:
    """So it runs as well where it may not write, as below `Program Files`."""
    assert answers
    with zipfile.ZipFile(made()) as archive:
        packed = {name.partition("/")[2] for name in archive.namelist()}
    there = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    assert there - {"python/bcryptprimitives.dll"} == packed
