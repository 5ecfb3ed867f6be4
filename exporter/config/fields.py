"""What a field of a YAML file may hold, and the words for what it may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import ip_address
from itertools import islice
from types import MappingProxyType, UnionType
from typing import Annotated, Any, ClassVar, Final, Protocol, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema

from exporter.config.aliases import plain
from exporter.model.vocabulary import Place
from exporter.text.printable import short
from exporter.text.secrets import without_user

JsonSchema = dict[str, Any]
NOTHING: Final[JsonSchema] = {"type": "null"}
KNOWN: Final = "known"  # in a JSON Schema: whoever writes it knows the words


class Faults(ValueError):
    """What a validator says about parts of its value: messages, each with the place below the value."""

    def __init__(self, faults: Iterable[tuple[Place, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(message for _, message in self.faults))


class Section(BaseModel):
    """A mapping with known keys: any other key is a mistake; a key without a value counts as left out."""

    instead: ClassVar[Mapping[str, str]] = {}  # what people write in vain -> what to do instead
    name_key: ClassVar[str] = ""  # the key that holds the name of one of several, where people write the name as a key
    alone: ClassVar[str] = ""  # the key that a text in the section's place is meant for

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        model_title_generator=lambda section: section.__name__.removesuffix("Section"),
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_is_empty(cls, value: object) -> object:
        if value is None:
            return {}
        if not isinstance(value, dict):
            return value
        known = cls.keys()
        return {key: item for key, item in value.items() if item is not None or key not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """A key that may be left out may stand without a value, too."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        for key in schema["properties"].keys() - schema.get("required", ()):
            schema["properties"][key] = _or_nothing(schema["properties"][key])
        return reference

    @classmethod
    def keys(cls) -> dict[str, object]:
        """The keys as they are written, and what each holds."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}


# ---------------------------------------------------------------- words

_CLOSE: Final = 0.65  # `user` is close to `username`, `azure-germany` is not to `azure-us-government`


def shown(text: str) -> str:
    """A text as a message may show it: short, and without what stands before an `@`, which may be a password."""
    return short(without_user(text))


def found(value: object) -> str:
    """A value in words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return repr(shown(value)).replace("\\\\", "\\") if value else "an empty text"  # as in the file
        case _:
            return "a list" if isinstance(value, list) else "a mapping"


class Shape(StrEnum):
    """What a plain value can be, in the words of a message."""

    TEXT = "text"
    WHOLE_NUMBER = "a whole number"
    TRUTH = "true or false"
    LIST = "a list"
    MAPPING = "a mapping"


_SHAPE_OF: Final[Mapping[str, Shape]] = {  # pydantic's names of errors
    "string_type": Shape.TEXT,
    "int_type": Shape.WHOLE_NUMBER,
    "bool_type": Shape.TRUTH,
    "list_type": Shape.LIST,
    "dict_type": Shape.MAPPING,
    "model_type": Shape.MAPPING,
}
_WHOLE_CHARACTERS: Final = "string_unicode"


def expected_by(error: str) -> str | Shape:
    """What pydantic expected when it gives an error of this name."""
    if error == _WHOLE_CHARACTERS:
        return "text of whole characters"
    return _SHAPE_OF.get(error, error)


def _of(kind: type | UnionType, form: str = "") -> Callable[[object], bool]:
    """Whether a value is of a kind, and a text begins so."""
    begins = re.compile(form)
    return lambda value: isinstance(value, kind) and (not isinstance(value, str) or begins.match(value) is not None)


_RANGE: Final = r"\d+-\d+$"
_ALL: Final = frozenset({"all", "any", "*"})
_HAVE_ALL: Final = "remove the key to have all"
_REMEDIES: Final[tuple[tuple[Shape, Callable[[object], bool], str], ...]] = (  # the first that fits
    (Shape.TEXT, _of(int | float), "quote it"),
    (Shape.WHOLE_NUMBER, _of(str, r"\d+$"), "remove the quotes"),
    (Shape.WHOLE_NUMBER, _of(str, _RANGE), "write each number, as in `[200, 204]`"),
    (Shape.LIST, _of(str, _RANGE), "write each number, as in `[200, 204]`"),
    (Shape.LIST, _of(str, r"(?i:all)$"), _HAVE_ALL),
    (Shape.LIST, _of(str, r"-[^\s-]"), "a space is missing behind each dash, as in `- client`"),
    (Shape.LIST, _of(str | int), "write it in [brackets]"),
    (Shape.LIST, _of(dict), "write a dash before each item"),
    (Shape.MAPPING, _of(str, r"[a-z_]+:(?!//)\S"), "a space is missing behind the colon, as in `roles: [client]`"),
    (Shape.MAPPING, _of(str), "write lines of `name: value`"),
    (Shape.MAPPING, _of(list), "write lines of `name: value` without dashes"),
)


