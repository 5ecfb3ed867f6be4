"""The operator's configuration: exporter.yaml -> Settings, or every mistake in it and in its group files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from exporter.config.aliases import FEATURE_ALIASES, aliases
from exporter.config.documents import (
    A_FOLDER,
    Document,
    DocumentError,
    Mistake,
    Unreadable,
    lacking_here,
    peek,
    raise_errors,
    read,
)
from exporter.config.durations import LONGER_THAN_0, seconds, spelled
from exporter.config.fields import (
    KNOWN,
    NOT_EMPTY,
    CheckedAs,
    CloudName,
    Faults,
    Named,
    RoleName,
    Rule,
    Section,
    Shape,
    Slug,
    Text,
    Version,
    distinct,
    expected,
    found,
    is_host,
    member_of,
    named_in_context,
    unknown,
    url_fault,
    within,
)
from exporter.config.groups import GroupSection, ImportanceWord, Names, StatusWord, add_contradictions
from exporter.config.groups import read_groups as groups_at
from exporter.config.machine import GIVE_FILE, Held, look_up
from exporter.config.prefixes import read_prefixes
from exporter.model.addresses import collapsed
from exporter.model.patterns import fill, parameters_of
from exporter.model.vocabulary import (
    Auth,
    Catalogue,
    FeatureSettings,
    Group,
    Parameter,
    Place,
    Prefix,
    Probing,
    Proxy,
    Settings,
    Site,
    SystemProxy,
    TlsSettings,
    Written,
)
from exporter.text.numbers import plural

T = TypeVar("T")


def load(path: Path | None, catalogue: Catalogue) -> Settings:
    """The settings of a configuration file, or the embedded default. Raises DocumentError with all mistakes.

    What this machine lacks for it is a mistake, too. Paths in the file are relative to it. Passwords are read now.
    """
    settings, lacking = examine(path, catalogue)
    return _without(settings, lacking)


def parse(text: str, path: Path, catalogue: Catalogue) -> Settings:
    """The same of a text that is to stand at a path."""
    return _without(*_settings(Document(text, str(path)), path.parent, catalogue))


def examine(path: Path | None, catalogue: Catalogue) -> tuple[Settings, tuple[Mistake, ...]]:
    """The settings of a configuration that may be another machine's, less what this one lacks for them, and that.

    Raises DocumentError with all mistakes where the file is wrong on any machine.
    """
    return (Settings(), ()) if path is None else _settings(read(path), path.parent, catalogue)


def _without(settings: Settings, lacking: tuple[Mistake, ...]) -> Settings:
    """The settings where nothing is lacking. Raises DocumentError."""
    if lacking:
        raise DocumentError(lacking)
    return settings


def _settings(main: Document, directory: Path, catalogue: Catalogue) -> tuple[Settings, tuple[Mistake, ...]]:
    files, mistakes = _files(main, "group_files", read, directory)
    ranges, amiss = _files(main, "address_ranges", read_prefixes, directory)
    known = _names(catalogue, main, files, directory)
    section = main.validate(MainSection, context=known)
    located = [*groups_at(main, ("groups",), known), *chain.from_iterable(groups_at(file, (), known) for file in files)]
    add_contradictions(located)
    groups = tuple(replace(here.group, own=True, file=here.document.file) for here in located)
    _add_bad_fillings(main, known, (*groups, *catalogue.groups))
    held = look_up(main, directory)
    lacking = lacking_here((main, *files), (*mistakes, *amiss))
    if section is None:
        raise AssertionError("what is not valid is blamed")
    settings = section.settings(groups, collapsed(chain.from_iterable(ranges)), held)
    proxies = {name: replace(proxy, line=_line(main, proxy)) for name, proxy in settings.proxies.items()}
    return replace(settings, proxies=proxies, written=_written(main, directory)), lacking


def _written(main: Document, directory: Path) -> Written:
    """Where the file says what may turn out to be said in vain."""
    places: list[Place] = [("site", "roles"), ("site", "features"), ("site", "clouds"), ("site", "parameters")]
    places += [("proxies",), ("via",), ("group_files",), ("groups",)]
    below: list[Place] = []
    for place in places:
        value = main.at(place)
        steps = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        below += [(*place, step) for step in steps]
    files = {str(directory / str(main.at(place))): place for place in below if place[0] == "group_files"}
    lines = {place: main.line(place) for place in (("site",), *places, *below)}
    return Written(main.file, lines, files, empty=main.value is None)


def _line(main: Document, proxy: Proxy) -> int:
    """Where it is said how a proxy is found."""
    key = "pac" if proxy.pac is not None else "system" if proxy.system is not None else "url"
    return main.line(("proxies", proxy.name, key))


def read_groups(path: Path, catalogue: Catalogue) -> tuple[Group, ...]:
    """The groups of a group file. Raises DocumentError with all mistakes."""
    document = read(path)
    located = groups_at(
        document, (), Names(catalogue.roles, catalogue.clouds, values=_closed(catalogue), also=_also(catalogue))
    )
    add_contradictions(located)
    raise_errors([document])
    return tuple(here.group for here in located)


@dataclass(frozen=True)
class Known(Names):
    """What the configuration may refer to, its own definitions included, also those that hold a mistake."""

    parameters: Mapping[str, Parameter | None] = field(default_factory=dict)  # None: only the operator's groups use it
    patterns: Mapping[str, Collection[str]] = field(default_factory=dict)  # of each feature
    proxies: Collection[str] = ()
    directory: Path = Path()


def _names(catalogue: Catalogue, main: Document, files: Iterable[Document], directory: Path) -> Known:
    groups = [*peek(main.value, "groups", ...), *(group for file in files for group in peek(file.value, ...))]
    features = _texts(feature for group in groups for feature in peek(group, "feature"))
    probes = _texts(url for group in groups for url in peek(group, "endpoints", ..., "probe", ...))
    paths = _texts(path for group in groups for path in peek(group, "endpoints", ..., "path"))
    limits = (only for group in groups for only in peek(group, "endpoints", ..., "only_for"))
    used = chain(chain.from_iterable(map(parameters_of, (*probes, *paths))), *map(_keys, limits))
    patterns: dict[str, set[str]] = {}
    for group in catalogue.groups:
        patterns.setdefault(group.feature, set()).update(endpoint.pattern for endpoint in group.endpoints)
    for own in groups:
        for feature in _texts(peek(own, "feature")):
            patterns.setdefault(feature, set()).update(_texts(peek(own, "endpoints", ..., "pattern")))
    return Known(
        roles=catalogue.roles.keys(),
        clouds=catalogue.clouds.keys(),
        features={*features, *(group.feature for group in catalogue.groups)},
        patterns=patterns,
        parameters={**dict.fromkeys(used), **catalogue.parameters},
        values=_closed(catalogue),
        also=_also(catalogue),
        proxies=_keys(main.at(("proxies",))),
        directory=directory,
    )


def _also(catalogue: Catalogue) -> dict[Named, Mapping[str, str]]:
    return {
        Named.ROLE: aliases(catalogue.roles),
        Named.CLOUD: aliases(catalogue.clouds),
        Named.FEATURE: FEATURE_ALIASES,
    }


def _closed(catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    return {name: parameter.values for name, parameter in catalogue.parameters.items() if parameter.values}


def _files(main: Document, key: str, read_one: Callable[[Path], T], directory: Path) -> tuple[list[T], list[Mistake]]:
    """The files listed under a key that can be read, each once, and the mistakes of the others."""
    files: dict[str, T] = {}
    mistakes: list[Mistake] = []
    for i, name in enumerate(peek(main.value, key, ...)):
        if not isinstance(name, str) or name in files:
            continue
        try:
            files[name] = read_one(directory / name)
        except Unreadable as error:
            why = error.mistakes[0].message
            what_to_do = "wildcards are not expanded; name each file" if set(name) & set("*?") else GIVE_FILE
            main.add_error((key, i), f"{found(name)} {why}" + ("" if why.endswith(A_FOLDER) else f"; {what_to_do}"))
        except DocumentError as error:
            mistakes += error.mistakes
    return list(files.values()), mistakes


def _texts(values: Iterable[object]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _keys(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _add_bad_fillings(main: Document, known: Known, groups: Iterable[Group]) -> None:
    """Blame parameters that make of a template something that is no URL."""
    given = main.at(("site", "parameters"))
    values = {
        name: _understood(name, text, known)
        for name, text in (given.items() if isinstance(given, dict) else ())
        if not _parameter_fault(name, text, known)
    }
    endpoints = chain.from_iterable(group.endpoints for group in groups)
    for template in dict.fromkeys(chain.from_iterable(endpoint.probe for endpoint in endpoints)):
        url, _ = fill(template, values)
        if url and url != template and (fault := url_fault(url)):
            name = parameters_of(template)[0]
            main.add_error(("site", "parameters", name), f"does not fit into the probe {template}: {fault}")


# ---------------------------------------------------------------- checks of one field


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(expected("a duration such as 60s", value))  # noqa: TRY004 - pydantic collects ValueError only
    if not isinstance(value, str) and value > 0:
        raise ValueError(f"expected a duration, found {found(value)}; write {spelled(value)}")
    length = seconds(value) if isinstance(value, str) else 0
    if not length:
        raise ValueError("must be longer than 0")
    return length


def _known(info: ValidationInfo) -> Known:
    return cast("Known", info.context)


def _parameters(values: dict[str, object], info: ValidationInfo) -> dict[str, str]:
    """The operator's parameters; one without a value counts as left out."""
    given = {name: value for name, value in values.items() if value is not None}
    faults = {(name,): _parameter_fault(name, value, _known(info)) for name, value in given.items()}
    if any(faults.values()):
        raise Faults((place, fault) for place, fault in faults.items() if fault)
    return {name: _understood(name, value, _known(info)) for name, value in given.items()}


