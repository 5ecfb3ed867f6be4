"""Signing in where it is really checked: by Squid's helpers, Samba's NTLM and a KDC."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.model.vocabulary import Auth, Reason
from tests.kerberos import DEAD_KDC, DEAD_REALM, Domain
from tests.running import eventually

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[1]
WRITTEN = {Auth.BASIC: "Basic", Auth.NTLM: "NTLM", Auth.NEGOTIATE: "Negotiate"}
SCHEMES = tuple(WRITTEN)

# Asks for a URL on one connection for as long as the dialogue has an answer, and prints what came of it.
CLIENT = """
import http.client, json, sys, time
from exporter.probe.net.authentication import Account
from exporter.probe.errors import SignInFailed
from exporter.model.vocabulary import Auth, Proxy

method, asked, times, pause, auth, url, username, password = json.loads(sys.argv[1])
host, _, port = url.removeprefix("http://").rpartition(":")
account = Account(Proxy("p", url, username, password, auth=Auth(auth)))
for number in range(times):
    time.sleep(pause if number else 0)
    statuses, schemes, why = [], [], None
    dialogue, connection = account.dialogue(), http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        value = dialogue.opening()
        while True:
            schemes.append(value.split()[0] if value else "")
            connection.request(method, asked, headers={"Proxy-Authorization": value} if value else {})
            response = connection.getresponse()
            statuses.append(response.status)
            if response.status != 407:
                break
            response.read()
            value = dialogue.answer(response.headers.get_all("Proxy-Authenticate", []))
            if value is None:
                break
    except SignInFailed as failure:
        why = str(failure)
    connection.close()
    print(json.dumps({"statuses": statuses, "schemes": schemes, "why": why}))
"""

# The exporter's own probe through the proxy; prints whether the target was usable, and else why not.
PROBE = """
import json, ssl, sys, anyio
from exporter.probe.net.authentication import Account
from exporter.model.vocabulary import Auth, CheckKey, Probing, Proxy, Target
from exporter.probe.net import SignIn
from exporter.probe.runner import Network, run_check

