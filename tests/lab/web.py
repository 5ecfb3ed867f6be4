"""The laboratory's web: nginx on the real ports, with a certificate of its own for every host."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .network import PROXY, Network
from .pki import Authority, leaf

_LISTEN: Final = """
    listen 80{flag}; listen [::]:80{flag}; listen 443 ssl{flag}; listen [::]:443 ssl{flag};
    listen 8530{flag}; listen [::]:8530{flag}; listen 8531 ssl{flag}; listen [::]:8531 ssl{flag};
"""

# A handshake that stands still keeps an old worker, and a reload, for so long. It must be more than a busy machine
# needs to verify a chain: on Windows, some hundreds at once are the system's, one after the other.
_HEADER_TIME: Final = 12  # seconds

_MAIN: Final = f"""
daemon off;
user root;
worker_processes 1;  # so that what it answered is in the log before it answers anything else
worker_shutdown_timeout 1s;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    log_format json escape=json '{{"time":$msec,"client":"$remote_addr","host":"$host","scheme":"$scheme",'
        '"port":$server_port,"method":"$request_method","uri":"$request_uri","status":$status}}';
    access_log access.log json;
    lingering_close off;  # it would put off the line in the log
    client_header_timeout {_HEADER_TIME}s;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    server_names_hash_max_size 8192;
    server_names_hash_bucket_size 256;
    default_type text/plain;
    # A name in the path has nginx read the file for every handshake: a certificate changes without a reload.
    ssl_certificate certificates/$ssl_server_name.pem;
    ssl_certificate_key certificates/$ssl_server_name.pem;
    ssl_session_tickets off;  # a resumed session would not show it
    server {{  # whatever is asked for a name that is not registered
        {_LISTEN.format(flag=" default_server")}
        ssl_reject_handshake on;
        return 421;
    }}
    include hosts.conf;
}}
"""

_SERVER: Final = "server {{ {listen} server_name {names};\n{body}\n}}\n"
_EVERYWHERE: Final = r'location / { return 200 "$host\n"; }'
_FENCE: Final = "server {{ listen unix:{socket}; access_log off; return 200 {generation}; }}\n"


@dataclass(frozen=True)
class Request:
    """A request as the web server saw it."""

    time: float  # Unix time at which it was answered
    client: str  # the address it came from
    host: str
    scheme: str
    port: int
    method: str
    uri: str
    status: int

    @property
    def via_proxy(self) -> bool:
        """Whether the proxy sent it on, or carried it in a tunnel."""
        return self.client in PROXY


class Web:
    """The web servers of all hosts; what changes them returns when the change is in force."""

    def __init__(self, network: Network, hosts: frozenset[str], issuer: Authority) -> None:
        self._network = network
        self._hosts = hosts
        self._certificates = network.directory / "certificates"
        self._access_log = network.directory / "access.log"
        self._fence_socket = network.directory / "fence.sock"
        self._cleared_at = 0  # bytes of the log that count no more
        self._generation = 0  # of the configuration
        self._snippets: Mapping[str, str] = {}
        self._certificates.mkdir()
        for host in hosts:
            self.certificate_file(host).write_bytes(leaf(host, issuer))
        (network.directory / "nginx.conf").write_text(_MAIN)
        self._write()
        self._server = network.serve("nginx", self._nginx())

    def wait(self) -> None:
        """Return when requests are answered."""
        self._server.wait_until("answering", self._in_force)

    @contextmanager
    def serving(self, host: str, snippet: str) -> Iterator[None]:
        """Give the host a server block of its own; ValueError with nginx's words when it does not understand it."""
        before = self._snippets.get(host)
        self._configure(host, snippet)
        try:
            yield
        finally:
            self._configure(host, before)

    @contextmanager
    def presenting(self, host: str, pem: bytes) -> Iterator[None]:
        """Have the host present another certificate: key, certificate and chain as PEM."""
        before = self.certificate_file(host).read_bytes()
        self._present(host, pem)
        try:
            yield
        finally:
            self._present(host, before)

    def requests(self) -> list[Request]:
        """Every request whose answer anybody has seen, since the last `clear`, in the order they were answered."""
        self._fence()
        with self._access_log.open("rb") as log:
            log.seek(self._cleared_at)
            return [Request(**json.loads(line)) for line in log]

    def clear(self) -> None:
        """Forget the requests so far."""
        self._fence()
        self._cleared_at = self._access_log.stat().st_size

    def certificate_file(self, host: str) -> Path:
        """The host's key, certificate and chain as PEM."""
        return self._certificates / f"{host}.pem"

    def _present(self, host: str, pem: bytes) -> None:
        new = self._certificates / "new"
        new.write_bytes(pem)
        new.replace(self.certificate_file(host))

    def _nginx(self, *options: str) -> list[str]:
        return ["nginx", "-e", "stderr", "-p", f"{self._network.directory}/", "-c", "nginx.conf", *options]

    def _configure(self, host: str, snippet: str | None) -> None:
        before = self._snippets
        others = {name: text for name, text in before.items() if name != host}
        self._snippets = others if snippet is None else others | {host: snippet}
        self._write()
        test = self._network.run(self._nginx("-t"))
        if test.returncode != 0:
            self._snippets = before
            self._write()
            raise ValueError(f"{host}: nginx does not take this snippet:\n{test.stderr}")
        self._reload()

    def _write(self) -> None:
        self._generation += 1
        listen = _LISTEN.format(flag="")
        common = " ".join(sorted(self._hosts - self._snippets.keys()))
        servers = [_FENCE.format(socket=self._fence_socket, generation=self._generation)]
        if common:
            servers.append(_SERVER.format(listen=listen, names=common, body=_EVERYWHERE))
        for host, snippet in self._snippets.items():
            servers.append(_SERVER.format(listen=listen, names=host, body=snippet))
        (self._network.directory / "hosts.conf").write_text("".join(servers))

    def _reload(self) -> None:
        old = self._workers()

        def renewed() -> bool:
            return self._in_force() and not old & self._workers()

        self._server.process.send_signal(signal.SIGHUP)
        self._server.wait_until("serving anew", renewed, timeout=3.0 * _HEADER_TIME)

    def _workers(self) -> frozenset[str]:
        master = self._server.process.pid
        return frozenset(Path(f"/proc/{master}/task/{master}/children").read_text().split())

    def _in_force(self) -> bool:
        with suppress(OSError):
            return self._fence() == str(self._generation)
        return False

    def _fence(self) -> str:
        """Ask the server which generation of the configuration it has; all it did before is in the log by then."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(os.fspath(self._fence_socket))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reply = b"".join(iter(lambda: client.recv(4096), b""))
        return reply.rpartition(b"\n")[2].decode()
