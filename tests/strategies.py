"""Values of the model, drawn from small closed sets of names, so that collisions happen.

The names agree with each other: every catalogue drawn here knows `ROLES`, `CLOUDS` and `PARAMETERS`, so that what is
drawn could have been read from files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeVar

from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Answer,
    Catalogue,
    Certificate,
    Check,
    CheckKey,
    Cloud,
    Consumer,
    Contact,
    Endpoint,
    Evidence,
    Failure,
    Group,
    Parameter,
    Phase,
    Plan,
    Proxy,
    Reason,
    Representative,
    Requirement,
    Result,
    Role,
    Root,
    Site,
    Status,
    Target,
    TlsFacts,
    Tried,
    Use,
    VersionRange,
    WhyUnprobed,
    Wildcard,
)
from exporter.plan.checks import plan

T = TypeVar("T")

FEATURES: Final = ("cloud-services", "tenant-attach", "updates")
ROLES: Final = ("client", "console", "site-server")
CLOUDS: Final = ("azure-public", "azure-us-government")
VERSIONS: Final = ("1810", "1902", "2403")
REGION: Final = "tenant_region"
PARAMETERS: Final[Mapping[str, Parameter]] = {
    "name": Parameter("name", "what others are made of"),
    "area": Parameter("area", "the same"),
    "host": Parameter("host", "made of both", default="{name}.{area}.example"),
    "gateway": Parameter("gateway", "made of what is made", default="gw.{host}"),
    REGION: Parameter(REGION, "decides which lines are needed", values=("europe", "asia")),
}
VALUES: Final = {"name": ("granite", "a"), "area": ("west", "b"), "host": ("own.example",), REGION: ("europe", "asia")}
PROXIES: Final = ("corporate", "dmz")

# What a reason's name begins with, by the phase that failed.
PREFIX: Final[Mapping[Phase, str]] = {
    Phase.RESOLVE: "dns_",
    Phase.CONNECT: "connect_",
    Phase.PROXY: "proxy_",
    Phase.TLS: "tls_",
    Phase.PROCESSING: "http_",
}


def some(values: Collection[T], *, least: int = 0) -> st.SearchStrategy[tuple[T, ...]]:
    """A few of these, in any order, none twice."""
    return st.lists(st.sampled_from(sorted(values)), min_size=least, unique=True).map(tuple)  # type: ignore[type-var]


# ---------------------------------------------------------------- what is documented

_WILDCARD_HOSTS: Final = ("*.a.example", "*.b.example", "*-east.a.example", "*.unknown.example")
_REPRESENTATIVES: Final[Mapping[str, tuple[str, ...]]] = {
    "*.a.example": ("x.a.example", "y.x.a.example"),
    "*.b.example": ("x.b.example",),
    "*-east.a.example": ("one-east.a.example",),
}
_TEMPLATES: Final = (
    "https://{name}.blob.example/",
    "https://{host}/",
    "https://{gateway}/health",
    "http://{name}.example:8530/",
    "https://x.a.example/",
)

versions: Final = st.builds(
    VersionRange, st.none() | st.sampled_from(VERSIONS[:2]), st.none() | st.sampled_from(VERSIONS[1:])
)
_no_limit: Final[dict[str, tuple[str, ...]]] = {}
_only_for: Final = st.just(_no_limit) | some(("europe", "asia"), least=1).map(lambda values: {REGION: values})
_accept: Final = st.none() | st.sampled_from([frozenset({200}), frozenset({401, 403})])
_path: Final = st.sampled_from(["/", "/health", "/fwlink/?LinkID=1"])


@st.composite
def endpoints(draw: st.DrawFn) -> Endpoint:
    """A documented line: a host, a URL, a wildcard by either, or a template."""
    schemes = draw(some(("http", "https", "udp"), least=1))
    host = draw(st.sampled_from(("a.example", "X.a.example", "b.example", *_WILDCARD_HOSTS, "<name>.example")))
    if draw(st.booleans()):
        schemes = (draw(st.sampled_from(("http", "https"))),)
        host = f"{schemes[0]}://{host}"
    ports = st.lists(st.sampled_from((80, 443, 8530)), min_size=len(schemes), max_size=len(schemes), unique=True)
    if len(schemes) == 1:
        ports |= st.just([443, 8443])
    return Endpoint(
        pattern=host,
        schemes=schemes,
        ports=tuple(draw(st.just([]) | ports)),
        path=draw(_path),
        probe=draw(some(_TEMPLATES) if "<" in host else st.just(()) | some(_TEMPLATES)),
        method=draw(st.sampled_from(["GET", "HEAD"])),
        accept=draw(_accept),
        status=draw(st.sampled_from(Status)),
        versions=draw(versions),
        only_for=draw(_only_for),
        docs=draw(st.none() | st.just("https://docs.example/line")),
    )


groups: Final = st.builds(
    Group,
    feature=st.sampled_from(FEATURES),
    docs=st.none() | st.sampled_from(["https://docs.example/a", "https://docs.example/b"]),
    roles=some(ROLES),
    clouds=some(CLOUDS),
    endpoints=st.lists(endpoints(), min_size=1, max_size=3).map(tuple),
)


@st.composite
def _wildcards(draw: st.DrawFn) -> dict[str, Wildcard]:
    tied = st.just(()) | some(("http", "https"), least=1)
    return {
        pattern: Wildcard(tuple(Representative(host, draw(tied)) for host in hosts))
        for pattern, hosts in _REPRESENTATIVES.items()
        if draw(st.booleans())
    } | {"*.unknown.example": Wildcard(none_found="nobody knows a host below it")}


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """All that is known, with a few groups."""
    return Catalogue(
        groups=tuple(draw(st.lists(groups, max_size=4))),
        roles={slug: Role(slug, slug.title()) for slug in ROLES},
        clouds={slug: Cloud(slug, slug.title()) for slug in CLOUDS},
        parameters=PARAMETERS,
        wildcards=draw(_wildcards()),
        sources={},
    )


sites: Final = st.builds(
    Site,
    clouds=some(CLOUDS, least=1),
    roles=some(ROLES),
    features=some(FEATURES),
    statuses=some(tuple(Status), least=1),
    version=st.none() | st.sampled_from(VERSIONS),
    parameters=st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in VALUES.items()}),
    name=st.none() | st.just("P01 Berlin"),
)


# ---------------------------------------------------------------- what is probed

consumers: Final = st.builds(Consumer, st.sampled_from(FEATURES), st.sampled_from(ROLES), st.sampled_from(CLOUDS))
patterns: Final = st.sampled_from(["a.example", "*.a.example", "b.example", "<name>.example"])
uses: Final = st.builds(Use, consumers, patterns)
targets: Final = st.builds(
    Target,
    st.sampled_from(
        [
            "https://a.example/",
            "http://a.example/",
            "https://b.corp.example/",
            "https://10.1.2.3/",
            "http://[2001:db8::1]/",
        ]
    ),
    st.sampled_from(["GET", "HEAD"]),
    _accept,
)


@st.composite
def requirements_of(draw: st.DrawFn, use: Use) -> Requirement:
    """What a consumer needs: targets, no URL twice, or why there are none."""
    found = draw(st.lists(targets, max_size=3, unique_by=lambda target: target.url))
    why = None if found else draw(st.sampled_from(WhyUnprobed))
    return Requirement(use, Endpoint(use.pattern), None, tuple(found), why, why and f"{why} in words")


requirement_lists: Final = st.lists(uses, max_size=8, unique=True).flatmap(
    lambda found: st.tuples(*map(requirements_of, found))
)

no_proxies: Final = some((".corp.example", "a.example", "10.0.0.0/8", "2001:db8::/32", "*"))
proxy_maps: Final = st.tuples(*(no_proxies for _ in PROXIES)).map(
    lambda exceptions: {
        name: Proxy(name, f"http://{name}.example:3128", no_proxy=entries)
        for name, entries in zip(PROXIES, exceptions, strict=True)
    }
)
vias: Final = st.dictionaries(st.sampled_from(ROLES), st.sampled_from(PROXIES))
plans: Final = st.builds(plan, requirement_lists, proxy_maps, vias)


# ---------------------------------------------------------------- what came of it


def phases_of(key: CheckKey) -> tuple[Phase, ...]:
    """What a probe goes through when all is well."""
    secure = key.target.scheme == "https"
    left_out = {Phase.PROXY: not (secure and key.proxy), Phase.TLS: not secure}
    return tuple(phase for phase in Phase if not left_out.get(phase, False))


def reasons_of(phase: Phase, proxy: str | None) -> tuple[Reason, ...]:
    """Why a probe can fail in a phase."""
    if proxy and phase in {Phase.RESOLVE, Phase.CONNECT}:
        return (Reason.PROXY_UNREACHABLE, Reason.INTERNAL_ERROR)
    return (*(reason for reason in Reason if reason.startswith(PREFIX[phase])), Reason.INTERNAL_ERROR)


moments: Final = st.integers(1_700_000_000, 1_800_000_000).map(float)
_lap: Final = st.integers(0, 20_000).map(lambda milliseconds: milliseconds / 1000)
_certificates: Final = st.builds(Certificate, st.just("CN=host"), st.just("CN=issuer"), moments, moments, st.just("ab"))
_tried: Final = st.builds(
    Tried, st.sampled_from(["192.0.2.1", "10.0.0.1", "2001:db8::1"]), st.sampled_from(Contact), _lap
)
_facts: Final = st.builds(
    TlsFacts,
    st.just("TLSv1.3"),
    st.lists(_certificates, max_size=2).map(tuple),
    st.none() | st.sampled_from(Root),
)


@st.composite
def results_of(draw: st.DrawFn, key: CheckKey, *, up: bool | None = None) -> Result:
    """What could come of a check: all phases and an answer, or the phases up to the one that failed."""
    passed = phases_of(key)
    failure = None
    if up is False or (up is None and draw(st.booleans())):
        phase = draw(st.sampled_from(passed))
        failure = Failure(phase, draw(st.sampled_from(reasons_of(phase, key.proxy))), "in words")
        passed = passed[: passed.index(phase) + 1]
    answered = Phase.PROCESSING in passed
    evidence = Evidence(
        address="192.0.2.1" if Phase.CONNECT in passed else None,
        tried=tuple(draw(st.lists(_tried, max_size=3))) if Phase.CONNECT in passed else (),
        by_dns=draw(st.sampled_from([None, True, False])),
        answer=draw(st.none() | st.builds(Answer, st.integers(100, 599))) if answered else None,
        tls=draw(_facts) if Phase.TLS in passed else None,
    )
    return Result(key, draw(moments), {phase: draw(_lap) for phase in passed}, evidence, failure)


@st.composite
def results_for(draw: st.DrawFn, checks: Sequence[Check]) -> dict[CheckKey, Result]:
    """Results of some of these checks."""
    chosen = [check.key for check in checks if draw(st.booleans())]
    return {key: draw(results_of(key)) for key in chosen}


@st.composite
def plans_with_results(draw: st.DrawFn) -> tuple[Plan, dict[CheckKey, Result]]:
    """A plan in which some checks have a result and some are pending."""
    work = draw(plans)
    return work, draw(results_for(work.checks))
