"""The vocabulary: what a site needs, what is probed for it, and what came of it. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from operator import attrgetter
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import urlsplit

# ---------------------------------------------------------------- what is documented


class Status(StrEnum):
    """Whether Microsoft still stands by an endpoint."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class Support(StrEnum):
    """Whether the documents allow something (TLS inspection, an authenticated proxy) on the way to an endpoint."""

    SUPPORTED = "supported"
    CONDITIONAL = "conditional"
    UNSUPPORTED = "unsupported"
    UNSPECIFIED = "unspecified"


class Trust(StrEnum):
    """Who must have issued the endpoint's certificate."""

    PUBLIC = "public"
    MICROSOFT_PRODUCT = "microsoft-product"  # roots that Windows ships and Linux trust stores lack
    CUSTOMER = "customer"  # the operator's own certificate, as on a cloud management gateway


class WhyReference(StrEnum):
    """Why an endpoint decides nothing about readiness, although a document lists it: a closed set."""

    KNOWN_DEAD = "known_dead"  # others have found that it answers nowhere
    CERTIFICATE_NAME = "certificate_name"  # others have found that its certificate does not cover the name
    SOURCES_DISAGREE = "sources_disagree"  # another document says that it is not needed, or asks for it in another way
    CONFIGURED = "configured"  # the operator says so


class Importance(StrEnum):
    """What it means for the site when a feature is not ready."""

    CRITICAL = "critical"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions of Configuration Manager (YYMM) that need an endpoint; both ends belong to it."""

    first: str | None = None
    last: str | None = None

    def includes(self, version: str | None) -> bool:
        """Whether `version` needs it; a site that does not say its version needs all."""
        if version is None:
            return True
        return (self.first is None or int(self.first) <= int(version)) and (
            self.last is None or int(version) <= int(self.last)
        )


@dataclass(frozen=True, slots=True)
class ExtraPorts:
    """Ports beyond those that are probed, which a firewall must open all the same."""

    ports: str  # "10124-10139"
    protocol: str
    when: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One documented line. `pattern` is its text, and the label of that name."""

    pattern: str
    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = ()  # empty: the scheme's own; else one per scheme in order, or any number for one scheme
    path: str = "/"
    probe: tuple[str, ...] = ()  # URL templates; empty: made from the pattern, or its representatives
    method: str = "GET"
    accept: frozenset[int] | None = None  # statuses that count as usable; None: Configuration Manager's own rule
    status: Status = Status.ACTIVE
    since: str | None = None  # when that status began, as the document dates it
    why: str | None = None  # what stands behind that status
    versions: VersionRange = VersionRange()
    condition: str | None = None  # when the documents ask for it, in words
    only_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # parameter -> the values that need this line
    tls_inspection: Support = Support.UNSPECIFIED
    authenticated_proxy: Support | None = None  # None: what holds for the role
    trust: Trust = Trust.PUBLIC
    extra_ports: tuple[ExtraPorts, ...] = ()
    leads_to: tuple[str, ...] = ()  # hosts and *.domains that its redirects may lead to, beside those that are known
    docs: str | None = None  # None: the group's
    source: tuple[str, ...] = ()  # keys of the catalogue's sources
    note: str | None = None
    reference: WhyReference | None = None  # why it decides nothing; None: it decides

    @property
    def decides(self) -> bool:
        """Whether its feature is not ready without it."""
        return self.reference is None

    def ports_of(self, scheme: str) -> tuple[int, ...]:
        """The ports of one of its schemes: all given ones if it is the only scheme, else its own in order.

        Where none is given, the URL's or the scheme's usual one; none where neither is known.
        """
        if self.ports:
            return self.ports if len(self.schemes) == 1 else (self.ports[self.schemes.index(scheme)],)
        in_url = urlsplit(self.pattern).port if "://" in self.pattern else None
        usual = in_url or DEFAULT_PORTS.get(scheme)
        return (usual,) if usual else ()


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints that one feature needs from one or more roles in one or more clouds."""

    feature: str
    title: str | None = None
    docs: str | None = None
    status: Status = Status.ACTIVE  # of each endpoint that does not say its own
    roles: tuple[str, ...] = ()  # empty: every role of the site
    clouds: tuple[str, ...] = ()  # empty: every cloud of the site
    endpoints: tuple[Endpoint, ...] = ()
    logs: tuple[str, ...] = ()  # the product's log files that show the same fault
    messages: tuple[str, ...] = ()  # the product's status messages and components
    troubleshooting: str | None = None
    own: bool = False  # the operator's, not Microsoft's
    file: str = field(default="", compare=False)  # where the operator wrote it
    importance: Importance | None = None  # of the feature; None: as the feature's first group says, else normal


@dataclass(frozen=True, slots=True)
class Representative:
    """A real host that stands for a wildcard."""

    host: str
    schemes: tuple[str, ...] = ()  # empty: those of the endpoint
    source: tuple[str, ...] = ()
    note: str | None = None
    clouds: tuple[str, ...] = ()  # where it stands for the wildcard; empty: everywhere


@dataclass(frozen=True, slots=True)
class Wildcard:
    """What the documents say about a wildcard: hosts below it, or why there are none."""

    representatives: tuple[Representative, ...] = ()
    stand_ins: tuple[str, ...] = ()  # hosts outside the wildcard that say something about it; not probed for it
    none_found: str | None = None


@dataclass(frozen=True, slots=True)
class Forwarder:
    """A host whose redirects lead to others that no endpoint names."""

    leads_to: tuple[str, ...]
    source: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A site system role, or another place that speaks to the internet."""

    slug: str
    title: str
    authenticated_proxy: Support = Support.UNSPECIFIED
    proxy_note: str | None = None
    aliases: tuple[str, ...] = ()  # what else people call it


