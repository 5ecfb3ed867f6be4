"""What Windows gets: one zip file with what is needed and no more, by publishers that are known, the same bytes."""

from __future__ import annotations

import email
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config.windows.bundle import CACHE, NAME, PACKAGES, ROOT, SEARCH_PATH, compiler
from config.windows.embedded_python import CORE, Python, Refused, downloaded, verified
from exporter import __version__
from tests.lab.make_windows import WINDOWS, made

pytestmark = pytest.mark.windows

TOP: Final = f"{NAME}-{__version__}"


@pytest.fixture(scope="module")
def bundle() -> Path:
    return made()


@pytest.fixture(scope="module")
def files(bundle: Path) -> Mapping[str, bytes]:
    """Everything in the top folder."""
    with zipfile.ZipFile(bundle) as archive:
        return {str(PurePosixPath(name).relative_to(TOP)): archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def installed(files: Mapping[str, bytes]) -> Mapping[str, email.message.Message]:
    """What each package in it says of itself."""
    return {
        canonicalize_name(said["Name"]): said
        for name, data in files.items()
        if name.endswith(".dist-info/METADATA")
        for said in [email.message_from_bytes(data)]
    }


# ---------------------------------------------------------------- the file


def test_it_is_the_same_whenever_wherever_and_by_whom_it_is_made(bundle: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8"}
    argv = [sys.executable, "-c", f"from config.windows.bundle import *; build(Path({str(tmp_path)!r}))"]
    subprocess.run(argv, check=True, cwd=ROOT, env=environment, umask=0o077)
    assert (tmp_path / bundle.name).read_bytes() == bundle.read_bytes()


def test_its_checksum_lies_beside_it(bundle: Path) -> None:
    argv = ["sha256sum", "--check", "--strict", f"{bundle.name}.sha256"]
    assert subprocess.run(argv, check=True, cwd=bundle.parent, capture_output=True).stdout.endswith(b": OK\n")


def test_it_unpacks_into_one_folder_whose_paths_fit_where_260_characters_are_all(bundle: Path) -> None:
    """Below a folder of as many characters as docs/windows.md says."""
    (longest,) = re.findall(r"not longer than (\d+) characters", (ROOT / "docs/windows.md").read_text(encoding="utf-8"))
    names = zipfile.ZipFile(bundle).namelist()
    assert {PurePosixPath(name).parts[0] for name in names} == {TOP}
    assert not [
        name
        for name in names
        if len(name) + len("\\") + int(longest) >= 260 or ".." in PurePosixPath(name).parts or "\\" in name
    ]
    assert len({name.casefold() for name in names}) == len(names)


def test_what_is_not_needed_stays_out(files: Mapping[str, bytes]) -> None:
    """Help, editors, tests, notes of installers, and the library that only the laboratory's Windows lacks."""
    parts = {
        part.casefold()
        for name in files
        if ".dist-info/licenses/" not in name and name.startswith("python/")
        for part in PurePosixPath(name).parts
    }
    assert not parts & {"pip", "setuptools", "pythonwin", "isapi", "adodbapi", "win32com", "pywin32.chm", "demos"}
    assert not parts & {"tests", "test", "bin", ".agents", "record", "direct_url.json", "bcryptprimitives.dll"}
    assert "win32service.pyd" in parts


def test_no_file_names_a_folder_of_the_machine_that_made_it(files: Mapping[str, bytes]) -> None:
    places = {str(ROOT).encode(), str(Path.home()).encode() + b"/", str(CACHE).encode()}
    assert not [name for name, data in files.items() if any(place in data for place in places)]


def test_examples_boards_rules_and_documents_are_in_it(files: Mapping[str, bytes]) -> None:
    wanted = (
        "config/exporter.yaml",
        "config/roles/client.yaml",
        "config/schema/exporter.schema.json",
        "docs/accuracy.md",
        "docs/status-page.png",
    )
    boards = ("dashboards/readiness.json", "dashboards/rules/alerts.yaml", "dashboards/runbooks/README.md", "README.md")
    read = {f"{PACKAGES}/exporter/report/{name}.yaml" for name in ("commands", "reasons")}
    assert not {*wanted, *boards, *read, "FIRST-STEPS.txt"} - files.keys()
    assert all(
        files[name].count(b"\n") == files[name].count(b"\r\n") for name in ("config/exporter.yaml", "FIRST-STEPS.txt")
    )
    assert __version__.encode() in files["FIRST-STEPS.txt"]


# ---------------------------------------------------------------- what is in it


def test_all_that_is_needed_on_windows_is_in_it_and_pinned(installed: Mapping[str, email.message.Message]) -> None:
    """By the markers as they count there; pip decides by those of the system on which it runs."""

    def needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
        requirements = [Requirement(text) for text in installed[name].get_all("Requires-Dist", [])]
        wanted = [
            found
            for found in requirements
            if not found.marker or any(found.marker.evaluate({**WINDOWS, "extra": extra}) for extra in extras or {""})
        ]
        return {name}.union(*(needed(canonicalize_name(found.name), frozenset(found.extras)) for found in wanted))

    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in pins)}
    assert {"colorama", "pywin32", "sspilib"} < installed.keys()
    assert installed.keys() == needed(NAME, frozenset({"", "negotiate"}))
    assert {name: said["Version"] for name, said in installed.items() if name != NAME}.items() <= pinned.items()
    assert installed[NAME]["Version"] == __version__


