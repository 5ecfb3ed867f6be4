"""The laboratory's corporate proxy: Squid, for everybody or for those who sign in, passing TLS on or inspecting it."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from .network import NAME_SERVER, PROXY, Network
from .pki import Authority

HOST: Final = "proxy.corp.example"
BLOCK_PAGE_HOST: Final = "block.corp.example"  # of which nobody needs more than the name

ERROR_PAGES: Final = Path("/usr/share/squid/errors/en")
HELPERS: Final = Path("/usr/lib/squid")


class Port(IntEnum):
    """What the proxy does depends on the port where it is asked."""

    OPEN = 3128
    AUTH = 3129
    INSPECTING = 3130
    INSPECTING_AUTH = 3131


class Denial(StrEnum):
    """How the proxy tells that its rules forbid something."""

    PAGE = "page"  # its own page, 403
    CUSTOM_PAGE = "custom_page"  # a page of those who run it, 403
    REDIRECT = "redirect"  # to a page elsewhere
    RESET = "reset"  # of the connection


_CONFIG: Final = Template("""\
http_port $address:$open
http_port $address:$auth
http_port $address:$inspecting $inspect
http_port $address:$inspecting_auth $inspect
visible_hostname $host

# Its own addresses on the way out, so that the web servers can tell what came through it.
tcp_outgoing_address $address
tcp_outgoing_address $address6
dns_nameservers $name_server
hosts_file none
# It may remember neither answers nor connections: a fault would show late, or not at all. Names it keeps for a second.
cache deny all
negative_dns_ttl 1 second
positive_dns_ttl 1 second
server_persistent_connections off
# As patient as tests can bear. As shipped, a minute and half a minute: longer than most clients. It counts in whole
# seconds of a clock that ticks, so that two are sometimes only one, which is when TCP repeats a packet that was lost.
connect_timeout 3 seconds
dns_timeout 1 second
dns_retransmit_interval 1 second

auth_param basic program $helpers/basic_ncsa_auth $directory/passwords
auth_param basic realm $host
auth_param basic children 1
acl auth localport $auth $inspecting_auth
acl signed-in proxy_auth REQUIRED
acl tunnel method CONNECT
acl tls-ports port 443 8531
acl web-ports port 80 443 8530 8531
http_access deny !web-ports
http_access deny tunnel !tls-ports
# Before it asks for a password: while Squid has one checked, other requests go on, and it takes the list that one of
# them has matched for the list that denies this one.
$denials
http_access deny auth !signed-in
http_access allow all

error_directory $directory/errors
deny_info ERR_CUSTOM custom_page
deny_info 302:http://$block_page_host/ redirect
deny_info TCP_RESET reset

ssl_bump stare all
ssl_bump bump all
sslcrtd_program $helpers/security_file_certgen -s $directory/certificates -M 4MB
sslcrtd_children 2 startup=1
tls_outgoing_options cafile=$ca_file