@dataclass(frozen=True, slots=True)
class Cloud:
    """An Azure environment."""

    slug: str
    title: str
    aliases: tuple[str, ...] = ()  # what else people call it
    unsupported: Mapping[str, str] = field(default_factory=dict)  # feature -> who says that it is not to be had there


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name that the operator gives and that templates use."""

    name: str
    meaning: str
    regex: str | None = None  # what its value must match as a whole
    default: str | None = None  # may itself be a template
    values: tuple[str, ...] = ()  # closed set of values; empty: any
    form: str | None = None  # what `regex` demands, in words
    reads: str | None = None  # how people may write it: see `understood`

    def understood(self, value: str) -> str:
        """A value as templates take it: the first label of a host name, or a region's name without its blanks."""
        if self.reads == "first-label":
            return value.partition(".")[0]
        return value.replace(" ", "").lower() if self.reads == "without-blanks" else value


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that is known about endpoints before a site is named."""

    groups: tuple[Group, ...]
    roles: Mapping[str, Role]
    clouds: Mapping[str, Cloud]
    parameters: Mapping[str, Parameter]
    wildcards: Mapping[str, Wildcard]  # by host pattern, lower case
    sources: Mapping[str, str]  # key -> citation
    forwarders: Mapping[str, Forwarder] = field(default_factory=dict)  # by host, lower case


# ---------------------------------------------------------------- what the operator says

Prefix: TypeAlias = IPv4Network | IPv6Network  # the addresses that begin alike


@dataclass(frozen=True, slots=True)
class Site:
    """Which part of the catalogue this site needs. Empty roles or features: all of them."""

    clouds: tuple[str, ...] = ("azure-public",)
    roles: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = (Status.ACTIVE,)
    version: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None  # by which people know it


@dataclass(frozen=True, slots=True)
class Probing:
    """How probes are made. Durations in seconds."""

    interval: float = 20.0
    timeout: float = 10.0  # one attempt as a whole
    attempts: int = 2
    concurrency: int = 64


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Trust beyond the system's."""

    ca_file: str | None = None  # PEM, added to the system's trust


class Auth(StrEnum):
    """How to sign in to a proxy."""

    AUTO = "auto"  # as the proxy asks, and not before it does
    NONE = "none"
    BASIC = "basic"
    NTLM = "ntlm"
    NEGOTIATE = "negotiate"


class SystemProxy(StrEnum):
    """Where Windows keeps the address of a proxy."""

    WINHTTP = "winhttp"  # for the whole machine: `netsh winhttp`
    WININET = "wininet"  # for one account: Internet Options


@dataclass(frozen=True, slots=True)
class Proxy:
    """A web proxy. Its URL and password are secrets: only the name travels."""

    name: str
    url: str = field(repr=False)  # http://host:port or https://host:port, without credentials; empty: see below
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()
    auth: Auth = Auth.AUTO
    system: SystemProxy | None = None  # where Windows keeps the URL
    pac: str | None = field(default=None, repr=False)  # URL or path of the PAC file that names the URL for each target
    line: int = field(default=1, compare=False)  # of the configuration, where one of the three stands