def _understood(name: str, value: object, known: Known) -> str:
    parameter = known.parameters.get(name)
    return parameter.understood(str(value)) if parameter else str(value)


def _parameter_fault(name: str, value: object, known: Known) -> str | None:
    if name not in known.parameters:
        return unknown("parameter", known.parameters, name)
    if not isinstance(value, str):
        return expected(Shape.TEXT, value)
    parameter = known.parameters[name]
    if parameter and parameter.values and value not in parameter.values:
        return f"{found(value)}: {unknown('value', parameter.values, value)}"
    if parameter and parameter.regex and parameter.form and not re.fullmatch(parameter.regex, value):
        host = re.split("[/:?]", value.partition("://")[2].lower())[0]
        near = parameter.understood(host) if re.fullmatch(parameter.regex, host) else ""
        return f"{expected(parameter.form, value)} ({parameter.meaning})" + (f"; write {near}" if near else "")
    if not re.fullmatch(r"[!-~]+", _understood(name, value, known)):
        return expected("text without spaces, in ASCII", value)
    return None


_LONGEST_NAME: Final = 60  # characters: it stands in the title of a browser's tab


def _site_name(text: str) -> str:
    """A name that fits on one line."""
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError(expected(f"a name of at most {_LONGEST_NAME} characters on one line", text))
    return text.strip()