asked, timeout, auth, url, username, password = json.loads(sys.argv[1])
proxy = Proxy("p", url, username, password, auth=Auth(auth))
network = Network(ssl.create_default_context(), {"p": proxy}, {"p": SignIn(Account(proxy))})
result = anyio.run(run_check, CheckKey(Target(asked), "p"), network, Probing(timeout=timeout, attempts=1))
print(json.dumps([result.up, result.failure and result.failure.reason, result.duration]))
"""
URLS = ("http://portal.corp.example/", "https://portal.corp.example/")


@dataclass
class Seen:
    """What a client saw: each answer, the scheme of each request, and why it gave up."""

    statuses: list[int] = field(default_factory=list)
    schemes: list[str] = field(default_factory=list)
    why: str | None = None


def sign_in(
    domain: Domain,
    auth: Auth,
    username: str | None,
    password: str | None,
    *,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    request: tuple[str, str] = ("CONNECT", "portal.corp.example:443"),
    times: int = 1,
    pause: float = 0.0,
) -> list[Seen]:
    wanted = json.dumps([*request, times, pause, auth, url or domain.proxy_url(auth), username, password])
    told = domain.run(sys.executable, "-c", CLIENT, wanted, cwd=ROOT, env=env)
    return [Seen(**json.loads(line)) for line in told.splitlines()]


def taken_for(domain: Domain, user: str) -> bool:
    """Whether the last client that the proxy let through was this user; a tunnel shows a moment after its end."""
    return eventually("it is in the log", lambda: domain.requests()[-1:] == [f"200 {user}"])


# ---------------------------------------------------------------- the right account


@pytest.mark.parametrize(
    ("auth", "statuses", "user"),
    [
        (Auth.BASIC, [200], "svc-proxy"),
        (Auth.NTLM, [407, 200], "\\svc-proxy"),  # in no domain
        (Auth.NEGOTIATE, [200], "svc-proxy@CORP.EXAMPLE"),
    ],
)
def test_who_knows_the_password_is_let_through(domain: Domain, auth: Auth, statuses: list[int], user: str) -> None:
    (seen,) = sign_in(domain, auth, *domain.account)
    assert seen == Seen(statuses, [WRITTEN[auth]] * len(statuses))
    assert taken_for(domain, user)


@pytest.mark.parametrize("auth", SCHEMES)
def test_auto_follows_what_the_proxy_offers(domain: Domain, auth: Auth) -> None:
    (seen,) = sign_in(domain, Auth.AUTO, *domain.account, url=domain.proxy_url(auth))
    assert seen.statuses[-1] == 200
    assert seen.schemes == ["", *[WRITTEN[auth]] * (len(seen.statuses) - 1)]


def test_auto_prefers_tickets(domain: Domain) -> None:
    assert sign_in(domain, Auth.AUTO, *domain.account) == [Seen([407, 200], ["", "Negotiate"])]


def test_auto_goes_by_ntlm_where_no_kdc_answers(domain: Domain) -> None:
    username, password = domain.account
    (seen,) = sign_in(domain, Auth.AUTO, f"{username}@{DEAD_REALM}", password)
    assert seen == Seen([407, 407, 200], ["", "NTLM", "NTLM"])


@pytest.mark.parametrize("auth", [Auth.NTLM, Auth.NEGOTIATE])
@pytest.mark.parametrize("form", ["CORP\\{}", "corp.example\\{}", "{}@corp.example", "{}@CORP.EXAMPLE"])
def test_a_username_may_name_its_domain(domain: Domain, auth: Auth, form: str) -> None:
    username, password = domain.account
    (seen,) = sign_in(domain, auth, form.format(username), password)
    assert seen.statuses[-1:] == [200]


@pytest.mark.parametrize("auth", SCHEMES)
def test_a_plain_request_signs_in_like_a_tunnel(domain: Domain, auth: Auth) -> None:
    (seen,) = sign_in(domain, auth, *domain.account, request=("GET", "http://portal.corp.example/"))
    assert seen.statuses[-1] == 200


# ---------------------------------------------------------------- the wrong one


@pytest.mark.parametrize(("auth", "statuses"), [(Auth.BASIC, [407]), (Auth.NTLM, [407, 407])])
def test_the_proxy_refuses_a_wrong_password(domain: Domain, auth: Auth, statuses: list[int]) -> None:
    (seen,) = sign_in(domain, auth, domain.account.username, "wrong")
    assert seen == Seen(statuses, [WRITTEN[auth]] * len(statuses))


@pytest.mark.parametrize("auth", SCHEMES)
def test_who_does_not_sign_in_is_refused(domain: Domain, auth: Auth) -> None:
    assert sign_in(domain, Auth.NONE, *domain.account, url=domain.proxy_url(auth)) == [Seen([407], [""])]


@pytest.mark.parametrize(
    "username", ["nobody", f"svc-proxy@{DEAD_REALM}", "svc-proxy@UNKNOWN.EXAMPLE", "locked", "stale"]
)
def test_why_there_is_no_ticket_is_said(domain: Domain, username: str) -> None:
    why = {
        "nobody": "Client 'nobody@CORP.EXAMPLE' not found in Kerberos database",
        f"svc-proxy@{DEAD_REALM}": f"Cannot contact any KDC for realm '{DEAD_REALM}'",
        "svc-proxy@UNKNOWN.EXAMPLE": 'Cannot find KDC for realm "UNKNOWN.EXAMPLE"',
        "locked": "the account is locked or disabled (Client's credentials have been revoked)",
        "stale": "the password has expired (Password has expired)",
    }
    (seen,) = sign_in(domain, Auth.NEGOTIATE, username, domain.account.password)
    assert seen == Seen(why=f"Negotiate: {why[username]}")


def test_a_wrong_password_is_tried_once(domain: Domain) -> None:
    (seen,) = sign_in(domain, Auth.AUTO, domain.account.username, "wrong")
    assert seen == Seen([407], [""], "Negotiate: the password is wrong (Preauthentication failed)")


def test_a_proxy_that_the_domain_does_not_know_is_named(domain: Domain) -> None:
    (seen,) = sign_in(domain, Auth.NEGOTIATE, *domain.account, url="http://198.19.0.3:3143")
    assert seen.why == "Negotiate: Server HTTP/198.19.0.3@CORP.EXAMPLE not found in Kerberos database"


# ---------------------------------------------------------------- tickets


def test_without_a_username_the_own_tickets_count(domain: Domain) -> None:
    username, password = domain.account
    cache = f"FILE:{domain.directory / 'tickets'}"
    domain.run("kinit", "-c", cache, username, input=f"{password}\n")
    (seen,) = sign_in(domain, Auth.NEGOTIATE, None, None, env={"KRB5CCNAME": cache})
    assert seen == Seen([200], ["Negotiate"])


def test_without_a_username_the_own_keytab_counts(domain: Domain) -> None:
    keytab = domain.keytab(domain.account.username, "client.keytab")
    (seen,) = sign_in(domain, Auth.AUTO, None, None, env={"KRB5_CLIENT_KTNAME": str(keytab), "KRB5CCNAME": "MEMORY:"})
    assert seen == Seen([407, 200], ["", "Negotiate"])


def test_without_a_username_and_tickets_that_is_said(domain: Domain) -> None:
    (seen,) = sign_in(domain, Auth.NEGOTIATE, None, None)
    assert (seen.why or "").startswith("Negotiate: No Kerberos credentials available")


def test_the_kdc_is_asked_once_for_many_probes(domain: Domain) -> None:
    before = domain.tickets_issued()
    seen = sign_in(domain, Auth.NEGOTIATE, *domain.account, times=5)
    assert seen == [Seen([200], ["Negotiate"])] * 5
    assert domain.tickets_issued() - before == 2  # one to get tickets with, one for the proxy


def test_tickets_that_have_run_out_are_replaced(domain: Domain) -> None:
    domain.add("short-lived", "-maxlife", "2 seconds")
    seen = sign_in(domain, Auth.NEGOTIATE, "short-lived", domain.account.password, times=2, pause=3)
    assert seen == [Seen([200], ["Negotiate"])] * 2


# ---------------------------------------------------------------- the exporter itself


def probe(
    domain: Domain, url: str, auth: Auth, username: str | None, password: str | None, timeout: float = 8.0
) -> tuple[bool, str | None, float]:
    wanted = json.dumps([url, timeout, auth, domain.proxy_url(auth), username, password])
    up, reason, duration = json.loads(domain.run(sys.executable, "-c", PROBE, wanted, cwd=ROOT))
    return up, reason, duration


@pytest.mark.parametrize("auth", [Auth.AUTO, *SCHEMES])
@pytest.mark.parametrize("url", URLS)
def test_a_probe_signs_in(domain: Domain, url: str, auth: Auth) -> None:
    assert probe(domain, url, auth, *domain.account)[:2] == (True, None)


@pytest.mark.parametrize("auth", [Auth.AUTO, *SCHEMES])
@pytest.mark.parametrize("url", URLS)
def test_a_probe_with_a_wrong_password_needs_authentication(domain: Domain, url: str, auth: Auth) -> None:
    username = domain.account.username
    assert probe(domain, url, auth, username, "wrong")[:2] == (False, Reason.PROXY_AUTH_REQUIRED)


def test_no_probe_waits_for_a_silent_kdc(domain: Domain) -> None:
    """Nor does the end of the process, for which `domain` waits a minute: the KDCs are asked for longer."""
    username, password = domain.account
    with domain.silent(DEAD_KDC):
        up, _, duration = probe(domain, URLS[1], Auth.NEGOTIATE, f"{username}@{DEAD_REALM}", password, timeout=1.0)
    assert not up
    assert duration < 30  # what a busy machine may take for a second
