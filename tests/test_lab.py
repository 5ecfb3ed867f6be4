"""The laboratory is what it says: every other test that uses it rests on these."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest

from tests.lab import (
    BLOCK_PAGE_HOST,
    DEAD,
    EXTRA_HOSTS,
    NAME_SERVER,
    PROXY_HOST,
    Denial,
    Flaw,
    Lab,
    Port,
    catalogue_hosts,
)
from tests.lab.network import Network
from tests.lab.pki import Shape, authority, der, fields, leaf, rsa_key
from tests.lab.scripts import (
    HANG_UP,
    HOLD,
    READ,
    READ_HEAD,
    RESET,
    Step,
    asked_for,
    drip,
    relay,
    repeat,
    reply,
    send,
    sleep,
    tls,
    when_said,
)
from tests.running import in_a_quiet_moment

pytestmark = pytest.mark.lab

HOST = "portal.corp.example"
OTHER = "sup1.corp.example"
SIX = "six.corp.example"
DUAL = "dual.corp.example"
TIME_OUT = 28  # of curl's statuses
ROOT = Path(__file__).parents[1]

# What a client sees of one attempt to connect: "connected", "timeout", or the name of the error.
REACH = """
import errno, socket, sys
host, port, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
names = {value: name for name, value in vars(socket).items() if name.startswith("EAI_")}
try:
    socket.create_connection((host, port), timeout=patience).close()
except TimeoutError:
    print("timeout")
except socket.gaierror as error:
    print(names[error.errno])
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("connected")
"""

# Half a TLS handshake: the first bytes of what a client says, and no more until its own input ends.
HALF = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 443))
connection.sendall(bytes.fromhex("1603010200010001fc0303"))
print("begun", flush=True)
sys.stdin.read()
"""


def reach(lab: Lab, host: str, port: int = 443, patience: float = 0.4) -> str:
    return lab.run([sys.executable, "-I", "-S", "-c", REACH, host, str(port), str(patience)]).stdout.strip()


def curl(lab: Lab, url: str, *options: str) -> tuple[int, str]:
    """Give curl's exit status (0: all well; 60: the certificate does not verify) and the status of the last answer."""
    told = "%{stderr}%{response_code}"
    done = lab.run(
        ["curl", "--silent", "--max-time", "20", "--write-out", told, "--output", "/dev/null", *options, url]
    )
    return done.returncode, done.stderr


def lookup(lab: Lab, host: str) -> list[str]:
    return lab.run(["getent", "ahosts", host]).stdout.split()[:1]


def eventually(holds: Callable[[], bool], patience: float = 60.0) -> bool:
    """Whether it holds within the time that a busy machine may take."""
    deadline = time.monotonic() + patience
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


# ---------------------------------------------------------------- the world as it should be


@pytest.mark.parametrize("url", ["http://{}/", "https://{}/", "http://{}:8530/", "https://{}:8531/"])
def test_every_host_answers_on_the_real_ports_with_a_certificate_that_verifies(lab: Lab, url: str) -> None:
    hosts = sorted(catalogue_hosts() | EXTRA_HOSTS)
    config = "".join(f'url = "{url.format(host)}"\noutput = "/dev/null"\n' for host in hosts)
    done = lab.run(
        ["curl", "--silent", "--parallel", "--write-out", "%{response_code}\n", "--config", "-"], input=config
    )
    assert done.stdout.split() == ["200"] * len(hosts)
    assert done.returncode == 0


@pytest.mark.parametrize("context", ["ssl.create_default_context()", "truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)"])
def test_python_trusts_the_laboratory_by_its_environment(lab: Lab, context: str) -> None:
    fetch = (
        f"import ssl, truststore, urllib.request; print(urllib.request.urlopen('https://{HOST}/', context={context}))"
    )
    assert lab.run([sys.executable, "-c", fetch]).returncode == 0


def test_hosts_have_addresses_of_their_own(lab: Lab) -> None:
    addresses = [address for found in lab.addresses_of.values() for address in found]
    assert len(addresses) == len(set(addresses)) > len(catalogue_hosts())
    assert lookup(lab, HOST) == [lab.address_of[HOST]]


