"""`make image`: build the container image, run it as confined as it is meant to run, and print what is true of it.

No registry of images is asked: unless `--base` names one, the base is a Debian of this machine's own release, made by
debootstrap. Nothing leaves the container, which has a network of its own with a loopback and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.running import ROOT, eventually

IMAGE: Final = "localhost/configmgr-endpoint-exporter"
OWN_BASE: Final = "localhost/configmgr-debian"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
LARGEST: Final = 80  # MB that we add to the base
IN_TIME: Final = 5.0  # seconds to end in; docker waits for 10 before it kills
UNWANTED: Final = re.compile(r"/bin/(pip3?|gcc)$|-packages/(pip|setuptools|pkg_resources|wheel|tests)$")
CONFINED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# Root of a sandbox may not raise its limits, as podman does unless it is told the numbers.
LIMITS: Final = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


@dataclass(frozen=True)
class Fact:
    """Something that is asked of the image, what was found, and whether that is as it should be."""

    asked: str
    found: str
    good: bool


def podman(*arguments: str | Path, check: bool = True) -> str:
    """What podman prints. It needs no systemd so, and runc knows every arrangement of control groups."""
    return printed("podman", "--runtime=runc", "--cgroup-manager=cgroupfs", *arguments, check=check)


def printed(*argv: str | Path, check: bool = True) -> str:
    """What a program prints."""
    environment = os.environ | {"DISABLE_HC_SYSTEMD": "true"}
    done = subprocess.run(argv, check=check, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def inspected(kind: str, name: str) -> dict[str, Any]:
    """What podman knows of an image or a container."""
    found: list[dict[str, Any]] = json.loads(podman(kind, "inspect", name))
    return found[0]


# ---------------------------------------------------------------- building


def own_base() -> str:
    """An image of Debian with Python, made where there is none yet."""
    codename = re.findall(r"(?m)^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(encoding="utf-8"))[0]
    name = f"{OWN_BASE}:{codename}"
    if podman("images", "--quiet", name):
        return name
    sources = printed("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    mirror = re.findall(rf"(?m)^{codename} (\S+)$", sources)[0]
    with tempfile.TemporaryDirectory() as directory:
        root, archive = Path(directory) / "root", Path(directory) / "base.tar"
        printed("debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename, root, mirror)
        left = ["var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale"]
        without = [f"--exclude=./{path}/*" for path in left]
        printed("tar", "-C", root, "-cf", archive, *without, ".")
        podman("import", archive, name)
    return name


def build(base: str) -> None:
    """Build as `docker build` does; pip asks the index and trusts the roots that it does on this machine."""
    settings = printed(sys.executable, "-m", "pip", "config", "list")
    asked = re.findall(r"(?m)^(?:global|install|:env:)\.(index-url|proxy)='(.+)'$", settings)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as secret:
        secret.write("".join(f"{key} = {value}\n" for key, value in [("[global]\ncert", ROOTS), *asked]))
        secret.flush()
        podman(
            *("build", "--quiet", "--format=docker", "--network=host", *LIMITS),
            *(f"--secret=id=pip,src={secret.name}", f"--volume={ROOTS}:{ROOTS}:ro"),
            *(f"--build-arg=BASE={base}", f"--tag={IMAGE}", "."),
        )


# ---------------------------------------------------------------- what it holds


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The files of an image."""
    try:
        yield Path(podman("image", "mount", image))
    finally:
        podman("image", "unmount", image)


def contents(base: str) -> Iterator[Fact]:
    """How large the image is, what of, and what it lacks."""
    of_base, whole = (inspected("image", name)["Size"] / 1e6 for name in (base, IMAGE))
    ours = whole - of_base
    yield Fact("size", f"{whole:.0f} MB: base {of_base:.0f}, exporter {ours:.0f}", 0 < ours < LARGEST)
    with mounted(IMAGE) as root:
        yield from files(root)


