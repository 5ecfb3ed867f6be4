"""Read CPython for Windows: the path of its embeddable zip file -> its files, every signature verified."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOTS: Final = HERE / "code-signing-roots.pem"
PINNED: Final = HERE / "python.txt"

# What carries no signature and is no program. The search path is ours, so theirs need not be verified.
PLAIN: Final = frozenset({"LICENSE.txt"})
REPLACED: Final = re.compile(r"python3\d+\._pth")
LIBRARY: Final = re.compile(r"python3\d+\.zip")
CORE: Final = re.compile(r"python3(\d+)\.dll")

PROGRAM: Final = b"MZ"
PSF: Final = "Python Software Foundation"
MICROSOFT: Final = "Microsoft Corporation"
OF_MICROSOFT: Final = re.compile(r"(vcruntime|msvcp|concrt|ucrtbase|api-ms-).*\.dll", re.IGNORECASE)

# The standard library is signed by nobody. This one is that of python.txt, and of python-3.11.9-embed-amd64.zip.
KNOWN_LIBRARIES: Final = frozenset({"7d0f59c930e7d3d9352399ea3c95c0272489b3c09a8e95faaedfa8a23e20e5b1"})


class Refused(Exception):
    """Something that must not be packed; the message says what it is and what to do."""


@dataclass(frozen=True)
class Python:
    """An embeddable Python: its files by their names."""

    files: Mapping[str, bytes]

    @property
    def version(self) -> str:
        """Major and minor, as in 3.11."""
        (minor,) = {match[1] for name in self.files if (match := CORE.fullmatch(name))}
        return f"3.{minor}"

    @property
    def magic(self) -> bytes:
        """The format of its bytecode."""
        (library,) = (data for name, data in self.files.items() if LIBRARY.fullmatch(name))
        with zipfile.ZipFile(io.BytesIO(library)) as archive:
            return archive.read("os.pyc")[:4]


def downloaded(cache: Path) -> Path:
    """The zip file of the package that `python.txt` pins, by pip; kept in the cache under the pin's hash."""
    pinned = re.findall(r"--hash=sha256:(\w+)", PINNED.read_text(encoding="utf-8"))
    kept = cache / f"python-{pinned[0]}.zip"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            options = ["--quiet", "--disable-pip-version-check", "--retries", "5", "--no-deps", "--require-hashes"]
            argv = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(PINNED), "--dest", folder]
            if subprocess.run(argv, check=False).returncode:
                raise Refused(f"{PINNED}: pip could not download it; give a zip file from python.org by PYTHON_ZIP=")
            (package,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(package) as archive:
                (member,) = (member for member in archive if member.name.endswith("/data.zip"))
                content = archive.extractfile(member)
                assert content is not None  # noqa: S101 - it is a file
                (whole := Path(folder) / kept.name).write_bytes(content.read())
            whole.replace(kept)
    return kept


def verified(path: Path, checksum: str | None = None) -> Python:
    """Its files, each of them signed by who should have signed it; raises `Refused` for the first that is not.

    `checksum` is the SHA-256 of the zip file as its publisher states it. Without it, the standard library, which
    carries no signature, must be one that is known here.
    """
    try:
        content = path.read_bytes()
        files = _members(content)
    except (OSError, zipfile.BadZipFile) as error:
        raise Refused(f"{path}: not a zip file that can be read ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if checksum is not None and checksum.lower() != found:
        raise Refused(f"{path}: its SHA-256 is {found}, and {checksum.lower()} was expected")
    if not {"python.exe", "LICENSE.txt"} <= files.keys() or sum(map(bool, map(CORE.fullmatch, files))) != 1:
        raise Refused(f"{path}: not the Windows embeddable package of python.org, 64-bit")
    for name, data in files.items():
        if REPLACED.fullmatch(name) or name in PLAIN:
            continue
        if LIBRARY.fullmatch(name):
            if checksum is None and hashlib.sha256(data).hexdigest() not in KNOWN_LIBRARIES:
                raise Refused(
                    f"{path}: {name}: the standard library carries no signature, and this one is not known here; "
                    "give the zip file's checksum from python.org by PYTHON_SHA256="
                )
        elif data.startswith(PROGRAM) or name.endswith(".cat"):
            _verify(path, name, data)
        else:
            raise Refused(f"{path}: {name}: carries no signature and does not belong in an embeddable Python")
    return Python({name: data for name, data in files.items() if not REPLACED.fullmatch(name)})


def _members(content: bytes) -> dict[str, bytes]:
    """The files of a zip file, without the folder in which all of them may lie."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {Path(info.filename).name: archive.read(info) for info in archive.infolist() if not info.is_dir()}


def _verify(path: Path, name: str, data: bytes) -> None:
    """Raise `Refused` unless the Authenticode signature is whole, leads to a known root and is the right publisher's.

    A signer's certificate ends before a program does: what counts is that it was valid when the countersigned time
    stamp was made. Lists of revoked certificates are not fetched, so that nothing is asked of the internet.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        argv = ["osslsigncode", "verify", "-in", str(file), "-ignore-crl"]
        argv += ["-CAfile", str(ROOTS), "-TSA-CAfile", str(ROOTS)]
        try:
            done = subprocess.run(argv, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError as error:
            raise Refused("osslsigncode is missing, which verifies signatures: apt-get install osslsigncode") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if "No signature found" in said or "Number of verified signatures" not in said:
        raise Refused(f"{path}: {name}: carries no signature")
    if done.returncode:
        raise Refused(f"{path}: {name}: its signature does not verify, by the roots of {ROOTS.name}")
    publisher = MICROSOFT if OF_MICROSOFT.fullmatch(name) else PSF
    signers = re.findall(r"Signer's certificate:\s+-+\s+Signer #0:\s+Subject: (.*)", said)
    if not signers or not all(f"/O={publisher}/" in f"{signer}/" for signer in signers):
        raise Refused(f"{path}: {name}: signed by {', '.join(signers) or 'nobody'}, not by {publisher}")