def test_a_host_can_have_ipv6_only_or_both(lab: Lab) -> None:
    both = lab.run(["getent", "ahosts", DUAL]).stdout
    assert all(address in both for address in lab.addresses_of[DUAL])
    assert ":" in lab.address_of[SIX]
    assert lookup(lab, SIX) == [lab.address_of[SIX]]
    assert curl(lab, f"https://{SIX}/") == (0, "200")


def test_unknown_names_do_not_exist(lab: Lab) -> None:
    assert reach(lab, "unknown.corp.example") == "EAI_NONAME"


def test_unknown_names_are_not_served_at_known_addresses(lab: Lab) -> None:
    here = ["--connect-to", f"::{lab.address_of[HOST]}:"]
    assert curl(lab, "http://unknown.corp.example/", *here) == (0, "421")
    assert curl(lab, "https://unknown.corp.example/", *here) == (35, "000")


@pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8::1"])
def test_nothing_outside_is_reachable(lab: Lab, address: str) -> None:
    assert reach(lab, address) == "ENETUNREACH"


def test_programs_inside_find_nothing_of_ours(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
    assert curl(lab, f"https://{HOST}/") == (0, "200")
    assert "HTTPS_PROXY" not in lab.run(["env"]).stdout


# ---------------------------------------------------------------- the proxy


@pytest.mark.parametrize("url", [f"http://{HOST}/", f"https://{HOST}/", f"https://{OTHER}:8531/", f"https://{SIX}/"])
def test_the_proxy_leads_on(lab: Lab, url: str) -> None:
    lab.clear_requests()
    assert curl(lab, url, "--proxy", lab.proxy_url) == (0, "200")
    assert [request.via_proxy for request in lab.requests()] == [True]


def test_the_proxy_opens_tunnels_to_tls_ports_only(lab: Lab) -> None:
    status, _ = curl(lab, f"http://{HOST}/", "--proxytunnel", "--proxy", lab.proxy_url)
    assert status == 56
    assert lab.proxy_log()[-1].status == 403


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_authenticating_proxy_wants_its_password(lab: Lab, scheme: str) -> None:
    proxy = ["--proxy", lab.auth_proxy_url]
    username, password = lab.proxy_credentials
    told = "%{stderr}%{http_connect}%{response_code}"
    without = curl(lab, f"{scheme}://{HOST}/", *proxy, "--write-out", told)
    wrong = curl(lab, f"{scheme}://{HOST}/", *proxy, "--proxy-user", f"{username}:wrong", "--write-out", told)
    right = curl(lab, f"{scheme}://{HOST}/", *proxy, "--proxy-user", f"{username}:{password}")
    assert without == wrong == ((0, "000407") if scheme == "http" else (56, "407000"))
    assert right == (0, "200")


def test_the_proxy_tells_of_nobody_who_asked_for_nothing(lab: Lab) -> None:
    proxy = urlsplit(lab.proxy_url)
    lab.run(["bash", "-c", f"exec 3<>/dev/tcp/{proxy.hostname}/{proxy.port}"], check=True)
    asked = f"http://{HOST}/after-nothing"
    assert curl(lab, asked, "--proxy", lab.proxy_url) == (0, "200")
    assert eventually(lambda: ("GET", asked) in [(seen.method, seen.uri) for seen in lab.proxy_log()])
    assert "-" not in [seen.method for seen in lab.proxy_log()]


def test_the_proxy_tells_what_it_did_and_for_whom(lab: Lab) -> None:
    user = lab.proxy_credentials
    curl(lab, f"https://{HOST}/", "--proxy", lab.auth_proxy_url, "--proxy-user", f"{user.username}:{user.password}")
    told = (user.username, "CONNECT", f"{HOST}:443", 200)
    assert eventually(lambda: told in [(seen.user, seen.method, seen.uri, seen.status) for seen in lab.proxy_log()])


@pytest.mark.parametrize("denial", Denial)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_proxy_denies_in_the_way_that_is_asked_for(lab: Lab, denial: Denial, scheme: str) -> None:
    asked = (f"{scheme}://{HOST}/", "--proxy", lab.proxy_url, "--include", "--suppress-connect-headers")
    with lab.proxy_denies(HOST, denial):
        done = lab.run(["curl", "--silent", "--verbose", *asked])
        assert curl(lab, f"https://{OTHER}/", "--proxy", lab.proxy_url) == (0, "200")
        assert curl(lab, f"{scheme}://{HOST}/") == (0, "200")
    said = {
        Denial.PAGE: "X-Squid-Error: ERR_ACCESS_DENIED",
        Denial.CUSTOM_PAGE: "X-Squid-Error: ERR_CUSTOM",
        Denial.REDIRECT: f"Location: http://{BLOCK_PAGE_HOST}/",
        Denial.RESET: "Connection reset by peer",
    }
    assert said[denial] in done.stderr
    assert curl(lab, f"{scheme}://{HOST}/", "--proxy", lab.proxy_url) == (0, "200")


def test_the_inspecting_proxy_shows_certificates_of_its_own_authority(lab: Lab) -> None:
    asked = (f"https://{HOST}/", "--proxy", lab.inspecting_proxy_url)
    trusting = (*asked, "--cacert", str(lab.inspection_ca_file))
    chain = lab.run(["curl", "--silent", "--output", "/dev/null", "--write-out", "%{certs}", *trusting]).stdout
    assert curl(lab, *asked) == (60, "000")
    assert curl(lab, *trusting) == (0, "200")
    assert "Issuer:CN = Laboratory Inspection CA" in chain


def test_the_inspecting_proxy_can_want_its_password(lab: Lab) -> None:
    asked = (f"https://{HOST}/", "--proxy", lab.inspecting_auth_proxy_url, "--cacert", str(lab.inspection_ca_file))
    assert curl(lab, *asked) == (56, "000")
    assert curl(lab, *asked, "--proxy-user", ":".join(lab.proxy_credentials)) == (0, "200")


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("host", [HOST, SIX])
def test_drop_is_silence(lab: Lab, host: str) -> None:
    with lab.drop(host):
        assert reach(lab, host) == "timeout"
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, host) == "connected"