Place: TypeAlias = tuple[str | int, ...]  # keys and list positions, from the top of a file down


@dataclass(frozen=True, slots=True)
class Written:
    """Where a configuration says what; nothing, where there is none."""

    file: str = ""
    lines: Mapping[Place, int] = field(default_factory=dict)  # of what is said of site, proxies, via and groups
    group_files: Mapping[str, Place] = field(default_factory=dict)  # path -> where it is named
    empty: bool = False  # whether the file says nothing at all


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """What the operator says of a feature, against the catalogue."""

    importance: Importance | None = None  # None: as the catalogue has it
    decides: Mapping[str, bool] = field(default_factory=dict)  # pattern -> whether it decides


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, every mistake already refused."""

    site: Site = Site()
    probing: Probing = Probing()
    tls: TlsSettings = TlsSettings()
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    via: Mapping[str, str] = field(default_factory=dict)  # role -> proxy name; roles not named go direct
    groups: tuple[Group, ...] = ()  # the operator's own, from group_files and groups
    address_ranges: tuple[Prefix, ...] = ()  # where the addresses of endpoints are expected
    written: Written = field(default_factory=Written, compare=False)
    features: Mapping[str, FeatureSettings] = field(default_factory=dict)


# ---------------------------------------------------------------- what is probed


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """One label set: who needs it, and where."""

    feature: str
    role: str
    cloud: str


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One documented endpoint as one consumer needs it."""

    consumer: Consumer
    pattern: str


@dataclass(frozen=True)
class Target:
    """A URL that is really probed, how it is asked, and which answers it may give."""

    url: str
    method: str = "GET"
    accept: frozenset[int] | None = None
    own: bool = field(default=False, compare=False)  # only the operator names its host, as one of the intranet
    leads_to: frozenset[str] = field(default=frozenset(), compare=False)  # hosts, and *.domains, beside those known

    def also(self, other: Target) -> Target:
        """What two lines say of one target: public where either is, and led wherever either may lead."""
        return replace(self, own=self.own and other.own, leads_to=self.leads_to | other.leads_to)

    @cached_property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @cached_property
    def host(self) -> str:
        """The host name, or the address without brackets."""
        return urlsplit(self.url).hostname or ""

    @cached_property
    def port(self) -> int:
        """The port, also where the URL leaves it out."""
        return urlsplit(self.url).port or DEFAULT_PORTS[self.scheme]


NO_PATTERN: Final = "(none)"  # where a cloud does not have a feature, in the place of what it would need
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
DIRECT: Final = "direct"


class WhyUnprobed(StrEnum):
    """Why a documented endpoint has no target."""

    MISSING_PARAMETER = "missing_parameter"
    NO_REPRESENTATIVE = "no_representative"
    NOT_HTTP = "not_http"
    NOT_SUPPORTED = "not_supported"  # the cloud does not have the feature


@dataclass(frozen=True, slots=True)
class Requirement:
    """One documented endpoint as one consumer needs it, with what is probed for it or why nothing is."""

    use: Use
    endpoint: Endpoint
    docs: str | None
    targets: tuple[Target, ...] = ()
    why_unprobed: WhyUnprobed | None = None  # set exactly where there is no target
    detail: str | None = None  # the same in words, with the remedy
    logs: tuple[str, ...] = ()  # of the feature: the product's log files that show the same fault
    messages: tuple[str, ...] = ()  # of the feature: the product's status messages
    troubleshooting: str | None = None
    importance: Importance = Importance.NORMAL  # of the feature


@dataclass(frozen=True, slots=True)
class CheckKey:
    """The identity of a probe: what is probed, and by which path."""

    target: Target
    proxy: str | None = None  # the proxy's name; None: direct

    @property
    def path(self) -> str:
        """The path as it is labelled: `direct` or `proxy:NAME`."""
        return DIRECT if self.proxy is None else f"proxy:{self.proxy}"


@dataclass(frozen=True, slots=True)
class Ways:
    """What Windows or a PAC file names for a target: in this order they are tried, as far as no connection opens."""

    urls: tuple[str | None, ...]  # of proxies, without credentials; None: direct
    why_none: str | None = None  # set exactly where there is none, in words