_NO_PROXY: Final = frozenset({"direct", "none", "no", "off", "false"})


def _in_place_of(kind: type, what_to_do: str) -> BeforeValidator:
    """What to write where people write a text or a list in place of a mapping."""

    def check(value: object) -> object:
        if isinstance(value, kind):
            message = f"expected {Shape.MAPPING}, found {found(value)}; {what_to_do}"
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError only
        return value

    return BeforeValidator(check)


_BY_ROLE: Final = _in_place_of(str, "write a line for each role, as in `client: corporate`")
_BY_NAME: Final = _in_place_of(list, "write the name of the proxy as a key, as in `corporate: {url: ...}`")
_BY_FEATURE: Final = _in_place_of(
    list,
    "write `site: {features: [...]}` to choose some, or what holds for one, as in `tenant-attach: {importance: low}`",
)


def _via(proxy_of: dict[str, object], info: ValidationInfo) -> dict[str, str]:
    known = _known(info)
    faults: list[tuple[Place, str]] = []
    for role, proxy in proxy_of.items():
        if role in known.proxies and role not in known.roles and isinstance(proxy, str) and proxy in known.roles:
            faults.append(((role,), f"role and proxy are swapped; write `{proxy}: {role}`"))
            continue
        if role not in known.roles:
            faults.append(((role,), unknown("role", known.roles, role, known.called(Named.ROLE))))
        if not isinstance(proxy, str):
            faults.append(((role,), expected("the name of a proxy", proxy)))
        elif proxy not in known.proxies and proxy.lower() in _NO_PROXY:
            faults.append(((role,), f"{found(proxy)} is no proxy; remove this line to let the role go direct"))
        elif proxy not in known.proxies:
            faults.append(((role,), f"{found(proxy)}: {unknown('proxy', known.proxies, proxy)}"))
    if faults:
        raise Faults(faults)
    return {role: str(proxy) for role, proxy in proxy_of.items()}