def test_a_single_packet_can_be_lost(lab: Lab) -> None:
    with lab.drop_one(HOST):
        assert reach(lab, HOST) == "timeout"
        assert reach(lab, HOST) == "connected"


def test_a_single_connection_can_be_refused(lab: Lab) -> None:
    with lab.reset_one(HOST):
        assert reach(lab, HOST) == "ECONNREFUSED"
        assert reach(lab, HOST) == "connected"


@pytest.mark.parametrize("host", [HOST, SIX])
def test_reset_is_a_refusal(lab: Lab, host: str) -> None:
    with lab.reset(host):
        assert reach(lab, host) == "ECONNREFUSED"
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, host) == "connected"


@pytest.mark.parametrize(("host", "seen"), [(HOST, "EHOSTUNREACH"), (SIX, "EACCES")])
def test_prohibit_is_told_by_icmp(lab: Lab, host: str, seen: str) -> None:
    with lab.prohibit(host):
        assert reach(lab, host, patience=3) == seen
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, host) == "connected"


def test_no_route_is_told_by_icmp(lab: Lab) -> None:
    with lab.no_route(HOST):
        assert reach(lab, HOST) == "ENETUNREACH"
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, HOST) == "connected"


def test_ipv6_can_be_dead_alone(lab: Lab) -> None:
    with lab.drop_ipv6(DUAL):
        seen = {":" in address: reach(lab, address) for address in lab.addresses_of[DUAL]}
    assert seen == {False: "connected", True: "timeout"}


def test_a_fault_can_hold_for_one_port(lab: Lab) -> None:
    with lab.drop(HOST, 443), lab.reset(HOST, 8531):
        seen = [reach(lab, HOST, port) for port in (80, 443, 8530, 8531)]
    assert seen == ["connected", "timeout", "connected", "ECONNREFUSED"]


def test_a_fault_holds_for_every_address_of_a_host(lab: Lab) -> None:
    with lab.reset(DUAL):
        assert [reach(lab, address) for address in lab.addresses_of[DUAL]] == ["ECONNREFUSED"] * 2


def test_the_proxy_can_fail_like_any_host(lab: Lab) -> None:
    with lab.reset("proxy.corp.example", 3128):
        assert curl(lab, f"https://{HOST}/", "--proxy", lab.proxy_url) == (7, "000")
    assert curl(lab, f"https://{HOST}/", "--proxy", lab.proxy_url) == (0, "200")


def test_a_missing_name_does_not_exist(lab: Lab) -> None:
    with lab.dns_missing(HOST):
        assert reach(lab, HOST) == "EAI_NONAME"
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, HOST) == "connected"