logformat json {"time":%ts.%03tu,"client":"%>a","port":%lp,"user":"%un",$request,"status":%>Hs,"outcome":"%Ss"}
# A connection that asked for nothing is no request, and Squid has no port to tell of it.
acl asked has request
access_log stdio:$directory/access.log json asked
cache_log /dev/null
logfile_rotate 0
coredump_dir $directory
pid_filename none
netdb_filename none
pinger_enable off
max_filedescriptors 4096
shutdown_lifetime 0 seconds
""")

_CUSTOM_PAGE: Final = """\
<html><head><title>Web access at Corp</title></head>
<body><p>This web site is not needed for your work. Ask the service desk.</p></body></html>
"""


class Credentials(NamedTuple):
    """What the authenticating port asks for."""

    username: str
    password: str


@dataclass(frozen=True)
class ProxyRequest:
    """A request as the proxy saw it; a tunnel is one request, from CONNECT to its end."""

    time: float  # Unix time of its end
    client: str
    port: int  # of the proxy
    user: str  # "-": nobody signed in
    method: str
    uri: str
    status: int
    outcome: str  # Squid's word for what it did, such as TCP_TUNNEL


class CorporateProxy:
    """The proxy; nothing of it is kept in a cache."""

    def __init__(self, network: Network, inspector: Authority) -> None:
        self.credentials = Credentials("svc-proxy", secrets.token_urlsafe(12))
        # Squid remembers one password of a user: whoever tries a wrong one would disturb those who have the right one.
        self.other_credentials = Credentials("svc-other", secrets.token_urlsafe(12))
        self.inspection_ca_file = network.directory / "inspection.pem"
        self.inspection_ca_file.write_bytes(inspector.pem)
        self._directory = network.directory / "squid"
        self._directory.mkdir()
        self._denied: dict[str, Denial] = {}
        self._write_denied()
        self._write_passwords()
        self._write_config(network)
        (self._directory / "inspector.pem").write_bytes(inspector.secret + inspector.pem)
        shutil.copytree(ERROR_PAGES, self._directory / "errors")
        (self._directory / "errors" / "ERR_CUSTOM").write_text(_CUSTOM_PAGE)
        store: list[str | Path] = [
            HELPERS / "security_file_certgen",
            "-c",
            "-s",
            self._directory / "certificates",
            "-M",
            "4MB",
        ]
        subprocess.run(store, check=True, capture_output=True)
        for path in (self._directory, *self._directory.rglob("*")):
            shutil.chown(path, user="proxy")
        config = self._directory / "squid.conf"
        self._server = network.serve("squid", ["squid", "-N", "-n", network.name, "-d", "1", "-f", config])

    def wait(self) -> None:
        """Return when requests are answered."""
        self._server.wait_until("answering", lambda: self._ports_opened() == len(Port))

    @contextmanager
    def denying(self, host: str, denial: Denial) -> Iterator[None]:
        """Have the rules forbid the host. In the moment when they change the proxy refuses connections."""
        self._denied[host] = denial
        self._reconfigure()
        try:
            yield
        finally:
            del self._denied[host]
            self._reconfigure()

    def _reconfigure(self) -> None:
        self._write_denied()
        expected = self._ports_opened() + len(Port)
        self._server.process.send_signal(signal.SIGHUP)
        self._server.wait_until("answering by its new rules", lambda: self._ports_opened() == expected)

    def _ports_opened(self) -> int:
        return self._server.said().count("HTTP Socket connections at")  # said once a port

    def _write_denied(self) -> None:
        for denial in Denial:
            hosts = [host for host, how in self._denied.items() if how is denial]
            self._denied_file(denial).write_text("\n".join(["none.invalid", *hosts]))  # Squid warns of an empty list

    def _denied_file(self, denial: Denial) -> Path:
        return self._directory / f"denied.{denial}"

    def _write_passwords(self) -> None:
        known = (self.credentials, self.other_credentials)
        (self._directory / "passwords").write_text("".join(f"{who.username}:{_hashed(who.password)}" for who in known))

    def _write_config(self, network: Network) -> None:
        denials = [
            line
            for denial in Denial
            for line in (f'acl {denial} dstdomain "{self._denied_file(denial)}"', f"http_access deny {denial}")
        ]
        (self._directory / "squid.conf").write_text(
            _CONFIG.substitute(
                {port.name.lower(): port.value for port in Port},
                address=PROXY[0],
                address6=PROXY[1],
                block_page_host=BLOCK_PAGE_HOST,
                ca_file=network.ca_file,
                denials="\n".join(denials),
                directory=self._directory,
                helpers=HELPERS,
                host=HOST,
                inspect=f"ssl-bump generate-host-certificates=on tls-cert={self._directory}/inspector.pem",
                name_server=NAME_SERVER,
                request='"method":"%rm","uri":"%ru"',
            )
        )

    def requests(self) -> list[ProxyRequest]:
        """Every request that has come to its end; the client of a tunnel may know a moment sooner."""
        log = self._directory / "access.log"
        return [ProxyRequest(**json.loads(line)) for line in log.read_text().splitlines()]


def _hashed(password: str) -> str:
    asked = ["openssl", "passwd", "-6", "-stdin"]
    return subprocess.run(asked, input=password, capture_output=True, text=True, check=True).stdout