def test_each_part_brings_its_licence(
    files: Mapping[str, bytes], installed: Mapping[str, email.message.Message]
) -> None:
    parts = {PurePosixPath(name).parts[1] for name in files if name.startswith("LICENSES/")}
    licensed = {canonicalize_name(part.rpartition("-")[0]) for part in parts}
    assert installed.keys() <= licensed
    assert licensed - installed.keys() == {"distlib", "python"}
    for part in (b"Apache License", b"libffi", b"bzip2", b"Microsoft Distributable Code"):
        assert part in files["LICENSES/Python-3.11/LICENSE.txt"], part
    for part in (b"Expat", b"zlib", b"libmpdec", b"SQLite", b"OpenSSL", b"liblzma"):
        assert part in files["LICENSES/Python-3.11/LIBRARIES.txt"], part
    assert all(data.strip() for name, data in files.items() if name.startswith("LICENSES/"))


def test_every_module_is_compiled_from_the_source_beside_it(files: Mapping[str, bytes]) -> None:
    """And is taken without a look at the source's date, which a file gets when it is unpacked (PEP 552)."""
    modules = {name for name in files if name.startswith(PACKAGES) and name.endswith(".py")}
    compiled = {name for name in files if name.endswith(".pyc")}
    expected = {
        f"{PurePosixPath(name).parent}/__pycache__/{PurePosixPath(name).stem}.cpython-311.pyc" for name in modules
    }
    library = zipfile.ZipFile(io.BytesIO(files["python/python311.zip"]))
    assert compiled == expected
    assert {files[name][:8] for name in compiled} == {library.read("os.pyc")[:4] + b"\1\0\0\0"}


def test_modules_are_compiled_by_a_python_of_the_version_that_is_packed(
    genuine: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Python(genuine)
    assert compiler(python) == sys.executable
    monkeypatch.setattr("config.windows.bundle.MAGIC_NUMBER", b"of another version")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=r"python3\.11 is not on the PATH"):
        compiler(python)
    (tmp_path / "python3.11").symlink_to(sys.executable)
    assert compiler(python) == str(tmp_path / "python3.11")


def test_python_looks_for_packages_nowhere_else(files: Mapping[str, bytes]) -> None:
    (path,) = (name for name in files if name.endswith("._pth"))
    assert path == "python/python311._pth"
    lines = files[path].decode().splitlines()
    assert lines == [line.format(minor=11) for line in SEARCH_PATH]
    assert not [line for line in lines if line.startswith("import")]
    folders = [f"python/{line}".replace("\\", "/").replace("/.", "") for line in lines]
    assert not [folder for folder in folders if not any(name.startswith(folder) for name in files)]


# ---------------------------------------------------------------- by whom