def test_servfail_is_a_temporary_failure_of_that_name_only(lab: Lab) -> None:
    with lab.dns_servfail("manage.microsoft.com"):
        assert reach(lab, "manage.microsoft.com") == "EAI_AGAIN"
        assert reach(lab, "gateway.configmgr.manage.microsoft.com") == "connected"
    assert reach(lab, "manage.microsoft.com") == "connected"


@pytest.mark.parametrize(("fault", "seen"), [(Lab.dns_refused, "EAI_AGAIN"), (Lab.dns_without_address, "EAI_NODATA")])
def test_a_name_can_be_answered_with_a_fault(
    lab: Lab, fault: Callable[[Lab, str], AbstractContextManager[None]], seen: str
) -> None:
    with fault(lab, HOST):
        assert reach(lab, HOST) == seen
        assert reach(lab, OTHER) == "connected"
    assert reach(lab, HOST) == "connected"


def test_faults_of_names_can_overlap(lab: Lab) -> None:
    with lab.dns_missing(HOST), lab.dns_servfail(OTHER), lab.dns_missing(SIX):
        assert [reach(lab, host) for host in (HOST, OTHER, SIX)] == ["EAI_NONAME", "EAI_AGAIN", "EAI_NONAME"]
    assert [reach(lab, host) for host in (HOST, OTHER, SIX)] == ["connected"] * 3


def test_the_proxy_sees_faults_of_names_soon(lab: Lab) -> None:
    """It would remember a name for hours, and a fault for a minute."""

    def status() -> int:
        return curl(lab, f"https://{HOST}/", "--proxy", lab.proxy_url)[0]

    assert status() == 0
    with lab.dns_missing(HOST):
        assert eventually(lambda: status() == 56)
    assert eventually(lambda: status() == 0, 30)


@pytest.mark.parametrize("of", [None, HOST])
def test_silent_dns_answers_nobody(lab: Lab, of: str | None) -> None:
    with lab.dns_silent(of):
        asked = lab.popen(["getent", "ahosts", HOST], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            asked.wait(0.5)
        asked.kill()
        asked.wait()
        assert of is None or reach(lab, OTHER) == "connected"
    assert reach(lab, HOST) == "connected"


def looked_up(lab: Lab, host: str, etc: dict[str, str] | None = None) -> list[str]:
    """Every address that the system's resolver gives, in its order."""
    lines = lab.run(["getent", "ahosts", host], etc=etc).stdout.splitlines()
    return list(dict.fromkeys(line.split()[0] for line in lines))


def test_a_name_can_have_any_addresses_under_aliases(lab: Lab) -> None:
    answer = reply(0, "203.0.113.1", "2001:db8::1", "203.0.113.2", aliases=["a.cdn.example", "b.cdn.example"])
    with lab.dns_answers(HOST, answer):
        assert set(looked_up(lab, HOST)) == {"203.0.113.1", "203.0.113.2", "2001:db8::1"}
        assert "a.cdn.example." in lab.run(["dig", "+short", HOST]).stdout
        assert looked_up(lab, f"anything.{HOST}") == looked_up(lab, HOST)


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_one_kind_of_address_can_stay_unanswered(lab: Lab, kind: Literal["A", "AAAA"]) -> None:
    other = {"A": "AAAA", "AAAA": "A"}[kind]
    with lab.dns_silent_for(DUAL, kind):
        asked = ["dig", "+short", "+tries=1", "+timeout=1", DUAL]
        assert "timed out" in lab.run([*asked, kind]).stdout
        assert lab.run([*asked, other]).stdout.strip() in lab.addresses_of[DUAL]


def test_a_name_can_fail_late(lab: Lab) -> None:
    with lab.dns_answers(HOST, sleep(0.3), asked_for("A", reply(2)), asked_for("AAAA", reply(3))):
        seen = lab.run(["dig", HOST]).stdout
        assert "SERVFAIL" in seen
        assert int(seen.partition("Query time: ")[2].split()[0]) > 200


def test_a_program_can_have_a_resolver_and_hosts_of_its_own(lab: Lab) -> None:
    with lab.name_server(reply(0, "203.0.113.9")) as server:
        etc = {"resolv.conf": f"nameserver {server}\n", "hosts": f"203.0.113.8 {OTHER}\n"}
        assert looked_up(lab, HOST, etc) == ["203.0.113.9"]
        assert looked_up(lab, OTHER, etc) == ["203.0.113.8"]
        assert looked_up(lab, HOST) == [lab.address_of[HOST]]


def test_a_search_list_can_lead_elsewhere(lab: Lab) -> None:
    with lab.dns_answers(OTHER, reply(0, lab.address_of[OTHER])):
        etc = {"resolv.conf": f"search {OTHER}\nnameserver {NAME_SERVER}\n"}
        assert looked_up(lab, "missing.public.example", etc) == [lab.address_of[OTHER]]
        assert looked_up(lab, "missing.public.example.", etc) == []


@pytest.mark.parametrize("network", DEAD)
def test_packets_to_dead_addresses_vanish(lab: Lab, network: str) -> None:
    assert reach(lab, network.partition("/")[0].removesuffix("0") + "1") == "timeout"


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (Flaw.EXPIRED, "certificate has expired"),
        (Flaw.EXPIRED_INTERMEDIATE, "certificate has expired"),
        (Flaw.NOT_YET_VALID, "certificate is not yet valid"),
        (Flaw.WRONG_NAME, "no alternative certificate subject name matches"),
        (Flaw.UNKNOWN_ROOT, "unable to get local issuer certificate"),
        (Flaw.SELF_SIGNED, "self-signed certificate"),
        (Flaw.MISSING_INTERMEDIATE, "unable to get local issuer certificate"),
    ],
)
def test_a_flawed_certificate_has_that_flaw(lab: Lab, flaw: Flaw, words: str) -> None:
    with lab.certificate(HOST, flaw):
        status, error = curl(lab, f"https://{HOST}/", "--show-error")
        assert curl(lab, f"https://{OTHER}/") == (0, "200")
    assert (status, words in error) == (60, True), error
    assert curl(lab, f"https://{HOST}/") == (0, "200")