def _known_features(
    sections: dict[str, FeatureSection | None], info: ValidationInfo
) -> dict[str, FeatureSection | None]:
    known = _known(info)
    faults: list[tuple[Place, str]] = []
    for name, section in sections.items():
        if name not in known.features:
            faults.append(((name,), unknown("feature", known.features, name, known.called(Named.FEATURE))))
            continue
        patterns = known.patterns.get(name, ())
        strays = (pattern for pattern in (section.decides if section else ()) if pattern not in patterns)
        faults += (((name, "decides", stray), unknown("pattern of this feature", patterns, stray)) for stray in strays)
    if faults:
        raise Faults(faults)
    return sections


def _proxy_url(url: str) -> str:
    if "@" in url:
        raise ValueError("do not put credentials in the URL; use `username` and `password_file`")
    if url.lower().startswith("socks"):
        raise ValueError("SOCKS is not supported; name an HTTP proxy, as in http://host:port")
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("only http:// and https:// proxies are supported; write http://host:port")
    if url.lower().endswith((".pac", "/wpad.dat")):
        raise ValueError("a PAC file is no proxy; give it as `pac` in place of `url`")
    if fault := url_fault(url):
        raise ValueError(fault if "; " in fault or "port" in fault else f"{fault}; write http://host:port")
    parts = urlsplit(url)
    if parts.port is None:
        raise ValueError(f"the port is missing; write {url.removesuffix('/')}:3128, with the port of your proxy")
    if parts.path or parts.query:
        raise ValueError("a proxy has no path; remove what follows the port")
    return url


def _pac(place: str, info: ValidationInfo) -> str:
    """The URL of a PAC file, or the path of one."""
    if "://" not in place:
        return str(_known(info).directory / place)
    if place.lower().startswith("file:"):
        raise ValueError("write the path of the file itself, relative to this configuration")
    if "@" in place:
        raise ValueError("do not put credentials in the URL; give an address that asks for none")
    if fault := url_fault(place):
        raise ValueError(f"{fault}; write http://host/proxy.pac, or the path of a file")
    return place


def _found_in_one_way(pac: str | None, info: ValidationInfo) -> str | None:
    """A proxy that somebody can find, and in one way."""
    if not {"url", "system"} <= info.data.keys():  # a mistake of its own
        return pac
    given = [key for key, value in {**info.data, "pac": pac}.items() if value is not None]
    if not given:
        raise ValueError("nothing says where the proxy is; give one of `url`, `system` and `pac`")
    if len(given) > 1:
        raise ValueError(f"{' and '.join(f'`{key}`' for key in given)} say where the proxy is; keep one of them")
    return pac