@pytest.fixture(scope="module")
def genuine() -> Mapping[str, bytes]:
    """The files of the pinned Python."""
    with zipfile.ZipFile(downloaded(CACHE)) as archive:
        return {PurePosixPath(name).name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    """As python.org publishes it: no folder in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def flipped(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def unsigned(data: bytes) -> bytes:
    """A program whose table of certificates is said to be empty: that place is counted by no signature."""
    header = int.from_bytes(data[0x3C:0x40], "little")
    entry = header + 24 + 112 + 4 * 8
    return data[:entry] + bytes(8) + data[entry + 8 :]


def test_a_python_from_python_org_may_be_given(genuine: Mapping[str, bytes], tmp_path: Path) -> None:
    python = verified(zipped(tmp_path / "given.zip", genuine))
    assert python.version == "3.11"
    assert python.files.keys() == genuine.keys() - {"python311._pth"}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("python.exe", flipped, "python.exe: its signature does not verify"),
        ("python311.dll", flipped, "python311.dll: its signature does not verify"),
        ("_ssl.pyd", flipped, "_ssl.pyd: its signature does not verify"),
        ("vcruntime140.dll", flipped, "vcruntime140.dll: its signature does not verify"),
        ("python.cat", flipped, "python.cat: "),
        ("python.exe", unsigned, "python.exe: carries no signature"),
        ("libssl-3.dll", unsigned, "libssl-3.dll: carries no signature"),
        (
            "python311.zip",
            flipped,
            "python311.zip: the standard library carries no signature, and this one is not known",
        ),
        ("sitecustomize.py", lambda _: b"import os", "sitecustomize.py: carries no signature and does not belong"),
        ("python311.dll", None, "not the Windows embeddable package"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(
    genuine: Mapping[str, bytes], tmp_path: Path, name: str, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    changed = {**genuine, name: change(genuine.get(name, b""))} if change else {**genuine, name: b""}
    if change is None:
        del changed[name]
    with pytest.raises(Refused) as refused:
        verified(zipped(tmp_path / "changed.zip", changed))
    assert said in str(refused.value)


def test_a_program_of_another_publisher_is_refused(genuine: Mapping[str, bytes], tmp_path: Path) -> None:
    of_microsoft = {**genuine, "python.exe": genuine["vcruntime140.dll"]}
    with pytest.raises(Refused, match=r"python\.exe: signed by .*Microsoft.*, not by Python Software Foundation"):
        verified(zipped(tmp_path / "other.zip", of_microsoft))


def test_a_python_that_is_not_known_here_needs_the_checksum_that_its_publisher_states(
    genuine: Mapping[str, bytes], tmp_path: Path
) -> None:
    library = io.BytesIO(genuine["python311.zip"])
    with zipfile.ZipFile(library, "a") as archive:
        archive.comment = b"another"
    path = zipped(tmp_path / "later.zip", {**genuine, "python311.zip": library.getvalue()})
    stated = sha256(path.read_bytes()).hexdigest()
    assert sum(map(bool, map(CORE.fullmatch, verified(path, stated.upper()).files))) == 1
    with pytest.raises(Refused, match="PYTHON_SHA256="):
        verified(path)
    with pytest.raises(Refused, match=rf"its SHA-256 is {stated}, and {'0' * 64} was expected"):
        verified(path, "0" * 64)


def test_a_refusal_is_told_in_words(genuine: Mapping[str, bytes], tmp_path: Path) -> None:
    given = zipped(tmp_path / "changed.zip", {**genuine, "python.exe": flipped(genuine["python.exe"])})
    argv = [sys.executable, "-m", "config.windows.bundle", "--python-zip", str(given), str(tmp_path / "dist")]
    done = subprocess.run(argv, check=False, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert done.stderr.startswith(f"no bundle: {given}: python.exe: its signature does not verify")
    assert not (tmp_path / "dist").exists()


def test_what_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python.zip").write_bytes(b"MZ")
    for path in (tmp_path / "python.zip", tmp_path / "missing.zip"):
        with pytest.raises(Refused, match="not a zip file that can be read"):
            verified(path)