def test_a_host_can_have_a_server_of_its_own(lab: Lab) -> None:
    with lab.serve(HOST, "location /down { return 503; } location / { return 302 https://block.corp.example/; }"):
        seen = [curl(lab, url)[1] for url in (f"https://{HOST}/down", f"http://{HOST}/", f"https://{OTHER}/")]
    assert seen == ["503", "302", "200"]
    assert curl(lab, f"https://{HOST}/down") == (0, "200")


def test_a_handshake_that_stands_still_keeps_no_server_from_changing(lab: Lab) -> None:
    with lab.popen(
        [sys.executable, "-I", "-S", "-c", HALF, HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as standing:
        assert standing.stdout is not None
        assert standing.stdout.readline() == b"begun\n"
        with lab.serve(OTHER, "return 503;"):
            assert curl(lab, f"https://{OTHER}/") == (0, "503")


def test_a_snippet_that_nginx_does_not_take_changes_nothing(lab: Lab) -> None:
    with pytest.raises(ValueError, match="unknown directive"), lab.serve(HOST, "no_such_directive on;"):
        pass
    with lab.serve(OTHER, "return 503;"):
        assert curl(lab, f"https://{HOST}/") == (0, "200")


def test_a_host_that_the_lab_does_not_have_is_an_error(lab: Lab) -> None:
    faults: list[Callable[[str], AbstractContextManager[None]]] = [lab.drop, lab.dns_missing, lab.dns_servfail]
    faults += [lab.proxy_denies, lambda host: lab.script(host, 80, [HOLD]), lambda host: lab.delay_data(host, 80, 1)]
    faults += [lambda host: lab.serve(host, "return 503;"), lambda host: lab.certificate(host, "expired")]
    for fault in faults:
        with pytest.raises(KeyError, match="unknown"), fault("unknown.corp.example"):
            pass


ANSWER = send("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("host", [HOST, SIX])
@pytest.mark.parametrize(
    ("scheme", "script", "seen"),
    [
        ("http", [READ_HEAD, ANSWER], (0, "418")),
        ("https", [tls(), READ_HEAD, ANSWER], (0, "418")),
        ("https", [READ], (35, "000")),
        ("https", [READ, RESET], (35, "000")),
        ("https", [READ, HOLD], (TIME_OUT, "000")),
        ("https", [tls(newest="TLSv1_1"), HOLD], (35, "000")),
        ("https", [tls(newest="TLSv1_2", ciphers="kRSA"), HOLD], (35, "000")),
        ("https", [tls(client_certificate=True), HOLD], (56, "000")),
        ("https", [tls(), READ_HEAD], (52, "000")),
        ("http", [READ_HEAD, RESET], (56, "000")),
        ("http", [READ_HEAD, send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), drip("x", 0.01)], (0, "200")),
    ],
)
def test_a_host_can_follow_a_script(
    lab: Lab, host: str, scheme: str, script: list[Step], seen: tuple[int, str]
) -> None:
    port = {"http": 80, "https": 443}[scheme]
    with lab.script(host, port, script):
        silent = seen[0] == TIME_OUT
        assert curl(lab, f"{scheme}://{host}/", *(("--max-time", "1") if silent else ())) == seen
        assert curl(lab, f"{scheme}://{OTHER}/") == (0, "200")
    assert curl(lab, f"{scheme}://{host}/") == (0, "200")


OPENED = send("HTTP/1.1 200 Connection established\r\n\r\n")
ASKS = send('HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')


@pytest.mark.parametrize(("after", "seen"), [((), (0, "200")), ((HANG_UP,), (56, "000"))])
def test_a_script_can_go_by_what_was_said(lab: Lab, after: tuple[Step, ...], seen: tuple[int, str]) -> None:
    onward = relay(lab.address_of[OTHER], 443)
    script = repeat(READ_HEAD, when_said("proxy-authorization: Basic", (OPENED, onward), (ASKS, *after)))
    with lab.script(HOST, 3128, [script]):
        asked = (f"https://{OTHER}/", "--proxy", f"http://{HOST}:3128", "--proxy-user", "a:b", "--proxy-anyauth")
        assert curl(lab, *asked) == seen


def test_a_proxy_can_be_spoken_to_by_tls(lab: Lab) -> None:
    with lab.script(HOST, 3128, [tls(), READ_HEAD, OPENED, relay(lab.address_of[OTHER], 443)]):
        proxy = ("--proxy", f"https://{HOST}:3128", "--proxy-cacert", str(lab.ca_file))
        assert curl(lab, f"https://{OTHER}/", *proxy) == (0, "200")


# Connects, waits until the server has ended the connection, and only then reads what it had said.
AFTER_THE_RESET = """
import select, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=sys.argv[2])
connection = socket.create_connection((sys.argv[2], 443))
while True:
    try:
        tls.do_handshake()
        break
    except ssl.SSLWantReadError:
        connection.sendall(outgoing.read())
        incoming.write(connection.recv(65536))
connection.sendall(outgoing.read())
poll = select.poll()
poll.register(connection, 0)
print(bool(poll.poll()[0][1] & select.POLLERR))
incoming.write(connection.recv(65536))
try:
    tls.read(1)
except ssl.SSLError as error:
    print(error.reason)
"""


def test_a_server_that_wants_a_certificate_can_reset_after_its_alert(lab: Lab) -> None:
    with lab.script(HOST, 443, [tls(client_certificate=True, patient=False)]):
        seen = lab.run([sys.executable, "-I", "-S", "-c", AFTER_THE_RESET, str(lab.ca_file), HOST])
    assert seen.stdout.split() == ["True", "TLSV13_ALERT_CERTIFICATE_REQUIRED"], seen.stderr


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-GCM-SHA384"])
def test_a_host_can_have_old_cipher_suites_only(lab: Lab, suite: str) -> None:
    with (
        lab.present(HOST, leaf(HOST, lab.issuer, shape=Shape(key=rsa_key()))),
        lab.script(HOST, 443, [tls(newest="TLSv1_2", ciphers=suite), READ_HEAD, ANSWER]),
    ):
        assert curl(lab, f"https://{HOST}/") == (0, "418")
        assert curl(lab, f"https://{HOST}/", "--ciphers", "ECDHE") == (35, "000")


def test_a_host_can_lack_secure_renegotiation(lab: Lab) -> None:
    with lab.without_rfc_5746(HOST):
        for option, seen in (("-legacy_server_connect", "NOT supported"), ("-no_comp", "unsafe legacy renegotiation")):
            done = lab.run(["openssl", "s_client", "-connect", f"{HOST}:443", "-servername", HOST, option], input="")
            assert seen in done.stdout + done.stderr
    assert curl(lab, f"https://{HOST}/") == (0, "200")


def test_an_authority_can_be_less_strict_than_the_standard(lab: Lab) -> None:
    lax = Shape(critical=False, authority_identifier=False, subject_identifier=False)
    root = authority("Lax CA", shape=lax)
    trusted = str(lab.keep("lax.pem", root.pem))
    with lab.present(HOST, leaf(HOST, root, shape=lax)):
        assert curl(lab, f"https://{HOST}/", "--cacert", trusted) == (0, "200")
        strict = ["openssl", "s_client", "-connect", f"{HOST}:443", "-servername", HOST, "-CAfile", trusted]
        assert "Verify return code: 0 (ok)" in lab.run(strict, input="").stdout
        assert "Verify return code: 0 (ok)" not in lab.run([*strict, "-x509_strict"], input="").stdout


def test_a_certificate_can_be_as_no_library_makes_it(lab: Lab) -> None:
    def negative(parts: list[bytes]) -> list[bytes]:
        return [parts[0], der(0x02, b"\x85"), *parts[2:]]

    for key in (None, rsa_key()):
        assert len(fields(der(0x30, der(0x02, b"\1"), der(0x04, b"x" * 300)))) == 2
        with lab.present(HOST, leaf(HOST, lab.issuer, shape=Shape(key=key, fields=negative))):
            shown = lab.run(["openssl", "s_client", "-connect", f"{HOST}:443", "-servername", HOST], input="").stdout
            assert curl(lab, f"https://{HOST}/") == (0, "200")
        assert "-123" in lab.run(["openssl", "x509", "-noout", "-text"], input=shown).stdout


def test_the_proxy_meets_a_script_as_well(lab: Lab) -> None:
    with lab.script(HOST, 443, [tls(), READ_HEAD, ANSWER]):
        assert curl(lab, f"https://{HOST}/", "--proxy", lab.proxy_url) == (0, "418")


def test_the_port_of_a_proxy_can_follow_a_script(lab: Lab) -> None:
    with lab.script(PROXY_HOST, Port.OPEN, [READ_HEAD, ANSWER]):
        assert curl(lab, f"http://{HOST}/", "--proxy", lab.proxy_url) == (0, "418")
    assert curl(lab, f"http://{HOST}/", "--proxy", lab.proxy_url) == (0, "200")


# ---------------------------------------------------------------- delays


def phases(lab: Lab, host: str, *options: str) -> dict[str, float]:
    """Seconds that each phase took for curl; those of CONNECT are part of `tls`."""
    done = lab.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "\n%{json}", *options, f"https://{host}/"]
    )
    facts = json.loads(done.stdout.rpartition("\n")[2])
    ends = ("namelookup", "connect", "appconnect", "starttransfer")
    times = [0.0, *(facts[f"time_{end}"] for end in ends)]
    names = ("resolve", "connect", "tls", "processing")
    return {name: after - before for name, before, after in zip(names, times, times[1:], strict=False)}