def _username(name: str) -> str:
    if ":" in name or not name.isprintable():
        raise ValueError("a user name holds no colon and no control character; give the password in `password_file`")
    return name


def _given_together(file: str | None, info: ValidationInfo) -> str | None:
    """A password file beside a user name, or neither."""
    username = info.data.get("username")
    if file is None and username is not None:
        raise ValueError("`username` is given without `password_file`; give both or neither")
    if file is not None and username is None and "username" in info.data:
        raise ValueError("given without `username`; give both or neither")
    return file


def _auth(auth: Auth, info: ValidationInfo) -> Auth:
    """A way to sign in that the account fits."""
    username = info.data.get("username")
    if auth is Auth.NONE and username is not None:
        raise ValueError("nobody signs in with `none`; remove it, or `username` and `password_file`")
    if auth is Auth.BASIC and username is None and "username" in info.data:
        raise ValueError("Basic needs an account; give `username` and `password_file`")
    return auth


def _exception(entry: str) -> str:
    """One entry of `no_proxy`."""
    if entry.startswith("*."):
        raise ValueError(f"a suffix begins with a dot; write {entry[1:]}")
    network, slash, _ = entry.partition("/")
    if not slash and is_host(entry.removeprefix(".")):
        return entry
    try:
        meant = ip_network(entry, strict=False) if slash else None
    except ValueError:
        meant = None
    if meant is None:
        raise ValueError(expected("a host name, a .suffix, an address or a network such as 10.0.0.0/8", entry))
    if network != str(meant.network_address):
        raise ValueError(f"the network of {entry} begins at {meant.network_address}; write {meant}")
    return entry


# ---------------------------------------------------------------- the schema

_DEFAULT: Final = Settings()

Duration = Annotated[
    float, BeforeValidator(_positive, json_schema_input_type=Annotated[str, Field(pattern=LONGER_THAN_0)])
]


class SiteSection(Section):
    """Which part of the catalogue this site needs."""

    name: Annotated[Text, Rule(_site_name, {"maxLength": _LONGEST_NAME})] | None = Field(
        default=None,
        description="What the status page, its data and `check` call this place, such as `P01 Berlin`; left out: the "
        "name of the machine.",
    )
    clouds: Annotated[list[CloudName], NOT_EMPTY, distinct()] = Field(
        default=list(_DEFAULT.site.clouds), description="The clouds of the site."
    )
    roles: Annotated[list[RoleName], distinct()] = Field(
        default=[], description="The roles that the site has; empty: all."
    )
    features: Annotated[list[Annotated[str, named_in_context(Named.FEATURE)]], distinct()] = Field(
        default=[], description="The features in use, your own included; empty: all."
    )
    statuses: Annotated[list[StatusWord], NOT_EMPTY, distinct()] = Field(
        default=list(_DEFAULT.site.statuses),
        description="What Microsoft has deprecated or retired is probed only if it is named here.",
    )
    version: Version | None = Field(
        default=None, description='The site\'s version as "YYMM", in quotes; drops what only other versions need.'
    )
    parameters: Annotated[dict[str, Any], AfterValidator(_parameters), WithJsonSchema({KNOWN: "parameters"})] = Field(
        default={}, description="Names that fill templates; what lacks its name is listed as unprobed."
    )

    def site(self) -> Site:
        """The same as a value of the vocabulary."""
        return Site(
            clouds=tuple(self.clouds),
            roles=tuple(self.roles),
            features=tuple(self.features),
            statuses=tuple(self.statuses),
            version=self.version,
            parameters=self.parameters,
            name=self.name,
        )


