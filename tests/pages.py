"""Sites to look at, and the exporter's pages served from them: healthy, broken, empty, and of any size."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import MappingProxyType, SimpleNamespace
from typing import Final, cast

import uvicorn
from prometheus_client import CollectorRegistry

from exporter.allowlist.rules import Rule, rules
from exporter.config import catalogue
from exporter.metrics.families import State, registry_for
from exporter.model.vocabulary import (
    Answer,
    Certificate,
    Check,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    Evidence,
    Failure,
    Phase,
    Plan,
    Proxy,
    Reason,
    Requirement,
    Result,
    Role,
    Root,
    Settings,
    Site,
    SocketAddress,
    Support,
    Target,
    TlsFacts,
    Tried,
    Use,
)
from exporter.plan.checks import plan
from exporter.plan.requirements import requirements
from exporter.probe.connecting import NO_ANSWER
from exporter.results.store import ResultStore
from exporter.web.routes import Service, create_app
from tests.strategies import PREFIX, phases_of

HERE: Final = "10.20.30.40"
DAY: Final = 86400.0
HOUR: Final = 3600.0
MINUTE: Final = 60.0
LAP: Final[dict[Phase, float]] = {
    Phase.RESOLVE: 0.004,
    Phase.CONNECT: 0.018,
    Phase.PROXY: 0.031,
    Phase.TLS: 0.047,
    Phase.PROCESSING: 0.062,
}
SITE: Final = Site(
    clouds=("azure-public",),
    roles=("service-connection-point", "cmg-connection-point", "management-point", "software-update-point", "client"),
    parameters={
        "cloud_service_name": "granitefalls",
        "azure_region": "westus",
        "child_site_sup_fqdn": "sup1.corp.example",
        "parent_site_sup_fqdn": "sup0.corp.example",
        "logic_app_host": "prod-12.westus.logic.azure.com",
    },
)
TARGET: Final = "/target?url=https%3A%2F%2Fdownload.microsoft.com%2F&path=proxy%3Acorporate"  # down on the broken one
SEEN: Final = MappingProxyType(
    {
        Reason.CONNECT_TIMEOUT: "no answer from 203.0.113.7 port 443 within 10 s",
        Reason.PROXY_DENIED: "the proxy answered CONNECT with 403 Forbidden",
        Reason.TLS_UNTRUSTED: "unable to get local issuer certificate",
        Reason.DNS_NOT_FOUND: "Name or service not known",
        Reason.HTTP_TIMEOUT: NO_ANSWER,
        Reason.PROXY_UNREACHABLE: "no connection to the proxy: Connection refused",
    }
)


SETTINGS: Final = Settings(
    site=SITE,
    proxies={"corporate": Proxy("corporate", "http://proxy.corp.example:3128")},
    via={"service-connection-point": "corporate"},
)


def site_plan() -> Plan:
    """The shipped catalogue for a site whose service connection point goes through a proxy."""
    known = catalogue.load()
    work = plan(requirements(known, known.groups, SITE), SETTINGS.proxies, SETTINGS.via)
    return replace(work, site="P01 Berlin")


@cache
def site_rules() -> tuple[tuple[Rule, ...], Mapping[str, Role]]:
    """What must be let through for the same site."""
    known = catalogue.load()
    return rules(known, known.groups, SITE, SETTINGS), known.roles


def large_plan(checks: int) -> Plan:
    """So many targets, each needed by one of forty features for one of five roles in one of two clouds."""
    found = []
    for number in range(checks):
        consumer = Consumer(f"feature-{number % 40:02}", f"role-{number % 5}", f"azure-cloud-{number % 2}")
        pattern = f"host-{number:04}.region-{number % 7}.services.example"
        target = Target(f"https://{pattern}/health?probe=configmgr")
        found.append(Requirement(Use(consumer, pattern), Endpoint(pattern), None, (target,)))
    return plan(found, {}, {})


def result(check: Check, at: float, reason: Reason | None = None, *, issuer: Root = Root.PUBLIC) -> Result:
    """What a probe could have come to."""
    passed = phases_of(check.key)
    failure = None
    if reason:
        phase = next((phase for phase in passed if reason.startswith(PREFIX[phase])), passed[-1])
        failure = Failure(phase, reason, SEEN.get(reason, "in words"))
        passed = passed[: passed.index(phase) + 1]
    spread = 0.6 + (hash_of(check) % 100) / 90
    laps = {phase: LAP[phase] * spread for phase in passed}
    if failure and reason and reason.endswith("timeout"):
        laps[failure.phase] = 10.0
    name = check.key.target.host
    private = issuer is Root.PRIVATE or reason is Reason.TLS_UNTRUSTED
    by = "CN=Corp Inspection CA,O=Corp Example" if private else "CN=Public TLS Issuing CA 05,O=Public Trust"
    chain = (
        Certificate(f"CN={name}", by, at - 20 * DAY, at + 70 * DAY, "5f" * 32),
        Certificate(
            by, by if private else "CN=Public Root G2,O=Public Trust", at - 900 * DAY, at + 900 * DAY, "a3" * 32
        ),
    )
    evidence = Evidence(
        addresses=("203.0.113.7", "203.0.113.8") if Phase.CONNECT in passed else (),
        address="203.0.113.7" if Phase.PROCESSING in passed or Phase.TLS in passed else None,
        dialogue=(Answer(403, (("server", "squid"), ("x-squid-error", "ERR_ACCESS_DENIED 0"))),)
        if reason is Reason.PROXY_DENIED
        else (),
        tls=TlsFacts("TLSv1.3", chain, Root.PRIVATE if private else issuer) if Phase.TLS in passed else None,
        answer=Answer(200, (("server", "nginx"), ("content-type", "text/html")))
        if Phase.PROCESSING in passed
        else None,
        tried=_tried(check, at, laps.get(Phase.CONNECT, 0.0), silent=reason is Reason.CONNECT_TIMEOUT),
    )
    began = at - sum(laps.values())
    if reason is Reason.CONNECT_TIMEOUT:
        silent = Tried("203.0.113.7", Contact.SILENT, 10.0, port=443, local=SocketAddress(HERE, 50122), at=began)
        evidence = replace(evidence, addresses=("203.0.113.7",), tried=(silent,))
    return Result(check.key, began, laps, evidence, failure)


def _tried(check: Check, at: float, seconds: float, *, silent: bool) -> tuple[Tried, ...]:
    """The addresses that were asked for a connection, of the target or of its proxy."""
    port = 3128 if check.key.proxy else check.key.target.port
    asked = ("203.0.113.7", "203.0.113.8") if silent else ("203.0.113.7",)
    local = SocketAddress("10.20.0.5", 50000 + hash_of(check) % 9999)
    contact = Contact.SILENT if silent else Contact.OPENED
    return tuple(Tried(address, contact, seconds, port=port, local=local, at=at - seconds) for address in asked)


def hash_of(check: Check) -> int:
    """The same in every process."""
    return sum(map(ord, check.key.target.url))


def week(work: Plan, now: float, *, troubled: frozenset[CheckKey] = frozenset()) -> ResultStore:
    """A week behind it, of which one night was troubled, and the exporter off for some hours."""
    store = ResultStore(work)
    for check in work.checks:
        for ago in (*range(7 * 24, 24, -6), *range(24, 0, -1)):
            if not 100 < ago < 112:
                failure = Failure(Phase.PROCESSING, Reason.HTTP_TIMEOUT, NO_ANSWER)
                down = ago == 60 and (check.key in troubled or hash_of(check) % 23 == 0)
                store.record(Result(check.key, now - ago * HOUR, {}, failure=failure if down else None))
    return store


def empty() -> ResultStore:
    """Nothing selected, nothing probed."""
    return ResultStore()


def pending() -> ResultStore:
    """Started a moment ago."""
    return ResultStore(site_plan())


def started() -> ResultStore:
    """The first results come in; what has one is well."""
    store = ResultStore(site_plan())
    now = time.time()
    for number, check in enumerate(store.plan.checks):
        if number % 3 == 0:
            store.record(result(check, now - 4 + number / 100))
    return store


def healthy(work: Plan | None = None) -> ResultStore:
    """All is well, and has been, but for one night."""
    now = time.time()
    store = week(work or site_plan(), now)
    for check in store.plan.checks:
        store.record(result(check, now - MINUTE + 25))
    return store


def proxyless() -> ResultStore:
    """The proxy takes no connection any more, and everything behind it is down."""
    now = time.time()
    store = week(site_plan(), now)
    here = SocketAddress(HERE, 50122)
    for check in store.plan.checks:
        for ago in (12, 11, 2, 1):
            seen = result(check, now - ago * MINUTE + 25, Reason.PROXY_UNREACHABLE if check.key.proxy else None)
            refused = Tried("10.20.0.8", Contact.REFUSED, 0.001, "Connection refused", 3128, here, seen.started)
            dead = replace(seen.evidence, addresses=("10.20.0.8",), tried=(refused,))
            store.record(replace(seen, evidence=dead) if check.key.proxy else seen)
    return store


def broken() -> ResultStore:
    """A host that a firewall drops, one that the proxy denies, and TLS inspected."""
    now = time.time()
    store = week(site_plan(), now)
    inspectable = {need.use for need in store.plan.requirements if need.endpoint.tls_inspection is Support.UNSUPPORTED}
    inspected = next(
        check
        for check in store.plan.checks
        if check.key.target.scheme == "https" and inspectable & set(check.uses) and not _fault(check)
    )
    for check in store.plan.checks:
        for ago in (30, 24, 23, 2, 1):
            reason = _fault(check) if ago <= 24 else None
            issuer = Root.PRIVATE if check is inspected else Root.PUBLIC
            store.record(result(check, now - ago * MINUTE + 25, reason, issuer=issuer))
    return store


def _fault(check: Check) -> Reason | None:
    secure, direct = check.key.target.scheme == "https", check.key.path == "direct"
    match check.key.target.host:
        case "download.microsoft.com":
            return None if direct or not secure else Reason.PROXY_DENIED
        case "enterpriseregistration.windows.net":
            return Reason.CONNECT_TIMEOUT if direct and secure else None
        case "aka.ms":
            return None if direct or not secure else Reason.TLS_UNTRUSTED
    return None


def large(checks: int = 2000) -> ResultStore:
    """Many targets with a week behind them; every ninth is down, for one of many reasons."""
    now = time.time()
    store = week(large_plan(checks), now)
    reasons = [Reason.DNS_NOT_FOUND, Reason.CONNECT_TIMEOUT, Reason.TLS_UNTRUSTED, Reason.HTTP_STATUS]
    for number, check in enumerate(store.plan.checks):
        for ago in (3, 2, 1):
            reason = reasons[number % 4] if number % 9 == 0 else None
            store.record(result(check, now - ago * MINUTE, reason))
    return store


SITES: Final = MappingProxyType(
    {
        "healthy": healthy,
        "broken": broken,
        "proxyless": proxyless,
        "started": started,
        "pending": pending,
        "empty": empty,
        "large": large,
    }
)


@contextmanager
def serving(store: ResultStore, warnings: tuple[str, ...] = ()) -> Iterator[str]:
    """The exporter's own application on the loopback; gives its address."""
    registry: CollectorRegistry = registry_for(State(store))
    service = SimpleNamespace(store=store, registry=registry, warnings=warnings, rules=site_rules)
    app = create_app(cast(Service, service))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        (listening,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
