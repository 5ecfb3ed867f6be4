"""How a person sees a fault without the exporter: command lines, and what they show. The one place for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from exporter.model.vocabulary import Reason, Target

EXAMPLE_TARGET: Final = Target("https://go.microsoft.com/")
EXAMPLE_PROXY: Final = "http://proxy.corp.example:3128"
EXAMPLE_RESOLVER: Final = "192.0.2.53"  # an address for documents (RFC 5737): whoever reads puts in a real one


@dataclass(frozen=True, slots=True)
class Command:
    """A command line with `{url}`, `{host}`, `{port}`, `{proxy}`, ... in it, and what it shows where the fault is this.

    What stands under `exits`, `prints` and `lacks` is seen in the laboratory, with curl and OpenSSL of Debian.
    """

    line: str
    shows: str = ""  # whole sentences
    exits: tuple[int, ...] = ()  # one of these is the exit status
    prints: tuple[str, ...] = ()  # one of these is in the output
    lacks: str = ""  # and this is not


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The commands for one reason: PowerShell on the site system, and a POSIX shell beside it."""

    powershell: tuple[Command, ...]
    posix: tuple[Command, ...]


def filled(command: Command, target: Target = EXAMPLE_TARGET, proxy: str = EXAMPLE_PROXY) -> str:
    """The command line for this target, through this proxy."""
    parts = urlsplit(proxy)
    facts = {
        "url": target.url,
        "host": target.host,
        "port": str(target.port),
        "proxy": proxy,
        "proxy_host": parts.hostname or "",
        "proxy_port": str(parts.port or ""),
        "resolver": EXAMPLE_RESOLVER,
    }
    # Not str.format: braces are PowerShell's and curl's own as well.
    return re.sub(rf"(?<!%)\{{({'|'.join(facts)})\}}", lambda name: facts[name[1]], command.line)


# ---------------------------------------------------------------- PowerShell

# Site system roles act as Local System: another account has another proxy, other credentials and another trust.
AS_LOCAL_SYSTEM: Final = (
    Command(
        "psexec -s -i powershell.exe",
        "PsExec of Sysinternals, from an elevated prompt, opens a PowerShell that is Local System: `whoami` says "
        "`nt authority\\system`. Run what follows in it.",
    ),
    Command("netsh winhttp show proxy", "The proxy of WinHTTP, for the whole machine. `Direct access` means none."),
    Command(
        r"Get-ItemProperty 'HKCU:\Software\Microsoft\Windows\CurrentVersion\Internet Settings' |" + "\n"
        "  Format-List ProxyEnable, ProxyServer, ProxyOverride, AutoConfigURL",
        "The WinINET proxy of the account that asks, here Local System's; it need not be WinHTTP's.",
    ),
)

_LOOK_UP: Final = "Resolve-DnsName -Name '{host}' -DnsOnly"
_SERVERS: Final = Command(
    "Get-DnsClientServerAddress | Format-Table InterfaceAlias, AddressFamily, ServerAddresses",
    "The DNS servers that this machine asks.",
)
_HOSTS_FILE: Final = Command(
    r"Select-String -SimpleMatch '{host}' -Path $env:SystemRoot\System32\drivers\etc\hosts",
    "A line here stands in for the DNS.",
)
_PORT: Final = "Test-NetConnection -ComputerName '{host}' -Port {port} -InformationLevel Detailed"
_OUTBOUND_RULES: Final = Command(
    "Get-NetFirewallRule -Enabled True -Direction Outbound -Action Block | Format-Table DisplayName, Profile",
    "Rules of this machine's own firewall that block what goes out.",
)
_WEB: Final = (
    "[Net.ServicePointManager]::SecurityProtocol = 'Tls12'\nInvoke-WebRequest -UseBasicParsing -TimeoutSec 30 '{url}'"
)
_WEB_BY_PROXY: Final = f"{_WEB} `\n  -Proxy '{{proxy}}' -ProxyUseDefaultCredentials"
_PROXY_PORT: Final = Command(
    "Test-NetConnection -ComputerName '{proxy_host}' -Port {proxy_port} -InformationLevel Detailed",
    "`TcpTestSucceeded : False` where the proxy does not take the connection.",
)
_CERTIFICATE: Final = r"""$tcp = New-Object Net.Sockets.TcpClient('{host}', {port})
$anything = { $true } -as [Net.Security.RemoteCertificateValidationCallback]
$tls = New-Object Net.Security.SslStream($tcp.GetStream(), $false, $anything)
$tls.AuthenticateAsClient('{host}', $null, 'Tls12', $false)
$seen = [Security.Cryptography.X509Certificates.X509Certificate2] $tls.RemoteCertificate
$seen | Format-List Subject, DnsNameList, Issuer, NotBefore, NotAfter, Thumbprint
[IO.File]::WriteAllBytes("$env:TEMP\seen.cer", $seen.RawData)
$tcp.Close()"""
_DIRECT_ONLY: Final = "This goes direct; through a proxy, `explain` shows the chain."
_VERIFY: Final = r'certutil -verify -urlfetch "$env:TEMP\seen.cer"'
_ANY_PROXY: Final = "Without `-Proxy`, this goes by the WinINET proxy of the account that runs it, if it has one."