class FeatureSection(Section):
    """What you say of a feature, against the catalogue."""

    alone = "importance"

    importance: ImportanceWord | None = Field(
        default=None, description="What it means for you when the feature is not ready; left out: as shipped."
    )
    decides: dict[Text, bool] = Field(
        default={},
        description="Documented pattern to whether the feature is ready only with it: true for what is shipped for "
        "reference only, false for what you know to be dead.",
    )

    def settings(self) -> FeatureSettings:
        """The same as a value of the vocabulary."""
        return FeatureSettings(self.importance, self.decides)


class ProbeSection(Section):
    """How each target is probed."""

    instead: ClassVar = {"retries": "write `attempts`, which counts the first one as well"}

    timeout: Duration = Field(
        default=spelled(_DEFAULT.probing.timeout),
        validate_default=True,
        description="For one attempt as a whole, from the name to the head of the answer.",
    )
    attempts: Annotated[int, within(1, 10)] = Field(
        default=_DEFAULT.probing.attempts,
        description="1 to 10: so many attempts must fail in a row before a target is down. `serve` makes them 1 to 3 "
        "seconds apart, the second beside the first where that stays silent, and fewer where many fail at once; "
        "`check`, `explain` and `/probe` make them at once.",
    )
    concurrency: Annotated[int, within(1, 10_000)] = Field(
        default=_DEFAULT.probing.concurrency, description="Probes at the same time, 1 to 10000."
    )
    interval: Duration = Field(
        default=spelled(_DEFAULT.probing.interval),
        validate_default=True,
        description="How often each target is probed; at least `attempts` times `timeout`.",
    )

    @model_validator(mode="after")
    def _hold_all_attempts(self) -> Self:
        """An interval has time for every attempt of a round; else what is written is at fault."""
        if round(self.timeout * 1000) * self.attempts > round(self.interval * 1000):
            key = next(name for name in ("interval", "timeout", "attempts") if name in self.model_fields_set)
            what = f"{plural(self.attempts, 'attempt')} of {spelled(self.timeout)}"
            fault = (
                f"{what} {'takes' if self.attempts == 1 else 'take'} up to {spelled(self.timeout * self.attempts)}, "
                f"longer than the interval of {spelled(self.interval)}{'' if key == 'interval' else ', the default'}; "
                "lower probe.timeout or probe.attempts, or raise probe.interval"
            )
            raise Faults([((key,), fault)])
        return self

    def probing(self) -> Probing:
        """The same as a value of the vocabulary."""
        return Probing(self.interval, self.timeout, self.attempts, self.concurrency)


class TlsSection(Section):
    """Trust beyond the system's."""

    instead: ClassVar = dict.fromkeys(
        ("verify", "insecure", "insecure_skip_verify"),
        "certificates are always verified; give the root that you trust as `ca_file`",
    )

    ca_file: Text | None = Field(
        default=None, description="PEM file of certificates that are trusted beside the system's."
    )


_SIGN_INS: Final = dict.fromkeys(("kerberos", "spnego", "windows"), Auth.NEGOTIATE.value)
_HOW_FOUND: Final = ("url", "system", "pac")  # of which a proxy has one