@pytest.mark.timing
@pytest.mark.parametrize(
    ("delay", "phase", "seconds"),
    [
        (lambda lab: lab.delay_names(HOST, 0.3), "resolve", 0.3),
        (lambda lab: lab.delay_connect(HOST), "connect", 1.0),
        (lambda lab: lab.delay_data(HOST, 443, 0.3), "tls", 0.3),
        (lambda lab: lab.delay_answer(HOST, 0.3), "processing", 0.3),
    ],
)
def test_each_phase_can_be_delayed_alone(
    lab: Lab, delay: Callable[[Lab], AbstractContextManager[None]], phase: str, seconds: float
) -> None:
    none = dict.fromkeys(("resolve", "connect", "tls", "processing"), 0.0)
    with delay(lab):
        slow = phases_like(lab, HOST, none | {phase: seconds})
        other = phases_like(lab, OTHER, none)
    assert slow == pytest.approx(none | {phase: seconds}, abs=0.1)
    assert other == pytest.approx(none, abs=0.1)
    assert phases_like(lab, HOST, none) == pytest.approx(none, abs=0.1)


def phases_like(lab: Lab, host: str, expected: dict[str, float]) -> dict[str, float]:
    """The phases as they are when nothing else claims the processor, if they are so at all."""
    return in_a_quiet_moment(lambda: phases(lab, host), lambda seen: seen == pytest.approx(expected, abs=0.1))