def expected(what: str | Shape, value: object) -> str:
    """What was expected and what was found, with the remedy where a shape was expected and it is plain."""
    remedies = (remedy for shape, fits, remedy in _REMEDIES if what is shape and fits(value))
    return "; ".join((f"expected {what}, found {found(value)}", *islice(remedies, 1)))


def meant(known: Iterable[str], word: str) -> str | None:
    """The known word that an unknown one is probably meant to be."""
    words = {one.lower(): one for one in sorted(known)}
    longest = max(map(len, words), default=0)
    close = get_close_matches(word.lower(), words, n=1, cutoff=_CLOSE) if len(word) <= 2 * longest else []
    return words[close[0]] if close else None


def unknown(what: str, known: Iterable[str], word: str, also: Mapping[str, str] = MappingProxyType({})) -> str:
    """That a word is unknown, and which one it stands for (`also`), may be meant to be, or else which are known."""
    words = sorted(known)
    if (stands_for := also.get(plain(word))) in words:
        return f"unknown {what}; write {stands_for}"
    if close := meant(words, word):
        return f"unknown {what}, did you mean {close}?"
    return f"unknown {what}; " + (f"known: {', '.join(words)}" if words else "none is defined")


def _or_nothing(schema: JsonSchema) -> JsonSchema:
    """The same, or no value. Its default stays where it says more than the key's absence does."""
    described: JsonSchema = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    if described.get("default") is None or isinstance(described["default"], dict):
        described.pop("default", None)
    options = [option for option in schema.pop("anyOf", [schema]) if option != NOTHING]
    if len(options) == 1 and isinstance(options[0].get("type"), str) and "enum" not in options[0]:
        return {**options[0], "type": [options[0]["type"], "null"], **described}
    return {"anyOf": [*options, NOTHING], **described}


# ---------------------------------------------------------------- validators


@dataclass(frozen=True, eq=False)
class Rule:
    """A check of a value, and what of it a JSON Schema can say."""

    check: Callable[..., Any]
    said: Mapping[str, object]
    first: bool = False  # before pydantic looks at the value's type

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic checks by."""
        validator = BeforeValidator(self.check) if self.first else AfterValidator(self.check)
        return validator.__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """What pydantic knows of the type, and what is said here."""
        return {**handler(core_schema), **self.said}


@dataclass(frozen=True, eq=False)
class CheckedAs:
    """What a value that is checked piece by piece is as a whole, for a JSON Schema."""

    kind: Any

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """What pydantic knows of that kind."""
        return handler(TypeAdapter(self.kind).core_schema)


def one_of(what: str, words: Iterable[str]) -> Rule:
    """A word of a closed set."""
    known = frozenset(words)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"{found(value)}: {unknown(what, known, value)}")
        return value

    return Rule(check, {"enum": sorted(known)})


def member_of(what: str, members: type[StrEnum], also: Mapping[str, str] = MappingProxyType({})) -> BeforeValidator:
    """A word that names a member of an enumeration; `also` has what else people call them."""

    def check(value: object) -> StrEnum:
        word = value if isinstance(value, str) else ""
        if word not in set(members):
            raise ValueError(f"{found(value)}: {unknown(what, set(members), word, also)}")
        return members(word)

    return BeforeValidator(check)


class Named(StrEnum):
    """What a file may name that is defined elsewhere."""

    ROLE = "role"
    CLOUD = "cloud"
    FEATURE = "feature"
    SOURCE = "source"


class Context(Protocol):
    """What is defined elsewhere."""

    def names(self, what: Named) -> Collection[str] | None:
        """The words that may be named; None: any word."""

    def called(self, what: Named) -> Mapping[str, str]:
        """What else people call them, as `plain` writes it, to those words."""


@dataclass(frozen=True, slots=True)
class SourcesOnly:
    """The context of a file that names nothing but its own sources."""

    sources: Collection[str]

    def names(self, what: Named) -> Collection[str] | None:
        """The words that may be named."""
        return self.sources if what is Named.SOURCE else ()

    def called(self, _: Named) -> Mapping[str, str]:
        """Nothing: sources have one name."""
        return {}


def named_in_context(what: Named) -> Rule:
    """A word among those that the context knows."""

    def check(value: str, info: ValidationInfo) -> str:
        context = cast("Context", info.context)
        known = context.names(what)
        if known is not None and value not in known:
            if value.lower() in _ALL:
                raise ValueError(f"{found(value)}: {_HAVE_ALL}")
            raise ValueError(f"{found(value)}: {unknown(what, known, value, context.called(what))}")
        return value

    return Rule(check, {KNOWN: what})


def within(first: int, last: int) -> Rule:
    """A whole number of a range; both ends belong to it."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not first <= value <= last:
            what = f"{Shape.WHOLE_NUMBER} from {first} to {last}"
            raise ValueError(expected(Shape.WHOLE_NUMBER, value).replace(Shape.WHOLE_NUMBER, what, 1))
        return value

    return Rule(check, {"minimum": first, "maximum": last}, first=True)