@dataclass(frozen=True)
class Check:
    """One physical probe, and every documented line that it answers for."""

    key: CheckKey
    uses: tuple[Use, ...]  # sorted, no two alike
    reference: frozenset[Use] = frozenset()  # those of them that decide nothing

    @cached_property
    def consumers(self) -> tuple[Consumer, ...]:
        """Who asks for it; each once, however many patterns it serves."""
        return tuple(sorted({use.consumer for use in self.uses}))

    @cached_property
    def counted_for(self) -> tuple[Consumer, ...]:
        """Whose label sets it is counted under: those for whom it decides something."""
        return tuple(sorted({use.consumer for use in self.uses if use not in self.reference}))


@dataclass(frozen=True)
class Plan:
    """All the work, and what it is done for."""

    checks: tuple[Check, ...] = ()
    requirements: tuple[Requirement, ...] = ()  # one for each use, in their order
    site: str = ""  # where it is done, for people
    why_nothing: str = ""  # where nothing is selected: by which words

    @cached_property
    def unprobed(self) -> tuple[Requirement, ...]:
        """What cannot be checked."""
        return tuple(requirement for requirement in self.requirements if not requirement.targets)

    @cached_property
    def reference(self) -> frozenset[Use]:
        """What is probed and decides nothing."""
        return frozenset(need.use for need in self.requirements if need.targets and not need.endpoint.decides)

    @cached_property
    def requirement_of(self) -> Mapping[Use, Requirement]:
        """What is documented for each use."""
        return {requirement.use: requirement for requirement in self.requirements}

    @cached_property
    def importance_of(self) -> Mapping[Consumer, Importance]:
        """What it means for each consumer when its feature is not ready."""
        return {requirement.use.consumer: requirement.importance for requirement in self.requirements}

    @cached_property
    def checks_of(self) -> Mapping[Use, tuple[CheckKey, ...]]:
        """The checks behind each use, in order of the uses; none where nothing is probed."""
        keys: dict[Use, list[CheckKey]] = {requirement.use: [] for requirement in self.unprobed}
        for check in self.checks:
            for use in check.uses:
                keys.setdefault(use, []).append(check.key)
        in_order = sorted(keys, key=attrgetter("consumer.feature", "consumer.role", "consumer.cloud", "pattern"))
        return {use: tuple(keys[use]) for use in in_order}


# ---------------------------------------------------------------- what came of it


class Phase(StrEnum):
    """The phases of a probe, in order, named as blackbox_exporter names them."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    PROXY = "proxy"  # the CONNECT exchange
    TLS = "tls"
    PROCESSING = "processing"  # request sent to response headers read


class ClockSource(StrEnum):
    """By whose clock the end of a phase is taken."""

    KERNEL = "kernel"  # which stamps what arrives
    LOOP = "loop"  # the exporter's own, when it gets round to reading


class Reason(StrEnum):
    """Why a probe failed: a closed set. The prefix names the phase (`dns` for resolve, `http` for processing)."""

    DNS_NOT_FOUND = "dns_not_found"
    DNS_TIMEOUT = "dns_timeout"
    DNS_ERROR = "dns_error"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_UNREACHABLE = "connect_unreachable"
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_AUTH_REQUIRED = "proxy_auth_required"
    PROXY_DENIED = "proxy_denied"
    PROXY_ERROR = "proxy_error"
    TLS_TIMEOUT = "tls_timeout"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_EXPIRED = "tls_expired"
    TLS_HOSTNAME_MISMATCH = "tls_hostname_mismatch"
    TLS_HANDSHAKE = "tls_handshake"
    HTTP_TIMEOUT = "http_timeout"
    HTTP_RESET = "http_reset"
    HTTP_PROTOCOL = "http_protocol"
    HTTP_STATUS = "http_status"
    HTTP_BLOCKED = "http_blocked"
    INTERNAL_ERROR = "internal_error"


class Cause(StrEnum):
    """What is known of a failure beyond its reason, where that leads to another remedy: a closed set."""

    PROXY_SCHEME = "proxy_scheme"  # plain HTTP where its URL says https, or the other way round
    PROXY_CERTIFICATE = "proxy_certificate"  # the proxy's own does not verify
    NOT_A_PROXY = "not_a_proxy"  # most likely a web server
    PLAIN_TEXT = "plain_text"  # where TLS was to be spoken
    CLIENT_CERTIFICATE = "client_certificate"  # the server asks for one
    FULL_SIZE_PACKETS = "full_size_packets"  # are lost, and smaller ones are not
    LOGIN_PAGE = "login_page"  # a proxy's or a filter's, in place of the answer
    OWN_REDIRECT = "own_redirect"  # an endpoint of the operator's own leads to a domain that nothing names
    EXPECTS_TLS = "expects_tls"  # a port that is asked in plain text
    ACCOUNT_LAPSED = "account_lapsed"  # the proxy refuses an account that it took before
    NO_SCHEME_OFFERED = "no_scheme_offered"  # the proxy wants a login and does not say by what scheme
    SINKHOLE = "sinkhole"  # the name resolves to what cannot be the service's address
    PRIVATE_ADDRESS = "private_address"  # a public name resolves to an address of somebody's own network
    STRICTER_CLIENT = "stricter_client"  # the exporter refuses TLS that Windows may take
    OLD_TLS = "old_tls"  # nothing newer than TLS 1.1 is offered
    MISSING_INTERMEDIATE = "missing_intermediate"  # an issuer that was neither sent nor is known here
    MISSING_ROOT = "missing_root"  # the root is a public one, or Microsoft's, which this machine lacks
    OUTDATED_ROOTS = "outdated_roots"  # what has expired is a root in this machine's trust
    NOT_YET_VALID = "not_yet_valid"
    WEAK_CERTIFICATE = "weak_certificate"  # its key is too short, or its signature's hash too old
    WRONG_PURPOSE = "wrong_purpose"  # made for something other than a server
    NAME_CONSTRAINTS = "name_constraints"  # its authority may not issue for this name
    REVOKED = "revoked"
    UNFIT_CERTIFICATE = "unfit_certificate"  # it breaks another rule


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: in which phase, the reason, and the words for a person."""

    phase: Phase
    reason: Reason
    message: str
    cause: Cause | None = None
    answered_by: str | None = None  # the product, or the host it leads to, that answered in the service's place