@pytest.mark.timing
def test_every_connection_is_delayed_alike(lab: Lab) -> None:
    with lab.delay_connect(SIX):
        took = in_a_quiet_moment(
            lambda: [phases(lab, SIX)["connect"] for _ in range(2)],
            lambda seen: seen == pytest.approx([1.0] * 2, abs=0.1),
        )
    assert took == pytest.approx([1.0] * 2, abs=0.1)


@pytest.mark.timing
def test_a_host_of_ipv6_can_be_slow(lab: Lab) -> None:
    with lab.delay_data(SIX, 443, 0.3):
        took = in_a_quiet_moment(lambda: phases(lab, SIX)["tls"], lambda seen: seen == pytest.approx(0.3, abs=0.1))
    assert took == pytest.approx(0.3, abs=0.1)


@pytest.mark.timing
def test_the_proxy_can_be_slow(lab: Lab) -> None:
    def asked() -> float:
        return phases(lab, HOST, "--proxy", lab.proxy_url)["tls"]

    with lab.delay_data(PROXY_HOST, Port.OPEN, 0.3):
        slow = in_a_quiet_moment(asked, lambda seen: seen == pytest.approx(0.3, abs=0.1))
    quick = in_a_quiet_moment(asked, lambda seen: seen < 0.1)
    assert slow == pytest.approx(0.3, abs=0.1)
    assert quick < 0.1