def files(root: Path) -> Iterator[Fact]:
    """What stands in the file system of the image."""
    venv = root / "opt/exporter"
    (data,) = venv.glob("lib/*/site-packages/exporter/data")
    paths = list(venv.rglob("*"))
    own = [path for path in paths if path.is_file() and not path.is_symlink()]
    parts: Counter[str] = Counter()
    for path in own:
        part = re.search(r"/site-packages/([^/]+)", str(path))
        parts[part[1] if part else "bin"] += path.stat().st_size
    largest = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in parts.most_common(5))
    compiled = sum(path.stat().st_size for path in own if path.suffix == ".pyc") / 1e6
    yield Fact("its largest parts, MB", f"{largest}; compiled Python {compiled:.0f} of all", good=True)
    everywhere = (str(path.relative_to(root)) for at in ("opt", "usr") for path in (root / at).rglob("*"))
    unwanted = sorted(filter(UNWANTED.search, everywhere))
    yield Fact("tools to install and to build with", ", ".join(unwanted) or "none", not unwanted)
    shipped = [
        sorted(path.relative_to(at) for path in at.rglob("*.*") if path.is_file())
        for at in (data / "catalogue", ROOT / "config/catalogue", data / "runbooks", ROOT / "dashboards/runbooks")
    ]
    catalogue, _, runbooks, _ = map(len, shipped)
    yield Fact("data in it", f"{catalogue} files of the catalogue, {runbooks} runbooks", shipped[::2] == shipped[1::2])
    open_to_all = [path for path in own if path.stat().st_uid or path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]
    yield Fact("files in it that its user could change", str(len(open_to_all)), not open_to_all)
    roots = (root / ROOTS.lstrip("/")).read_text(encoding="utf-8").count("BEGIN CERTIFICATE")
    yield Fact("roots that it trusts", str(roots), roots > 100)


# ---------------------------------------------------------------- how it runs


@contextmanager
def container(*options: str) -> Iterator[str]:
    """A container, until the block ends; without a network."""
    name = podman("run", "--detach", "--network=none", *LIMITS, *options)
    try:
        yield name
    finally:
        podman("rm", "--force", "--time=0", name)


def ask(pid: int, path: str) -> str:
    """What the exporter answers, asked by curl in the container's network. Empty while it does not."""
    curl = ("curl", "--silent", "--fail", "--max-time", "5", f"http://127.0.0.1:10965{path}")
    return printed("nsenter", f"--net=/proc/{pid}/ns/net", *curl, check=False)


def confinement(pid: int) -> Iterator[Fact]:
    """What the kernel says of the process."""
    proc = Path(f"/proc/{pid}")
    status = dict(re.findall(r"(?m)^(\w+):\s*(.+)$", (proc / "status").read_text()))
    (options,) = re.findall(r"(?m)^\S+ \S+ \S+ \S+ / (\S+)", (proc / "mountinfo").read_text())
    ids = {*status["Uid"].split(), *status["Gid"].split()}
    yield Fact("user and group", ", ".join(sorted(ids)), ids == {"65534"})
    yield Fact("root filesystem", options, options.split(",")[0] == "ro")
    able = {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    yield Fact("capabilities, of all five sets", ", ".join(able), able == {"0" * 16})
    yield Fact("no new privileges", status["NoNewPrivs"], status["NoNewPrivs"] == "1")
    yield Fact("system calls filtered", status["Seccomp"], status["Seccomp"] == "2")
    yield Fact("resident memory", f"{int(status['VmRSS'].split()[0]) / 1e3:.0f} MB", good=True)


def behaviour() -> Iterator[Fact]:
    """Start, ask, look, end."""
    begun = time.monotonic()
    with container(*CONFINED, IMAGE) as name:
        pid = int(inspected("container", name)["State"]["Pid"])
        healthy = eventually("it answers", lambda: ask(pid, "/-/healthy"), within=30)
        yield Fact("answers /-/healthy", f"{healthy}, after {time.monotonic() - begun:.1f} s", good=True)
        page = ask(pid, "/")
        yield Fact("answers /", f"a page of {len(page) / 1e3:.0f} kB", page.rstrip().endswith("</html>"))
        metrics = ask(pid, "/metrics")
        series = len(re.findall(r"(?m)^configmgr_", metrics))
        yield Fact("answers /metrics", f"{series} series of its own", series > 1000)
        yield from confinement(pid)
        podman("healthcheck", "run", name, check=False)
        health = inspected("container", name)["State"]["Health"]["Status"]
        yield Fact("HEALTHCHECK", health, health == "healthy")
        begun = time.monotonic()
        podman("stop", "--time=20", name)
        took = time.monotonic() - begun
        status = inspected("container", name)["State"]["ExitCode"]
        yield Fact("ends at SIGTERM", f"with {status}, in {took:.1f} s", status == 0 and took < IN_TIME)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image and show what is true of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="an image to build on, for example docker.io/library/python:3.13-slim")
    base = parser.parse_args(arguments).base
    if os.geteuid() != 0:
        sys.exit("no image: debootstrap and the mounting of images need root")
    base = base or own_base()
    build(base)
    return shown(f"{IMAGE} on {base}", [*contents(base), *behaviour()])


def shown(title: str, facts: Sequence[Fact]) -> int:
    """Print a table; 1 if a fact is not as it should be."""
    table = Table("", "asked", "found", title=title)
    for fact in facts:
        table.add_row("[green]ok" if fact.good else "[red]NOT", fact.asked, fact.found)
    Console().print(table)
    return 0 if all(fact.good for fact in facts) else 1


if __name__ == "__main__":
    sys.exit(main())
