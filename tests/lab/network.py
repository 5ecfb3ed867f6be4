"""A network of one machine and without a way out: a Linux network namespace, the programs in it, and its firewall."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

# Addresses that stand for no one (RFC 2544, RFC 4193). All of them are this machine's own, whichever is asked for.
NETWORKS: Final = ("198.18.0.0/15", "fd00:1ab::/64")
CLIENT: Final = ("198.19.0.1", "fd00:1ab::1")
NAME_SERVER: Final = "198.19.0.2"
PROXY: Final = ("198.19.0.3", "fd00:1ab::3")
RESPONDER: Final = ("198.19.0.4", "fd00:1ab::4")

SCRIPTED_NAME_SERVERS: Final = "198.19.1"  # of which each scripted one has an address of its own
# Where nobody is: packets vanish. Some are private addresses (RFC 1918, RFC 6598, RFC 4193).
DEAD: Final = ("198.19.255.0/24", "10.20.0.0/16", "100.64.20.0/24", "fd00:1ab::dead:0/112", "fd20::/64")

PROGRAMS: Final = (
    *(
        "curl",
        "dig",
        "dnsmasq",
        "gnutls-serv",
        "ip",
        "ip6tables",
        "iptables",
        "nft",
        "nginx",
        "openssl",
        "squid",
        "unshare",
    ),
    *("chromium", "kadmin.local", "kinit", "krb5kdc", "ntlm_auth"),
    *("amtool", "docker-compose", "prometheus", "prometheus-alertmanager", "promtool"),
)
MODULES: Final = ("gssapi", "krb5")  # of the extra `negotiate`
PATH: Final = os.pathsep.join((str(Path(sys.executable).parent), "/usr/sbin", "/usr/bin", "/sbin", "/bin"))

# A client has another address than the hosts it speaks to (`src`). Without that, a reset or an ICMP error would go
# from the host to itself and be caught by the very rule that sends it.
_LINKS: Final = f"""
link set lo up
address add {CLIENT[0]}/32 dev lo
address add {CLIENT[1]}/128 dev lo nodad
address add {PROXY[1]}/128 dev lo nodad
address add {RESPONDER[1]}/128 dev lo nodad
route add local {NETWORKS[0]} dev lo src {CLIENT[0]}
route add local {NETWORKS[1]} dev lo src {CLIENT[1]}
route add local {DEAD[1]} dev lo src {CLIENT[0]}
route add local {DEAD[2]} dev lo src {CLIENT[0]}
route add local {DEAD[4]} dev lo src {CLIENT[1]}
"""

# What `ip netns exec` lays over /etc: the machine's own resolver, hosts and name services must not answer in here.
_ETC: Final = MappingProxyType(
    {
        "resolv.conf": f"search .\nnameserver {NAME_SERVER}\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    }
)


def unavailable() -> str | None:
    """Why the laboratory cannot be built on this machine, in words; None: it can."""
    if sys.platform != "linux":
        return "the laboratory needs Linux"
    if os.geteuid() != 0:
        return "the laboratory needs root"
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    missing += [f"Python's {module}" for module in MODULES if find_spec(module) is None]
    if missing:
        return f"the laboratory lacks {', '.join(missing)}: `make test` installs it"
    if not Path("/proc/net/if_inet6").exists():
        return "the laboratory needs IPv6, which this kernel has switched off"
    firewall = ["unshare", "--net", "--mount", "iptables", "--table", "nat", "--list"]
    if subprocess.run(firewall, capture_output=True, check=False).returncode != 0:
        return "the laboratory may not make a network namespace with a firewall here"
    return None


@dataclass(frozen=True)
class Server:
    """A server under way, and where it writes what it has to say."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, what: str, holds: Callable[[], bool], timeout: float = 60.0) -> None:
        """Return as soon as it holds; RuntimeError with the end of the log when the server ended or time is up."""
        deadline = time.monotonic() + timeout
        while not holds():
            if self.process.poll() is not None or time.monotonic() > deadline:
                name, tail = self.log.stem, self.said()[-2000:]
                raise RuntimeError(f"{name}: not {what} after {timeout:g} s or before it ended; its log ends:\n{tail}")
            time.sleep(0.003)

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")