def written(expression: str, what: str, nearest: Callable[[str], str] = lambda _: "") -> Rule:
    """A text of a certain form; `nearest` gives one of that form for a text that is not, or an empty one."""
    form = re.compile(expression)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            near = nearest(value)
            raise ValueError(expected(what, value) + (f"; write {near}" if form.fullmatch(near) else ""))
        return value

    return Rule(check, {"pattern": f"^{expression}$"})


def distinct(identity: Callable[[Any], Hashable] = lambda item: item) -> Rule:
    """A list without two items alike."""

    def check(items: list[Any]) -> list[Any]:
        first: dict[Hashable, int] = {}
        twice = [i for i, item in enumerate(items) if first.setdefault(identity(item), i) != i]
        if twice:
            raise Faults(((i,), f"{found(items[i])} is in this list already; remove one") for i in twice)
        return items

    return Rule(check, {"uniqueItems": True})


def _not_empty(items: list[Any]) -> list[Any]:
    if not items:
        raise ValueError("the list is empty; name at least one")
    return items


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(expected("some text", text))
    return text


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", shown(text).lower()))


NOT_EMPTY: Final = Rule(_not_empty, {"minItems": 1})
Text = Annotated[str, Rule(_not_blank, {"pattern": r"\S"})]
Slug = Annotated[str, written(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words joined by hyphens", _slug)]
Link = Annotated[
    str, written(r"https?://(?![^@:]*:[^@]*@|[^/?#]*@)[!-~]+", "a URL that begins with http:// or https://")
]
ParameterName = Annotated[str, written(r"[a-z][a-z0-9_]*", "a name of lower-case letters, digits and _")]
RoleName = Annotated[str, named_in_context(Named.ROLE)]
CloudName = Annotated[str, named_in_context(Named.CLOUD)]
Version = Annotated[str, written(r"[0-9]{2}(0[1-9]|1[0-2])", 'a version as "YYMM", such as "2403"')]


# ---------------------------------------------------------------- hosts and URLs

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE)
_LONGEST_NAME: Final = 254  # RFC 1035, with the root's dot
PORTS: Final = range(1, 65536)


def is_host(text: str) -> bool:
    """Whether a text can be a host name or an address (IPv6 without brackets)."""
    try:
        ip_address(text)
    except ValueError:
        last = text.removesuffix(".").rpartition(".")[2]
        return len(text) <= _LONGEST_NAME and not last.isdecimal() and _NAME.fullmatch(text) is not None
    return True


def _beyond_ascii(url: str) -> str:
    host = "" if "@" in url else url.partition("://")[2].partition("/")[0].partition(":")[0]
    try:
        spelled = host.encode("idna").decode()
    except UnicodeError:
        spelled = host
    if not host.isascii() and spelled != host:
        return f"a host is written in ASCII; write it as {spelled}"
    return "a URL holds no space and nothing beyond ASCII; percent-encode it"


def url_fault(url: str) -> str | None:
    """Why a URL cannot be probed, with the remedy, or None. Never shows the URL, which may hold a password."""
    if re.search(r"[^!-~]", url):
        return _beyond_ascii(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the host is malformed; an address of IPv6 stands in [brackets]"
    try:
        port = parts.port
    except ValueError:
        return "expected a port from 1 to 65535"
    faults = (
        (parts.scheme not in {"http", "https"}, "expected a URL that begins with http:// or https://"),
        ("@" in parts.netloc, "a URL holds no user name or password; remove what stands before the @"),
        (not is_host(parts.hostname or ""), "names no valid host"),
        (port is not None and port not in PORTS, "expected a port from 1 to 65535"),
        ("#" in url, "a fragment is never sent; remove # and what follows"),
    )
    return next((message for wrong, message in faults if wrong), None)