class Root(StrEnum):
    """Whose root a chain leads to."""

    PUBLIC = "public"  # on Mozilla's list
    MICROSOFT_PRODUCT = "microsoft-product"
    PRIVATE = "private"  # any other: an organisation's own, an inspecting device's


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a chain. Times are Unix seconds. What cannot be read is None."""

    subject: str | None
    issuer: str | None
    not_before: float | None
    not_after: float | None
    sha256: str
    size: int = 0  # bytes
    weak: str | None = None  # what makes it weak, such as a short key
    ca_issuers: str | None = None  # the URL where it says that its issuer's certificate can be fetched (AIA)

    @property
    def readable(self) -> bool:
        """Whether anything of it can be read."""
        return self.not_after is not None


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the handshake showed, whether or not the chain verified."""

    protocol: str | None = None
    chain: tuple[Certificate, ...] = ()  # as the server sent it, its own first
    leads_to: Root | None = None  # None: no chain was seen, or it stops at an issuer that nobody knows
    path: tuple[Certificate, ...] = ()  # from the server's own towards a root, as the verification took it
    verified: bool = False  # whether that path verified
    missing: str | None = None  # the issuer at which the path stops: neither sent, nor known here
    unread: int = 0  # certificates that were sent, or are of the path, and cannot be read, or are too many to be read

    @property
    def not_after(self) -> float | None:
        """The earliest end on the path that verified; where none did, of every certificate that was seen. Unix time."""
        return _earliest(self.path if self.verified and self.path else (*self.chain, *self.path))

    @property
    def presented_not_after(self) -> float | None:
        """The earliest end of what the server sent, whether the path needs it or not. Unix time."""
        return _earliest(self.chain)

    def was_sent(self, certificate: Certificate) -> bool:
        """Whether the server sent it; what it did not send comes from this machine's trust."""
        return any(certificate.sha256 == sent.sha256 for sent in self.chain)

    def intercepted(self, trust: Trust) -> bool | None:
        """Whether somebody other than the service issued the certificate, where `trust` must have issued it.

        None where that is unknown: no chain was seen, it stops at an issuer that nobody knows, or the certificate
        is the customer's own.
        """
        if self.leads_to is None or trust is Trust.CUSTOMER:
            return None
        return self.leads_to is Root.PRIVATE


