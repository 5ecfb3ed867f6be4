"""What a Windows domain is to a proxy, inside a laboratory: a real KDC (MIT), and a Squid that asks who is there."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any, Final

from exporter.model.vocabulary import Auth
from tests.lab import PROXY_HOST, Credentials, Lab

REALM: Final = "CORP.EXAMPLE"
KDC: Final = "198.19.0.88"
DEAD_REALM: Final = "DEAD.EXAMPLE"
DEAD_KDC: Final = "198.19.0.89"  # where nobody listens
DEAD_KDCS: Final = (
    12 * f"        kdc = {DEAD_KDC}\n"
)  # each is waited for where it is silent, in all for more than a minute
PORTS: Final = {Auth.BASIC: 3141, Auth.NTLM: 3142, Auth.NEGOTIATE: 3143, Auth.AUTO: 3144}

_CLIENTS: Final = Template("""\
[libdefaults]
    default_realm = $realm
    dns_lookup_kdc = false
    dns_lookup_realm = false
    rdns = false
[realms]
    $realm = {
        kdc = $kdc
    }
    $dead_realm = {
$dead_kdcs    }
""")
# As in a Windows domain, only who proves to know the password is given a ticket at all (preauth).
_KDC: Final = Template("""\
[kdcdefaults]
    kdc_listen = $kdc:88
    kdc_tcp_listen = $kdc:88
[realms]
    $realm = {
        database_name = $directory/principal
        key_stash_file = $directory/stash
        default_principal_flags = +preauth
    }
[logging]
    default = STDERR
""")
_SQUID: Final = Template("""\
http_port 198.19.0.3:$basic name=basic
http_port 198.19.0.3:$ntlm name=ntlm
http_port 198.19.0.3:$negotiate name=negotiate
http_port 198.19.0.3:$auto name=all
visible_hostname $host
dns_nameservers 198.19.0.2
hosts_file none
cache deny all

auth_param negotiate program /usr/lib/squid/negotiate_kerberos_auth -k $directory/service.keytab -s HTTP/$host@$realm
auth_param negotiate children 1 startup=1
# Samba computes the answer to its challenge from this password, and needs neither domain nor winbindd for that.
auth_param ntlm program /usr/bin/ntlm_auth --helper-protocol=squid-2.5-ntlmssp --configfile=$directory/smb.conf \\
    --domain=CORP --username=$username --password=$password
auth_param ntlm children 1 startup=1
auth_param basic program /usr/lib/squid/basic_ncsa_auth $directory/passwords
auth_param basic children 1 startup=1
auth_param basic realm $host
acl basic myportname basic
acl ntlm myportname ntlm
acl negotiate myportname negotiate
auth_schemes basic basic
auth_schemes ntlm ntlm
auth_schemes negotiate negotiate
acl signed-in proxy_auth REQUIRED
http_access deny !signed-in
http_access allow all

logformat user %>Hs %un
access_log stdio:$directory/access.log user
cache_log /dev/null
logfile_rotate 0
coredump_dir $directory
pid_filename none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
""")
_SAMBA: Final = Template("""\
[global]
    netbios name = PROXY
    workgroup = CORP
    private dir = $directory
    state directory = $directory
    lock directory = $directory
    cache directory = $directory
    pid directory = $directory
""")


class Domain:
    """A realm with one account in it, and a proxy that asks for it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.account = Credentials("svc-proxy", secrets.token_hex(12))
        self.directory = Path(lab.env["HOME"], "domain")
        self.directory.mkdir()
        shutil.chown(self.directory, user="proxy")
        self._write("krb5.conf", _CLIENTS)
        self._write("kdc.conf", _KDC)
        self._write("squid.conf", _SQUID)
        self._write("smb.conf", _SAMBA)
        self.env: Mapping[str, str] = {  # of programs that belong to the domain, but have no ticket
            **lab.env,
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            "KRB5CCNAME": str(self.directory / "no-tickets"),
            "KRB5RCACHENAME": "none:",  # what the service has seen: it would be kept outside the laboratory
        }
        self.run("kdb5_util", "create", "-s", "-P", secrets.token_hex())
        self.add(self.account.username)
        self.administer("addprinc", "-randkey", f"HTTP/{PROXY_HOST}")
        shutil.chown(self.keytab(f"HTTP/{PROXY_HOST}", "service.keytab"), user="proxy")
        hashed = self.run("openssl", "passwd", "-6", self.account.password)
        (self.directory / "passwords").write_text(f"{self.account.username}:{hashed}")

    def run(self, *command: str, env: Mapping[str, str] | None = None, **options: Any) -> str:
        """Run a program of the domain to its end and give its output; RuntimeError with its words when it fails."""
        done = self._lab.run(command, env={**self.env, **(env or {})}, **options)
        if done.returncode != 0:
            raise RuntimeError(f"{command[:2]}: {done.stdout}{done.stderr}")
        return done.stdout

    def administer(self, *command: str) -> None:
        """Do what `kadmin` can."""
        self.run("kadmin.local", *command)

    def add(self, name: str, *options: str) -> None:
        """Have one more account in the KDC, with the same password."""
        self.administer("addprinc", *options, "-pw", self.account.password, name)

    def keytab(self, principal: str, name: str) -> Path:
        """Make a file with the keys of a principal; its password stays."""
        file = self.directory / name
        self.administer("ktadd", "-norandkey", "-k", str(file), principal)
        return file

    def proxy_url(self, auth: Auth) -> str:
        """The proxy, where it offers this scheme only; `auto`: where it offers all."""
        return f"http://{PROXY_HOST}:{PORTS[auth]}"

    def requests(self) -> list[str]:
        """The requests that the proxy has answered: the status, and who it took the client for ("-": nobody)."""
        return (self.directory / "access.log").read_text().splitlines()

    def tickets_issued(self) -> int:
        """How many tickets the KDC has given."""
        return (self.directory / "kdc.log").read_text().count(": ISSUE: ")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have the KDC and the proxy answer inside the block."""
        with (
            self._serving("kdc", ["krb5kdc", "-n"], "commencing operation", 1),
            self._serving(
                "squid",
                ["squid", "-N", "-n", f"{self._lab.name}domain", "-d", "1", "-f", self.directory / "squid.conf"],
                "Accepting HTTP Socket connections",
                len(PORTS),
            ),
        ):
            yield

    @contextmanager
    def silent(self, address: str) -> Iterator[None]:
        """Have what is sent to an address taken in silence inside the block."""
        rule = ("INPUT", "--destination", address, "--jump", "DROP")
        self.run("iptables", "--wait", "--insert", *rule)
        try:
            yield
        finally:
            self.run("iptables", "--wait", "--delete", *rule)

    @contextmanager
    def _serving(self, name: str, argv: Sequence[str | Path], sign: str, times: int) -> Iterator[None]:
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
            server = self._lab.popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while log.read_text().count(sign) < times:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} is not up; its log ends:\n{log.read_text()[-2000:]}")
                time.sleep(0.01)
            yield
        finally:
            server.terminate()
            server.wait()

    def _write(self, name: str, template: Template) -> None:
        words = {f"{auth}": str(port) for auth, port in PORTS.items()}
        (self.directory / name).write_text(
            template.substitute(
                words,
                realm=REALM,
                kdc=KDC,
                dead_realm=DEAD_REALM,
                dead_kdcs=DEAD_KDCS,
                host=PROXY_HOST,
                directory=self.directory,
                username=self.account.username,
                password=self.account.password,
            )
        )