# ---------------------------------------------------------------- what was seen


def test_requests_are_counted_exactly(lab: Lab) -> None:
    lab.clear_requests()
    for number in range(1, 16):
        curl(lab, f"https://{HOST}/?{number}")
        assert len(lab.requests(HOST)) == number
    assert lab.requests(OTHER) == []
    lab.clear_requests()
    assert lab.requests() == []


def test_a_request_tells_what_was_asked(lab: Lab) -> None:
    before = time.time()
    lab.clear_requests()
    curl(lab, f"https://{HOST}:8531/a%20b?c=d", "--request", "POST", "--data", "x")
    [seen] = lab.requests()
    assert (seen.host, seen.scheme, seen.port, seen.method) == (HOST, "https", 8531, "POST")
    assert (seen.uri, seen.status, seen.via_proxy) == ("/a%20b?c=d", 200, False)
    assert before - 1 < seen.time < time.time() + 1


# ---------------------------------------------------------------- the end


def traces(name: str) -> list[Path]:
    """Where a laboratory of this name can still be seen."""
    places = (Path("/run/netns"), Path("/etc/netns"), Path("/dev/shm"), Path(tempfile.gettempdir()))  # noqa: S108 - read only
    files = [path for place in places for path in place.glob(f"{name}*")]
    return files + [path for path in Path("/proc").glob("[0-9]*/cmdline") if name in read(path)]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended meanwhile
        return ""


def test_nothing_is_left_of_a_stopped_lab() -> None:
    with Lab.start([HOST]) as lab:
        sleeper = lab.popen(["sleep", "60"])
        pids = subprocess.run(["ip", "netns", "pids", lab.name], capture_output=True, check=True).stdout.split()
        before = traces(lab.name)
    lab.stop()
    assert sleeper.wait() == -signal.SIGKILL
    assert len(pids) >= 6
    assert eventually(lambda: not any(Path("/proc", pid.decode()).exists() for pid in pids))
    assert (len(before) > 6, traces(lab.name)) == (True, [])


def test_nothing_is_left_of_a_lab_that_did_not_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network.build()
    monkeypatch.setattr(Network, "build", lambda: network)
    with pytest.raises(ValueError, match="A-label"):
        Lab.start([HOST, "b\N{LATIN SMALL LETTER U WITH DIAERESIS}ro.example"])  # no name that a certificate can have
    assert traces(network.name) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_its_owner_is_killed(number: signal.Signals) -> None:
    owner = f"import signal; from tests.lab import Lab; print(Lab.start([{HOST!r}]).name, flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        before = traces(name)
        process.send_signal(number)
    assert (name[:3], len(before) > 6) == ("lab", True)
    assert eventually(lambda: traces(name) == [])