# ---------------------------------------------------------------- POSIX shell

_CURL: Final = "curl -sSv --http1.1 -o /dev/null --max-time 10 '{url}'"
_TIMED: Final = (
    "curl -sS --http1.1 -o /dev/null --max-time 10 \\\n"
    r"  -w 'name %{time_namelookup} connection %{time_connect} TLS %{time_appconnect} answer %{time_starttransfer}\n'"
    " \\\n  '{url}'"
)
_PROXIED: Final = (
    "curl -sSv --http1.1 -o /dev/null --max-time 10 --proxy '{proxy}' \\\n"
    r"  -w 'CONNECT %{http_connect}\n' '{url}'"
)
_DIG: Final = "dig +time=3 +tries=1 '{host}'"
_CHAIN: Final = (
    "openssl s_client -connect '{host}:{port}' -servername '{host}' \\\n"
    "  -verify_hostname '{host}' -showcerts </dev/null"
)
_READS_CHAIN: Final = "The lines that begin with `i:` name who issued each certificate of the chain."

# What sends a command through a proxy, right behind its name.
THROUGH_PROXY: Final[Mapping[str, str]] = MappingProxyType(
    {"curl": "--proxy '{proxy}'", "openssl s_client": "-proxy '{proxy_host}:{proxy_port}'"}
)

# ---------------------------------------------------------------- both, by reason

WALK: Final = Confirmation(
    powershell=(
        Command(_LOOK_UP, "The name has addresses."),
        Command(_PORT, "`TcpTestSucceeded : True`. Through a proxy, ask for the proxy's name and port instead."),
        Command(_WEB, f"Any answer of the service will do, an error status such as 403 or 404 too. {_ANY_PROXY}"),
    ),
    posix=(
        Command(
            _TIMED,
            "The times at which the phases ended, in seconds; the first 0 tells where it failed. A connection shows "
            "only once TLS has ended as well: `-v` tells them apart. For an http target there is no TLS.",
            exits=(0,),
        ),
        Command(_CHAIN, _READS_CHAIN, exits=(0,), prints=("Verify return code: 0 (ok)",)),
    ),
)  # the way of a probe and what is seen where all is well: for when there is no one reason

CERTIFICATE: Final = Confirmation(
    powershell=(
        Command(_CERTIFICATE, f"Whose certificate it is, who issued it, and until when it is valid. {_DIRECT_ONLY}"),
        Command(_VERIFY, "The same for the whole chain, and whether Windows trusts it."),
    ),
    posix=(
        Command(
            "openssl s_client -connect '{host}:{port}' -servername '{host}' </dev/null 2>/dev/null |\n"
            "  openssl x509 -noout -subject -issuer -dates",
            "Whose certificate it is, who issued it, and until when it is valid.",
            exits=(0,),
            prints=("notAfter=",),
        ),
        Command(_CHAIN, f"The whole chain. {_READS_CHAIN}"),
    ),
)  # what a server presents, whether or not anything is wrong with it

