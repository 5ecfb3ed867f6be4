"""What is shipped: the same bytes from the same source, all that belongs in it, and a bill of what it is made of."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from exporter import __version__
from exporter.model.vocabulary import Reason

ROOT: Final = Path(__file__).parents[1]
NAME: Final = "configmgr-endpoint-exporter"
PARTS: Final = ("exporter", "config", "dashboards", "docs", "pyproject.toml", "README.md", "LICENSE", ".gitignore")


def ran(*command: str | Path, **options: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command, env=environment | options, cwd=ROOT.anchor, capture_output=True, check=True, encoding="utf-8"
    ).stdout


def built(folder: Path, *, umask: int, age: int) -> tuple[Path, Path]:
    """Wheel and source distribution of a copy of the source, as somebody else has it and at another time."""
    for part in PARTS:
        source, copy = ROOT / part, folder / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
        os.utime(path, (age, age))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", "made"],
        cwd=folder,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        umask=umask if os.name == "posix" else -1,
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "made").glob("*.whl")
    (source,) = (folder / "made").glob("*.tar.gz")
    return wheel, source


@pytest.fixture(scope="module")
def wheel_and_source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return built(tmp_path_factory.mktemp("one") / "a", umask=0o022, age=1_600_000_000)


@pytest.fixture(scope="module")
def wheel(wheel_and_source: tuple[Path, Path]) -> Path:
    return wheel_and_source[0]


def test_the_same_source_gives_the_same_bytes(wheel_and_source: tuple[Path, Path], tmp_path: Path) -> None:
    others = built(tmp_path / "another" / "place", umask=0o077, age=1_500_000_000)
    assert [file.name for file in others] == [file.name for file in wheel_and_source]
    assert [file.read_bytes() for file in others] == [file.read_bytes() for file in wheel_and_source]


def test_the_wheel_holds_all_that_the_program_reads_and_its_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        "data/catalogue": ROOT / "config" / "catalogue",
        "data/schema": ROOT / "config" / "schema",
        "data/runbooks": ROOT / "dashboards" / "runbooks",
        ".": ROOT / "exporter",
    }
    expected = {
        (Path("exporter") / place / file.relative_to(folder)).as_posix()
        for place, folder in shipped.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    beside = {name for name in names - expected if not name.startswith(f"{NAME.replace('-', '_')}-")}
    assert "exporter/py.typed" in expected
    assert names >= expected
    assert beside == set()
    assert f"{NAME.replace('-', '_')}-{__version__}.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_holds_nothing_but_the_source(wheel_and_source: tuple[Path, Path]) -> None:
    with tarfile.open(wheel_and_source[1]) as archive:
        top = {Path(name).parts[1] for name in archive.getnames()}
    assert top == {*PARTS, "PKG-INFO"}


# ---------------------------------------------------------------- installed


def needed(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """What a distribution needs to run here, itself first."""
    found = distribution(name)
    yield found
    for text in found.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield from needed(requirement.name, frozenset(requirement.extras))


RUNTIME: Final = {canonicalize_name(found.name): found for found in needed(NAME)}
PINNED: Final = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
)


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it needs, as pip would leave it, without a download."""
    folder = tmp_path_factory.mktemp("clean")
    ran(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ran(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel)
    packages = Path(ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name, found in RUNTIME.items():
        if name != NAME:
            for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
                link(Path(str(found.locate_file(top))), packages / top)
    return python


def linked(existing: str, name: str) -> None:
    try:
        os.link(existing, name)
    except OSError:  # another file system
        shutil.copy(existing, name)


def link(existing: Path, name: Path) -> None:
    if existing.is_dir():
        shutil.copytree(existing, name, symlinks=True, copy_function=linked, dirs_exist_ok=True)
    elif not name.exists():
        shutil.copy(existing, name)


def test_an_installed_wheel_runs_without_the_source(clean: Path) -> None:
    where = ran(clean, "-c", "import exporter; print(exporter.__file__)")
    listed = json.loads(ran(clean.with_name(NAME), "endpoints", "--format", "json"))
    words = "from exporter.report import commands, reasons; print(len(reasons.all_words().reasons), len(commands.{}))"
    read = ran(clean, "-c", words.format("all_commands().reasons"))
    assert str(ROOT) not in where
    assert read.split() == [str(len(Reason))] * 2
    assert ran(clean, "-m", "exporter", "--version").strip() == __version__
    assert len(listed) > 100


def test_the_bill_of_materials_names_all_that_runs_and_nothing_else(clean: Path) -> None:
    bill = ran(sys.executable, "-m", "cyclonedx_py", "environment", "--validate", "--output-reproducible", clean)
    components = {canonicalize_name(found["name"]): found["version"] for found in json.loads(bill)["components"]}
    pinned = {canonicalize_name(name): version for name, version in PINNED.items()}
    assert components == {name: __version__ if name == NAME else pinned[name] for name in RUNTIME}


def test_what_runs_is_pinned() -> None:
    assert {canonicalize_name(name) for name in PINNED} >= RUNTIME.keys() - {NAME}


def test_an_audit_that_gets_no_answer_is_no_pass() -> None:
    (audit,) = re.findall(r"^\t.*pip-audit --.*$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"--strict", "--requirement", "constraints.txt"} < set(audit.split())


# ---------------------------------------------------------------- by hashes

LOCKED: Final = sorted((ROOT / "locked").glob("*.txt"))
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[NormalizedName, tuple[str, list[str]]]:
    """The version of each package in a file of hashes, and the hashes."""
    text = (ROOT / "locked" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in filter(None, text.splitlines()):
        requirement, *hashes = line.split("--hash=")
        package, version = requirement.partition(";")[0].strip().split("==")
        found[canonicalize_name(package)] = (version, [each.strip() for each in hashes])
    return found


@pytest.mark.parametrize("name", [path.stem for path in LOCKED])
def test_what_is_installed_has_the_version_that_is_pinned_and_hashes(name: str) -> None:
    pinned = {canonicalize_name(package): version for package, version in PINNED.items()}
    found = locked(name)
    assert found
    assert {package: version for package, (version, _) in found.items()} == {
        package: pinned[package] for package in found
    }
    assert all(
        hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes) for _, hashes in found.values()
    )


def test_everything_that_runs_and_builds_has_a_hash() -> None:
    build = {canonicalize_name(found.name) for found in needed("hatchling")}
    assert [path.stem for path in LOCKED] == ["build", "negotiate", "run"]
    assert locked("run").keys() >= RUNTIME.keys() - {NAME}
    assert locked("negotiate").keys() >= locked("run").keys() | {"pyspnego", "gssapi", "krb5", "sspilib", "pywin32"}
    assert locked("build").keys() == build


def test_whoever_builds_it_does_so_by_the_versions_that_are_pinned() -> None:
    assert dict(line.split("==") for line in PROJECT["build-system"]["requires"]) == {
        package: version for package, (version, _) in locked("build").items()
    }


def test_nothing_without_a_known_hash_comes_into_the_image_or_the_bundle() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    bundle = (ROOT / "config" / "windows" / "bundle.py").read_text(encoding="utf-8")
    from_the_index = [each for each in re.findall(r"pip install ([^&\n]*)", image) if "--no-index" not in each]
    assert len(from_the_index) == 2
    assert all("--require-hashes" in options for options in from_the_index)
    assert re.findall(r"_run\(\[\*argv, \"(--[a-z-]+)", bundle) == ["--require-hashes", "--no-deps"]


def test_a_file_with_another_hash_is_not_installed(wheel: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.txt"
    wanted.write_text(f"{NAME}=={__version__} --hash=sha256:{'0' * 64}\n")
    argv = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-index", "--no-deps"]
    argv += ["--target", str(tmp_path)]
    done = subprocess.run(
        [*argv, "--find-links", str(wheel.parent), "--requirement", str(wanted)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