def _earliest(certificates: Iterable[Certificate]) -> float | None:
    ends = (certificate.not_after for certificate in certificates if certificate.not_after is not None)
    return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an HTTP answer, and how its body begins where that was read."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""  # 4 KiB at most
    phrase: str = ""  # the words behind the status

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a header, in order."""
        return tuple(value for key, value in self.headers if key.lower() == name.lower())


class Question(StrEnum):
    """What is asked of a name server, as its protocol calls it."""

    A = "A"
    AAAA = "AAAA"

    @property
    def words(self) -> str:
        """What is asked, for a person."""
        return f"the question for {'IPv4' if self is Question.A else 'IPv6'} addresses ({self})"


class Contact(StrEnum):
    """What came of asking an address for a connection, in the order in which it leads to a remedy."""

    OPENED = "opened"
    REFUSED = "refused"  # somebody there says no
    FORBIDDEN = "forbidden"  # a rule of this machine or on the way says no
    SILENT = "silent"
    UNREACHABLE = "unreachable"  # somebody on the way says so
    NO_WAY = "no_way"  # this machine has no route there, or no such family of addresses
    FAILED = "failed"  # on this machine, before anybody was asked


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """One end of a connection."""

    address: str
    port: int  # 0: not known

    def __str__(self) -> str:
        if not self.port:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tried:
    """An address that was asked for a connection, and what came of it."""

    address: str
    contact: Contact
    seconds: float  # until that, or for how long it has been silent
    error: str | None = None  # in the system's words, where there was one
    port: int = 0  # 0: not known
    local: SocketAddress | None = None  # where it was asked from; None: the system found no address for that
    at: float = 0.0  # Unix time of the question


@dataclass(frozen=True, slots=True)
class NameServer:
    """A DNS server that this machine asks, and the address that it is asked from."""

    address: str
    local: str | None = None


@dataclass(frozen=True, slots=True)
class WayTaken:
    """Which of the ways to a target that Windows or a PAC file names was gone. The address of a proxy is a secret."""

    number: int  # from 1
    of: int
    direct: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a probe saw on its way; each part only where the probe came that far."""

    addresses: tuple[str, ...] = ()  # every address that the name, the target's or its proxy's, resolved to
    address: str | None = None  # the one that was connected to
    dialogue: tuple[Answer, ...] = ()  # what the proxy refused CONNECT with, in order
    tls: TlsFacts | None = None
    answer: Answer | None = None
    in_range: bool | None = None  # whether all addresses lie in the operator's ranges; None: unknown
    proxy_tls: TlsFacts | None = None  # of the connection to the proxy itself
    tried: tuple[Tried, ...] = ()  # in the order in which they were asked
    servers: tuple[NameServer, ...] = ()  # whom this machine asks for names, where one came to nothing
    by_dns: bool | None = None  # False: the host is an address, or stands in the hosts file; None: was not resolved
    unanswered: Question | None = None  # what the resolver did not answer, where it answered the other
    gap: bool = False  # what was waited for had arrived in part: the end of it, and not what stands before
    way: WayTaken | None = None  # where the configuration leaves it to Windows or to a PAC file

    @property
    def status(self) -> int | None:
        """The status of the answer."""
        return self.answer.status if self.answer else None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one probe. Phases are in seconds, in the order they were entered; the last one may have failed."""

    key: CheckKey
    started: float  # Unix time
    phases: Mapping[Phase, float] = field(default_factory=dict)
    evidence: Evidence = Evidence()
    failure: Failure | None = None
    attempts: int = 1
    late: frozenset[Phase] = frozenset()  # phases that may have ended before the exporter noticed
    recovered_from: Failure | None = None  # of the attempt before, where this one succeeded
    interrupted: float = 0.0  # share of its time in which the exporter itself stood still, if that may be why it failed

    @property
    def up(self) -> bool:
        """Whether the target is usable from here."""
        return self.failure is None

    @property
    def state(self) -> EndpointState:
        """The same as a word."""
        return EndpointState.UP if self.up else EndpointState.DOWN

    @property
    def through_proxy(self) -> bool:
        """Whether a proxy was asked: what a PAC file sends direct goes direct, whatever its path is called."""
        way = self.evidence.way
        return self.key.proxy is not None and not (way is not None and way.direct)

    @property
    def repeatable(self) -> bool:
        """Whether another attempt does no harm: a refused sign-in may lock the account, unless it was taken before."""
        if self.failure is None or self.failure.reason is not Reason.PROXY_AUTH_REQUIRED:
            return True
        return self.failure.cause is Cause.ACCOUNT_LAPSED

    def after(self, failed: Result) -> Result:
        """The same as the next attempt after one that failed."""
        return replace(self, attempts=failed.attempts + 1, recovered_from=failed.failure if self.up else None)

    @property
    def duration(self) -> float:
        """Seconds: what the phases add up to; what the exporter itself did between them is in none."""
        return sum(self.phases.values())

    @property
    def finished(self) -> float:
        """Unix time of the end."""
        return self.started + self.duration


class OutOfTurn(StrEnum):
    """Why a check is probed at another time than its place in the interval: a closed set."""

    SUSPECTED = "suspected"  # others fail that share a path or a host with it
    DOWN = "down"  # to learn when its path works again
    RECOVERED = "recovered"  # its path or its host works again


@dataclass(frozen=True, slots=True)
class Spell:
    """Probes of one check in a row that all came to the same. Times are Unix seconds."""

    reason: Reason | None  # None: up
    first: float  # the end of the first of them
    last: float
    probes: int = 1
    message: str = ""  # of the last failure


@dataclass(frozen=True, slots=True)
class Hours:
    """How many probes of a check ended in each hour, and how many of them found it up; packed, for there are many."""

    hour: int = 0  # the latest one, in hours since 1970 (UTC)
    up: int = 0  # of the latest one
    probes: int = 0
    before: bytes = b""  # the hours up to it, the oldest first: two numbers of two bytes each, up and probes


@dataclass(frozen=True, slots=True)
class Latest:
    """The last finished probe of a check, and what has held since."""

    result: Result
    since: float  # Unix time at which this state and reason began
    last_success: float | None = None  # Unix time
    history: tuple[Spell, ...] = ()  # what is remembered, the oldest first
    unconfirmed: Failure | None = None  # of an attempt that no other has confirmed, up to the next probe
    hours: Hours = Hours()


class EndpointState(StrEnum):
    """The state of a documented endpoint for one consumer."""

    UP = "up"
    DOWN = "down"
    UNPROBED = "unprobed"
    PENDING = "pending"
    REFERENCE = "reference"  # probed, and decides nothing, whatever came of it


class Verdict(StrEnum):
    """What a feature, or everything that is selected, comes to."""

    READY = "ready"
    NOT_READY = "not_ready"
    INCOMPLETE = "incomplete"  # nothing needed is down, and not everything could be checked that can be
    NOTHING_TO_CHECK = "nothing_to_check"  # nothing that is probed decides anything
    PENDING = "pending"
    NOT_SUPPORTED = "not_supported"  # of a feature alone: its cloud does not have it

    @property
    def words(self) -> str:
        """The same for a person: `not ready`."""
        return self.replace("_", " ")

    @property
    def ready(self) -> bool | None:
        """Whether it works; None where that is not known."""
        return {Verdict.READY: True, Verdict.NOT_READY: False}.get(self)


@dataclass(frozen=True, slots=True)
class EndpointReadiness:
    """One endpoint of a feature, and the checks behind it."""

    use: Use
    state: EndpointState
    checks: tuple[CheckKey, ...] = ()
    outcome: EndpointState | None = None  # of what decides nothing: what its probes came to
    refused: tuple[CheckKey, ...] = ()  # of a wildcard that is up: those of its checks that are down

    @property
    def seen(self) -> EndpointState:
        """What its probes came to, whether or not that decides something."""
        return self.outcome or self.state


@dataclass(frozen=True, slots=True)
class FeatureReadiness:
    """Whether a feature can work for one role in one cloud."""

    consumer: Consumer
    ready: bool | None  # None: a first result is pending, or nothing is probed
    endpoints: tuple[EndpointReadiness, ...]
    verdict: Verdict  # the same, which knows also what could not be checked

    @property
    def partly_open(self) -> tuple[EndpointReadiness, ...]:
        """Its wildcards of which some hosts are up and some down."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.refused)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The plan in force, the latest results, and what follows from them, all of one moment."""

    plan: Plan
    latest: Mapping[CheckKey, Latest]
    features: tuple[FeatureReadiness, ...]
    paths: Mapping[str, bool]  # `dns`, `direct`, `proxy:NAME` -> up; a path without a result is absent
    families: Mapping[tuple[str, str], bool] = field(default_factory=dict)  # path, `ipv4` or `ipv6` -> up
    began: float | None = None  # Unix time of the first result of all: before it, nothing is known