class ProxySection(Section):
    """A web proxy: by its URL, as Windows has it, or as a PAC file says."""

    alone = "url"
    instead: ClassVar = {
        "password": "write it into a file of its own, the path of that file as `password_file`, and `username`",
        **dict.fromkeys(("pac_url", "pac_file"), "write `pac`, in place of `url`"),
    }

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key], "properties": {key: {"type": "string"}}} for key in _HOW_FOUND]
        }
    )

    url: Annotated[Text, Rule(_proxy_url, {"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^@/?#]+:[0-9]+$"})] | None = Field(
        default=None,
        description="http://host:port or https://host:port, without credentials. A proxy has one of url, system, pac.",
    )
    system: Annotated[SystemProxy, member_of("place where Windows keeps a proxy", SystemProxy)] | None = Field(
        default=None, description="What Windows has: winhttp (for the machine) or wininet (of the exporter's account)."
    )
    # Stands below the others: it is checked against them.
    pac: Annotated[Annotated[Text, AfterValidator(_pac)] | None, AfterValidator(_found_in_one_way)] = Field(
        default=None,
        validate_default=True,
        description="A PAC file, by its path or URL, which names the proxy for each target.",
    )
    username: Annotated[Text, Rule(_username, {"pattern": r"^[^:]*[^:\s][^:]*$"})] | None = Field(
        default=None, description="Who signs in, together with the password file: svc, DOMAIN\\svc or svc@REALM."
    )
    # Checked against the user name above it. Not shown, since some write the password itself.
    password_file: Annotated[str | None, AfterValidator(_given_together)] = Field(
        default=None,
        validate_default=True,
        repr=False,
        description="The file that holds the password, on one line; read at start and at each reload.",
    )
    auth: Annotated[Auth, member_of("way to sign in", Auth, _SIGN_INS), AfterValidator(_auth)] = Field(
        default=Auth.AUTO, description="How to sign in; auto: the strongest scheme that the proxy offers."
    )
    no_proxy: Annotated[list[Annotated[Text, AfterValidator(_exception)]], distinct()] = Field(
        default=[], description="Targets reached without the proxy: host, .suffix, address, or network."
    )

    def proxy(self, name: str, password: str | None = None) -> Proxy:
        """The same as a value of the vocabulary."""
        return Proxy(
            name,
            self.url or "",
            self.username,
            password,
            tuple(self.no_proxy),
            self.auth,
            self.system,
            self.pac,
        )


class MainSection(Section):
    """The configuration of configmgr-endpoint-exporter."""

    instead: ClassVar = {
        **dict.fromkeys(
            ("web", "listen", "listen_address", "port"),
            "say on the command line where to listen: `serve --web.listen-address`",
        ),
        "proxy": "write `proxies`, below it a name of your own, and below that `url`",
        **dict.fromkeys(("log", "logging", "log_level"), "say it on the command line: `--log.level`, `--log.format`"),
    }

    site: SiteSection = SiteSection()
    probe: ProbeSection = ProbeSection()
    tls: TlsSection = TlsSection()
    proxies: Annotated[dict[Slug, ProxySection], _BY_NAME] = Field(
        default={}, description="Web proxies by a name of your own, in lower-case words joined by hyphens."
    )
    via: Annotated[dict[str, Any], _BY_ROLE, AfterValidator(_via), WithJsonSchema({KNOWN: "via"})] = Field(
        default={}, description="Role to proxy; a role that is not named goes direct."
    )
    group_files: Annotated[list[Text], distinct()] = Field(
        default=[], description="Files with groups of your own, each a list of groups."
    )
    # Checked one by one, so that a mistake in one hides none between others.
    groups: Annotated[list[Any], CheckedAs(list[GroupSection])] = Field(
        default=[], description="Groups of your own, inline."
    )
    features: Annotated[dict[Slug, FeatureSection | None], _BY_FEATURE, AfterValidator(_known_features)] = Field(
        default={}, description="Feature to what you say of it, against what is shipped."
    )
    address_ranges: Annotated[list[Text], distinct()] = Field(
        default=[], description="Files with ranges of addresses, where the addresses of endpoints are expected."
    )

    def settings(self, groups: tuple[Group, ...], address_ranges: tuple[Prefix, ...], held: Held) -> Settings:
        """The same as values of the vocabulary, with the groups, the ranges and whatever else was read."""
        return Settings(
            site=self.site.site(),
            probing=self.probe.probing(),
            tls=TlsSettings(None if held.ca_file is None else str(held.ca_file)),
            proxies={name: proxy.proxy(name, held.passwords.get(name)) for name, proxy in self.proxies.items()},
            via=self.via,
            groups=groups,
            address_ranges=address_ranges,
            features={name: feature.settings() for name, feature in self.features.items() if feature},
        )
