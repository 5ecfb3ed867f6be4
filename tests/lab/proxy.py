"""The laboratory's corporate proxy: Squid, on one port for everybody and on another for those who sign in."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from string import Template
from typing import Final, NamedTuple

from .network import NAME_SERVER, PROXY, Network

HOST: Final = "proxy.corp.example"
PORT: Final = 3128
AUTH_PORT: Final = 3129

_CONFIG: Final = Template("""\
http_port $address:$port
http_port $address:$auth_port name=signed-in-only
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

auth_param basic program /usr/lib/squid/basic_ncsa_auth $directory/passwords
auth_param basic realm $host
auth_param basic children 1
acl signed-in-only myportname signed-in-only
acl signed-in proxy_auth REQUIRED
acl tunnel method CONNECT
acl tls-ports port 443 8531
acl web-ports port 80 443 8530 8531
http_access deny !web-ports
http_access deny tunnel !tls-ports
http_access deny signed-in-only !signed-in
http_access allow all

logformat json {"time":%ts.%03tu,"client":"%>a","port":%lp,"user":"%un",$request,"status":%>Hs,"outcome":"%Ss"}
access_log stdio:$directory/access.log json
cache_log /dev/null
logfile_rotate 0
coredump_dir $directory
pid_filename none
netdb_filename none
pinger_enable off
max_filedescriptors 4096
shutdown_lifetime 0 seconds
""")


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

    def __init__(self, network: Network) -> None:
        self.credentials = Credentials("svc-proxy", secrets.token_urlsafe(12))
        self._directory = network.directory / "squid"
        self._directory.mkdir()
        shutil.chown(self._directory, user="proxy")
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"],
            input=self.credentials.password,
            capture_output=True,
            text=True,
            check=True,
        )
        passwords = self._directory / "passwords"
        passwords.write_text(f"{self.credentials.username}:{hashed.stdout}")
        shutil.chown(passwords, user="proxy")
        config = self._directory / "squid.conf"
        config.write_text(
            _CONFIG.substitute(
                address=PROXY[0],
                address6=PROXY[1],
                port=PORT,
                auth_port=AUTH_PORT,
                host=HOST,
                name_server=NAME_SERVER,
                directory=self._directory,
                request='"method":"%rm","uri":"%ru"',
            )
        )
        self._server = network.serve("squid", ["squid", "-N", "-n", network.name, "-d", "1", "-f", config])

    def wait(self) -> None:
        """Return when requests are answered."""
        accepting = "Accepting HTTP Socket connections"  # said once a port
        self._server.wait_until("answering", lambda: self._server.said().count(accepting) == 2)

    def requests(self) -> list[ProxyRequest]:
        """Every request that has come to its end; the client of a tunnel may know a moment sooner."""
        log = self._directory / "access.log"
        return [ProxyRequest(**json.loads(line)) for line in log.read_text().splitlines()]
