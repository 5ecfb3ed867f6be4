"""`make lab`: a shell in a laboratory of its own; in there `python -m tests.lab break FAULT HOST`, and `fix`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, UnixStreamServer
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Final

from tests.faults import FAULTS, Inject, nothing
from tests.lab import EXTRA_HOSTS, PROXY_HOST, Lab, catalogue_hosts, unavailable
from tests.running import among_public_roots

INJECT: Final[dict[str, Inject]] = {
    re.sub("[^a-z0-9]+", "-", fault.name.lower()): fault.inject for fault in FAULTS if fault.inject is not nothing
}
ORDERS: Final = "LABORATORY"  # of the shell's environment: the socket where its laboratory takes orders
PROMPT: Final = "lab$ "


class Orders(UnixStreamServer):
    """Takes one order a connection, a line of words, and answers with what is wrong with it, or with nothing."""

    def __init__(self, path: Path, lab: Lab) -> None:
        super().__init__(os.fspath(path), _Order)
        self.lab = lab
        self.faults = ExitStack()
        self.broken: set[str] = set()

    def obey(self, order: list[str]) -> str:
        """Return when the order is carried out."""
        match order:
            case ["break", fault, host]:
                return self._break(fault, host)
            case ["fix"]:
                self.faults.close()
                self.broken.clear()
        return ""

    def _break(self, fault: str, host: str) -> str:
        if fault not in INJECT:
            return f"{fault}: no such fault; `python -m tests.lab faults` lists them"
        if host in self.broken:
            return f"{host} is broken already; `python -m tests.lab fix` fixes everything"
        try:
            self.faults.enter_context(INJECT[fault](self.lab, host))
        except KeyError as error:
            return str(error.args[0])
        self.broken.add(host)
        return ""


class _Order(StreamRequestHandler):
    server: Orders

    def handle(self) -> None:
        self.wfile.write(self.server.obey(self.rfile.readline().decode().split()).encode())


@contextmanager
def obedient(lab: Lab, directory: Path) -> Iterator[Path]:
    """The socket where the laboratory takes orders until the block ends; then everything is fixed."""
    path = directory / "orders"
    with Orders(path, lab) as orders, orders.faults:
        Thread(target=orders.serve_forever, daemon=True).start()
        yield path
        orders.shutdown()


def shell() -> int:
    """Build a laboratory, and take it away when the shell ends."""
    if reason := unavailable():
        sys.stderr.write(f"no laboratory: {reason}\n")
        return 1
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl+C is for what runs in the shell
    hosts = catalogue_hosts() | EXTRA_HOSTS
    with Lab.start(hosts) as lab, TemporaryDirectory() as directory, obedient(lab, Path(directory)) as orders:
        sys.stdout.write(
            f"{len(hosts)} hosts answer, and the proxy {PROXY_HOST}. Nothing in here reaches the outside.\n"
            "`exit` takes it all away.\n"
        )
        sys.stdout.flush()
        terminal = {name: os.environ[name] for name in ("COLUMNS", "TERM") if name in os.environ}
        env = {**lab.env, **terminal, "PS1": PROMPT, ORDERS: os.fspath(orders)}
        with lab.popen(among_public_roots(lab, ["bash", "--noprofile", "--norc"]), env=env) as running:
            return running.wait()


def order(*words: str) -> int:
    """Have the laboratory of this shell do something."""
    if ORDERS not in os.environ:
        sys.stderr.write("not in a laboratory: `make lab` opens a shell in one\n")
        return 1
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ORDERS])
        connection.sendall(f"{' '.join(words)}\n".encode())
        wrong = connection.makefile().read()
    sys.stderr.write(f"{wrong}\n" if wrong else "")
    return 1 if wrong else 0


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    orders = parser.add_subparsers(dest="order", metavar="ORDER", help="without one: build a laboratory, open a shell")
    orders.add_parser("faults", help="list what can be broken")
    broken = orders.add_parser("break", help="break a host")
    broken.add_argument("fault", metavar="FAULT")
    broken.add_argument("host", metavar="HOST")
    orders.add_parser("fix", help="fix everything that is broken")
    asked = parser.parse_args()
    match asked.order:
        case "faults":
            sys.stdout.writelines(f"{fault}\n" for fault in INJECT)
            return 0
        case "break":
            return order("break", asked.fault, asked.host)
        case "fix":
            return order("fix")
    return shell()


if __name__ == "__main__":
    sys.exit(main())
