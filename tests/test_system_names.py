"""What the system's files say of names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from exporter.probe.net import system_names
from exporter.probe.net.system_names import Resolver, _File, _names, _settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="reads resolv.conf")


@pytest.fixture(autouse=True)
def without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RES_OPTIONS", "LOCALDOMAIN"):
        monkeypatch.delenv(name, raising=False)


# What glibc waits for an answer altogether, measured: resolv.conf, and seconds.
PATIENCE = [
    ("", 10),
    ("nameserver 192.0.2.1", 10),
    ("nameserver 192.0.2.1\noptions timeout:1 attempts:1", 1),
    ("nameserver 192.0.2.1\noptions timeout:2 attempts:2", 4),
    ("nameserver 192.0.2.1\noptions timeout:0 attempts:1", 1),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions timeout:1 attempts:1", 2),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.2", 20),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\noptions timeout:3 attempts:1", 9),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4", 28),
    ("nameserver nonsense\nnameserver fe80::1%eth0 # router\n;options timeout:9", 10),
]


@pytest.mark.skipif(not system_names.by_glibc(), reason="another C library waits otherwise")
@pytest.mark.parametrize(("text", "seconds"), PATIENCE)
def test_the_patience_is_that_of_the_c_library(text: str, seconds: float) -> None:
    assert _settings(text.splitlines()).patience == seconds


def test_what_a_resolver_conf_says() -> None:
    text = (
        "domain old.example\nsearch corp.example eu.corp.example .\nnameserver ::1\noptions edns0 timeout:3 timeout:x"
    )
    assert _settings(text.splitlines()) == Resolver(("::1",), 3, 2, ("corp.example", "eu.corp.example"))


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:7 attempts:99")
    monkeypatch.setenv("LOCALDOMAIN", "lab.example")
    found = _settings(["options timeout:1 attempts:1", "search corp.example"])
    assert (found.timeout, found.attempts, found.search) == (7, 5, ("lab.example",))


def test_the_names_of_a_hosts_file() -> None:
    text = ["127.0.0.1 localhost", "# 192.0.2.1 not.example", "192.0.2.2\tA.example  b # c", "", "192.0.2.3"]
    assert _names(text) == {"localhost", "a.example", "b"}


def test_a_file_is_read_again_when_it_has_changed_and_only_then(tmp_path: Path) -> None:
    path, read = tmp_path / "hosts", []

    def names(lines: Iterable[str]) -> list[str]:
        read.append(lines)
        return list(lines)

    file = _File(path, names)
    assert [file.says(), file.says()] == [[], []]
    path.write_text("192.0.2.1 a")
    assert [file.says(), file.says()] == [["192.0.2.1 a"], ["192.0.2.1 a"]]
    os.utime(path, (1, 1))
    assert file.says() == ["192.0.2.1 a"]
    path.unlink()
    assert file.says() == []
    assert len(read) == 4