@dataclass(frozen=True)
class Network:
    """A namespace and a directory of the same name. Both, and all that runs inside, go with `remove` or with us."""

    directory: Path
    _keeper: subprocess.Popen[bytes]
    _servers: list[Server] = field(default_factory=list)

    @classmethod
    def build(cls) -> Network:
        """Make the namespace, with every address of NETWORKS in it."""
        directory = Path(tempfile.gettempdir(), f"lab{secrets.token_hex(4)}")
        directory.mkdir()
        directory.chmod(0o755)  # Squid, which is not root, has a directory of its own in there
        keeper = subprocess.Popen(
            ["sh", Path(__file__).with_name("keeper.sh"), directory.name, directory],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        network = cls(directory, keeper)
        try:
            network._build()
        except BaseException:
            network.remove()
            raise
        return network

    @property
    def name(self) -> str:
        """What `ip netns` calls it."""
        return self.directory.name

    @property
    def ca_file(self) -> Path:
        """Where the root that programs inside trust belongs."""
        return self.directory / "root.pem"

    @property
    def env(self) -> Mapping[str, str]:
        """What programs inside find in their environment: nothing of ours, such as a proxy or a .curlrc."""
        return {"PATH": PATH, "HOME": str(self.directory), "LANG": "C.UTF-8", "SSL_CERT_FILE": str(self.ca_file)}

    def _build(self) -> None:
        etc = Path("/etc/netns", self.name)
        etc.mkdir(parents=True)
        for name, text in _ETC.items():
            (etc / name).write_text(text)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-netns", self.name, "-batch", "-"], input=_LINKS, text=True, check=True)
        for addresses in DEAD:
            self.run(
                [_firewall(addresses), "--append", "INPUT", "--destination", addresses, "--jump", "DROP"], check=True
            )

    def remove(self) -> None:
        """End all that runs in it and leave nothing of it; not an error when it is gone."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait()
        for server in self._servers:
            server.process.wait()

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        etc: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a program inside, with these files of /etc its own; its process is the program's own."""
        return subprocess.Popen(self._inside(argv, etc), env=env or self.env, **options)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        etc: Mapping[str, str] | None = None,
        check: bool = False,
        timeout: float = 60.0,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end, with these files of /etc its own; its output is kept as text."""
        return subprocess.run(
            self._inside(argv, etc),
            env=env or self.env,
            check=check,
            timeout=timeout,
            capture_output=True,
            text=True,
            **options,
        )

    def _inside(self, argv: Sequence[str | Path], etc: Mapping[str, str] | None) -> list[str | Path]:
        inside = ["ip", "netns", "exec", self.name]
        if not etc:
            return [*inside, *argv]
        own = Path(tempfile.mkdtemp(prefix="etc", dir=self.directory))
        own.chmod(0o755)
        for name, text in etc.items():
            (own / name).write_text(text)
        # `ip netns exec` has given the program mounts of its own, so that these show to it alone.
        mounted = 'for file in "$0"/*; do mount --bind "$file" "/etc/${file##*/}"; done; exec "$@"'
        return [*inside, "sh", "-ec", mounted, own, *argv]

    @contextmanager
    def serving(self, name: str, argv: Sequence[str | Path], ready: str) -> Iterator[None]:
        """Have a server run, from when it has said that it is ready until it is ended."""
        server = self.serve(name, argv)
        try:
            server.wait_until("ready", lambda: ready in server.said())
            yield
        finally:
            server.process.kill()
            server.process.wait()
            self._servers.remove(server)

    def serve(self, name: str, argv: Sequence[str | Path]) -> Server:
        """Start a server that stays in the foreground, in the network's directory; it logs to NAME.log there."""
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            process = self.popen(argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._servers.append(Server(process, log))
        return self._servers[-1]

    @contextmanager
    def rule(self, address: str, *match_and_target: str) -> Iterator[None]:
        """Have the firewall treat what arrives for `address` so.

        On arrival, not on departure: a packet dropped in OUTPUT fails the sender's call at once, with EPERM.
        """
        with self._rule("filter", "INPUT", address, match_and_target):
            yield

    @contextmanager
    def diverted(self, address: str, port: int, to: int, protocol: Literal["tcp", "udp"] = "tcp") -> Iterator[None]:
        """Lead what is sent to this address and port to another port, at RESPONDER; not what comes from there."""
        there = f"[{RESPONDER[1]}]:{to}" if ":" in address else f"{RESPONDER[0]}:{to}"
        match = ("!", "--source", RESPONDER[":" in address], "--protocol", protocol, "--dport", str(port))
        with self._rule("nat", "OUTPUT", address, (*match, "--jump", "DNAT", "--to-destination", there)):
            yield

    @contextmanager
    def _rule(self, table: str, chain: str, address: str, match_and_target: Sequence[str]) -> Iterator[None]:
        command = [_firewall(address), "--wait", "--table", table]
        rule = [chain, "--destination", address, *match_and_target]
        self.run([*command, "--insert", *rule], check=True)
        try:
            yield
        finally:
            self.run([*command, "--delete", *rule], check=True)


def _firewall(address: str) -> str:
    return "ip6tables" if ":" in address else "iptables"