CONFIRM: Final[Mapping[Reason, Confirmation]] = MappingProxyType(
    {
        Reason.DNS_NOT_FOUND: Confirmation(
            powershell=(
                Command(_LOOK_UP, "`DNS name does not exist`."),
                Command(
                    f"{_LOOK_UP} -Server {{resolver}}",
                    "The same question to a resolver outside (put in its address): if it knows the name, your own DNS "
                    "hides it.",
                ),
                _SERVERS,
                _HOSTS_FILE,
            ),
            posix=(
                Command(_CURL, exits=(6,), prints=("Could not resolve host",)),
                Command(
                    _DIG,
                    "`status: NOERROR` with `ANSWER: 0` says that the name exists without an address, which comes to "
                    "the same. `@ADDRESS` behind it asks another resolver.",
                    exits=(0,),
                    prints=("status: NXDOMAIN",),
                ),
            ),
        ),
        Reason.DNS_TIMEOUT: Confirmation(
            powershell=(
                Command(_LOOK_UP, "`This operation returned because the timeout period expired`."),
                _SERVERS,
                Command(
                    "Test-NetConnection -ComputerName {resolver} -Port 53",
                    "Whether a DNS server of that list (put in its address) takes a connection by TCP; most questions "
                    "go by UDP.",
                ),
            ),
            posix=(
                Command(
                    _TIMED, "Not even the name was finished when time was up.", exits=(28,), prints=("name 0.000000",)
                ),
                Command(_DIG, exits=(9,), prints=("no servers could be reached",)),
            ),
        ),
        Reason.DNS_ERROR: Confirmation(
            powershell=(
                Command(_LOOK_UP, "`DNS server failure`, or `DNS operation refused`."),
                Command(f"{_LOOK_UP} -Server {{resolver}}", "The same question to each server of the list below."),
                _SERVERS,
            ),
            posix=(
                Command(
                    _DIG,
                    "curl cannot tell this from a name that does not exist.",
                    exits=(0,),
                    prints=("status: SERVFAIL", "status: REFUSED"),
                ),
            ),
        ),
        Reason.CONNECT_TIMEOUT: Confirmation(
            powershell=(
                Command(_PORT, "`TcpTestSucceeded : False`, after a long wait."),
                _OUTBOUND_RULES,
            ),
            posix=(
                Command(
                    _CURL,
                    "It tries an address until time is up, and never comes to TLS.",
                    exits=(28,),
                    prints=("Trying ",),
                    lacks="Client hello",
                ),
            ),
        ),
        Reason.CONNECT_REFUSED: Confirmation(
            powershell=(
                Command(_PORT, "`TcpTestSucceeded : False`. Compare `RemoteAddress` with what the name resolves to."),
                Command(f"{_LOOK_UP} -Server {{resolver}}", "What a resolver outside says (put in its address)."),
                _HOSTS_FILE,
            ),
            posix=(Command(_CURL, exits=(7,), prints=("Connection refused",)),),
        ),
        Reason.CONNECT_UNREACHABLE: Confirmation(
            powershell=(
                Command(_PORT, "`TcpTestSucceeded : False`. `RemoteAddress` tells whether it was IPv4 or IPv6."),
                Command(
                    "Get-NetRoute -DestinationPrefix '0.0.0.0/0', '::/0' | Format-Table DestinationPrefix, NextHop",
                    "The default routes, by IPv4 and IPv6. Without one, only addresses nearby can be reached.",
                ),
                _OUTBOUND_RULES,
            ),
            posix=(Command(_CURL, exits=(7,), prints=("No route to host", "Network is unreachable")),),
        ),
        Reason.PROXY_UNREACHABLE: Confirmation(
            powershell=(
                Command("Resolve-DnsName -Name '{proxy_host}'", "The proxy's name has addresses, or has none."),
                _PROXY_PORT,
            ),
            posix=(
                Command(
                    _PROXIED,
                    "5: the proxy's name does not resolve; 7: the connection is refused, or there is no way; 28: "
                    "silence.",
                    exits=(5, 7, 28),
                    prints=("CONNECT 000",),
                ),
            ),
        ),
        Reason.PROXY_AUTH_REQUIRED: Confirmation(
            powershell=(
                Command(
                    _WEB_BY_PROXY,
                    "Signs in as the account that runs it: as Local System, with the computer account. "
                    "`(407) Proxy Authentication Required` says that the proxy does not let that one through. With "
                    "`-ProxyCredential (Get-Credential)` in place of `-ProxyUseDefaultCredentials` it signs in with "
                    "the proxy server account.",
                ),
                Command(
                    "curl.exe -v -o NUL --proxy '{proxy}' --proxy-negotiate --proxy-user : '{url}'",
                    "The same by curl of Windows. The lines `Proxy-Authenticate` tell which ways to sign in the proxy "
                    "offers.",
                ),
            ),
            posix=(
                Command(
                    _PROXIED,
                    "The lines `Proxy-Authenticate` tell which ways to sign in the proxy offers. With "
                    "`--proxy-anyauth --proxy-user NAME`, curl asks for the password and signs in.",
                    exits=(56,),
                    prints=("CONNECT 407",),
                ),
            ),
        ),
        Reason.PROXY_DENIED: Confirmation(
            powershell=(
                Command(_WEB_BY_PROXY, "`The remote server returned an error: (403) Forbidden`, from the proxy."),
            ),
            posix=(
                Command(
                    _PROXIED,
                    "The headers in front of it often name the product, and the rule. For an http target there is no "
                    "CONNECT: the proxy answers with a page of its own.",
                    exits=(56,),
                    prints=("CONNECT 403", "CONNECT 302", "CONNECT 307", "CONNECT 451"),
                ),
            ),
        ),
        Reason.PROXY_ERROR: Confirmation(
            powershell=(
                _PROXY_PORT,
                Command(
                    _WEB_BY_PROXY, "An error such as (502), (503) or (504), from the proxy, or a broken connection."
                ),
            ),
            posix=(
                Command(
                    _PROXIED,
                    "000: it broke off, or kept silent. Run the tests for names and connections on the proxy itself, "
                    "which resolves the name and connects.",
                    exits=(28, 52, 56),
                    prints=("CONNECT 500", "CONNECT 502", "CONNECT 503", "CONNECT 504", "CONNECT 000"),
                ),
            ),
        ),
        Reason.TLS_TIMEOUT: Confirmation(
            powershell=(
                Command(_PORT, "`TcpTestSucceeded : True`: the connection opens all the same."),
                Command(
                    "ping -f -l 1472 '{host}'",
                    "`Packet needs to be fragmented but DF set` says that the way takes smaller packets only. No "
                    "answer proves nothing: many hosts and firewalls ignore pings.",
                ),
            ),
            posix=(
                Command(
                    _CURL,
                    "The connection opened, the first message of TLS went out, and no answer came before time was up.",
                    exits=(28,),
                    prints=("Client hello",),
                    lacks="Server hello",
                ),
            ),
        ),
        Reason.TLS_UNTRUSTED: Confirmation(
            powershell=(
                Command(
                    _CERTIFICATE,
                    f"`Issuer` tells who issued the certificate: a public authority, or your own. {_DIRECT_ONLY}",
                ),
                Command(
                    _VERIFY,
                    "Builds the chain as Windows does, fetches what is missing, and asks for revocation; the last "
                    "lines tell what does not verify.",
                ),
                Command(
                    r"Get-ChildItem Cert:\LocalMachine\Root | Sort-Object Subject | Format-Table Subject, NotAfter",
                    "The roots that the whole machine trusts, Local System too.",
                ),
            ),
            posix=(
                Command(_CURL, exits=(60,), prints=("SSL certificate problem",)),
                Command(
                    _CHAIN,
                    f"{_READS_CHAIN} The last of them is not trusted here.",
                    exits=(0,),
                    prints=(
                        "verify error:num=18",
                        "verify error:num=19",
                        "verify error:num=20",
                        "verify error:num=21",
                    ),
                ),
            ),
        ),
        Reason.TLS_EXPIRED: Confirmation(
            powershell=(
                Command("w32tm /query /status", "Where this machine has its time from, and when it was last set."),
                Command(_CERTIFICATE, "`NotBefore` and `NotAfter` of the server's own certificate."),
                Command(_VERIFY, "The same for the whole chain."),
            ),
            posix=(
                Command("date -u", "The clock: compare it with a good one."),
                Command(_CURL, exits=(60,), prints=("certificate has expired", "certificate is not yet valid")),
                Command(
                    _CHAIN,
                    f"The line before it names the certificate. {_READS_CHAIN}",
                    exits=(0,),
                    prints=("verify error:num=10", "verify error:num=9"),
                ),
            ),
        ),
        Reason.TLS_HOSTNAME_MISMATCH: Confirmation(
            powershell=(
                Command(_CERTIFICATE, "`DnsNameList` has the names that the certificate is for."),
                Command(_LOOK_UP, "The addresses: are they the service's own?"),
                _HOSTS_FILE,
            ),
            posix=(
                Command(_CURL, exits=(60,), prints=("no alternative certificate subject name matches",)),
                Command(_CHAIN, "`s:` names whose certificate it is.", exits=(0,), prints=("verify error:num=62",)),
            ),
        ),
        Reason.TLS_HANDSHAKE: Confirmation(
            powershell=(
                Command(_CERTIFICATE, "An exception at `AuthenticateAsClient`, since no handshake comes to an end."),
                Command(
                    "Get-TlsCipherSuite | Format-Table Name",
                    "The cipher suites that Windows offers (Windows Server 2016 and newer). One that the service takes "
                    "must be among them.",
                ),
            ),
            posix=(
                Command(
                    _CURL,
                    "56 is a server that asks for a client's certificate, by TLS 1.3.",
                    exits=(35, 56),
                ),
                Command(
                    "openssl s_client -connect '{host}:{port}' -servername '{host}' -tls1_2 </dev/null",
                    "Where `-tls1_3` in place of `-tls1_2` succeeds, only the older version is refused.",
                    exits=(1,),
                ),
            ),
        ),
        Reason.HTTP_TIMEOUT: Confirmation(
            powershell=(Command(_WEB, f"`The operation has timed out`. {_ANY_PROXY}"),),
            posix=(
                Command(
                    _TIMED,
                    "All went well until the request was sent.",
                    exits=(28,),
                    prints=("answer 0.000000",),
                    lacks="TLS 0.000000",
                ),
            ),
        ),
        Reason.HTTP_RESET: Confirmation(
            powershell=(Command(_WEB, f"`The underlying connection was closed`. {_ANY_PROXY}"),),
            posix=(
                Command(
                    _CURL,
                    "52: closed in order; 56: cut. The request stands before it, as lines that begin with `>`.",
                    exits=(52, 56),
                    prints=("Empty reply from server", "Connection reset by peer"),
                ),
            ),
        ),
        Reason.HTTP_PROTOCOL: Confirmation(
            powershell=(Command(_WEB, f"`The server committed a protocol violation`. {_ANY_PROXY}"),),
            posix=(
                Command(
                    _CURL,
                    "1: no HTTP at all; 56: headers without end. With `--http0.9 -o -` curl shows what the other side "
                    "says.",
                    exits=(1, 56),
                    prints=("Received HTTP/0.9", "Too large response headers"),
                ),
            ),
        ),
        Reason.HTTP_STATUS: Confirmation(
            powershell=(Command(_WEB, f"`The remote server returned an error`, with the status. {_ANY_PROXY}"),),
            posix=(
                Command(
                    _CURL,
                    "The headers behind the status often name who answered.",
                    exits=(0,),
                    prints=tuple(f"HTTP/1.1 {status}" for status in (407, 408, 426, 502, 598, 599)),
                ),
            ),
        ),
        Reason.HTTP_BLOCKED: Confirmation(
            powershell=(
                Command(
                    "curl.exe -sSi --max-time 10 '{url}'", "The page itself, with its headers, by curl of Windows."
                ),
            ),
            posix=(
                Command(
                    "curl -sSi --http1.1 --max-time 10 '{url}'",
                    "Or a redirect (`Location`) or a page that is not the service's: read what it says.",
                    exits=(0,),
                    prints=("HTTP/1.1 451", "HTTP/1.1 511", "Location: http", "<html"),
                ),
            ),
        ),
        Reason.INTERNAL_ERROR: Confirmation(
            powershell=(
                Command(
                    "Get-Process -Name python* | Format-Table Id, HandleCount, WorkingSet64",
                    "The exporter is a process of Python: how many handles and how much memory it has.",
                ),
            ),
            posix=(
                Command(
                    "curl -sS http://localhost:10965/metrics | grep -E '^(process_(open|max)_fds|"
                    "configmgr_exporter_probes_in_flight)'",
                    "How many files are open and how many may be (on Linux), and how many probes are under way.",
                ),
            ),
        ),
    }
)
