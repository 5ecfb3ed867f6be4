"""YAML text -> plain values, and the line where each of them stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml
from yaml.reader import Reader

from exporter.config.fields import found
from exporter.model.vocabulary import Place

MAX_VALUES: Final = 100_000  # after aliases are unfolded: a kilobyte of them can stand for billions
MAX_DEPTH: Final = 32  # the C parser recurses, and a file of brackets would overflow its stack


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the YAML itself, whatever it means."""

    line: int
    place: Place
    message: str
    damages: bool = False  # whether the value is another than was meant


_Pair: TypeAlias = tuple[yaml.Node, yaml.Node]


class NotYaml(Exception):
    """A text that is no YAML, or more of it than anybody writes."""

    def __init__(self, line: int, place: Place, message: str) -> None:
        self.flaw = Flaw(line, place, message)
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something stands: a mapping or a list at its key, a text or a number at itself."""

    place: Place
    line: int
    key_line: int


class Tree:
    """What a text says: `value`; what is wrong with how it says it: `flaws`. Raises NotYaml."""

    def __init__(self, text: str) -> None:
        self.flaws: list[Flaw] = []
        self._unfolded = 0
        self._root = _composed(text)
        self._children: dict[int, dict[str, _Pair]] = {}  # of mappings that were looked into
        self.value = None if self._root is None else self._unfold(self._root, (), ())

    def locate(self, place: Place) -> Spot:
        """Where a value stands, or the nearest thing around it that the text holds."""
        node = self._root
        line = 1 if node is None else _line(node)
        spot = Spot((), line, line)
        for step in place:
            key, node = self._child(node, step)
            if node is None:
                break
            line = _line(node)
            key_line = line if key is None else _line(key)
            spot = Spot((*spot.place, step), key_line if isinstance(node, yaml.CollectionNode) else line, key_line)
        return spot

    def _child(self, node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
        """The key and the value at one step below a node; an item of a list has no key."""
        if isinstance(node, yaml.MappingNode):
            below = self._children.get(id(node))
            if below is None:
                below = self._children[id(node)] = _first_of_each(node)
            return below.get(str(step), (None, None))
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            return None, node.value[step]
        return None, None

    def _unfold(self, node: yaml.Node, place: Place, above: tuple[yaml.Node, ...]) -> object:
        """A node as plain values, aliases replaced by what they stand for."""
        self._unfolded += 1
        line = _line(node)
        if node in above:
            raise NotYaml(line, place, "an alias that leads back to itself; write the values out")
        if len(place) > MAX_DEPTH:
            raise NotYaml(line, place[:1], _TOO_DEEP)
        if self._unfolded > MAX_VALUES:
            raise NotYaml(line, place[:1], f"more than {MAX_VALUES} values once the aliases are unfolded; write fewer")
        if node.tag not in _TAGS:
            self.flaws.append(Flaw(line, place, "a !tag, which means nothing here; quote a text that begins with !"))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._unfold(item, (*place, i), (*above, node)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.style == '"' and _BROKEN_PATH.match(node.value):
            self.flaws.append(Flaw(line, place, _NO_BACKSLASH, damages=True))
        elif odd := Reader.NON_PRINTABLE.search(node.value):
            self.flaws.append(Flaw(line, place, f"the text holds the character U+{ord(odd[0]):04X}; remove it"))
        return _scalar(node.tag, node.value)

    def _mapping(self, node: yaml.MappingNode, place: Place, above: tuple[yaml.Node, ...]) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        merged: list[object] = []
        for key, value in node.value:
            line = _line(key)
            if key.tag == f"{_TAG}merge":
                merged.append(self._unfold(value, place, above))
                self.flaws.append(Flaw(line, (*place, "<<"), _NO_MERGE))
                continue
            name = self._unfold(key, place, above)
            if not isinstance(name, str):
                self.flaws.append(Flaw(line, place, f"a key must be text, found {found(name)}; quote it"))
            elif name in values:
                self.flaws.append(
                    Flaw(line, (*place, name), f"duplicate key, first used on line {lines[name]}; remove one")
                )
            else:
                lines[name] = line
                values[name] = self._unfold(value, (*place, name), above)
        for one in merged:  # so that nothing is missed which is said there
            values = {**one, **values} if isinstance(one, dict) else values
        return values


# A path of Windows whose backslash and next letter were taken for one character: "C:\\temp", "C:\\Program Files".
_BROKEN_PATH: Final = re.compile(r"(?:[A-Za-z]:|\\[\w.$-]+)[\x00-\x1f\x85\xa0\u2028\u2029]")
_NO_MERGE: Final = "merge keys (<<) are not read; write the values out (an alias for a whole value works)"
_NO_BACKSLASH: Final = "in double quotes a backslash and the letter behind it mean one character; use single quotes"

# ---------------------------------------------------------------- nodes

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast, where it was built
_TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep; write it flatter"


def _composed(text: str) -> yaml.Node | None:
    """The nodes of a text, each with its mark; None where there are only comments."""
    if odd := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise NotYaml(line, (), f"the character U+{ord(odd[0]):04X} cannot stand in YAML; remove it")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise NotYaml(_line(event), (), _TOO_DEEP)
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _in_our_words(error, text) from None


def _line(thing: yaml.Node | yaml.Event) -> int:
    return thing.start_mark.line + 1 if thing.start_mark else 1


def _first_of_each(node: yaml.MappingNode) -> dict[str, _Pair]:
    """The pairs of a mapping by their keys; of equal ones the first."""
    pairs: dict[str, _Pair] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            pairs.setdefault(key.value, (key, value))
    return pairs


_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset(
    _TAG + name for name in ("map", "seq", "str", "null", "bool", "int", "float", "timestamp", "merge", "value")
)
_WHOLE: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{0,15}")


def _scalar(tag: str, text: str) -> object:
    """A plain value as YAML 1.2 reads it: `no`, `1:30`, `010` and dates stay text."""
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool" if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case "int" if _WHOLE.fullmatch(text):
            return int(text)
        case "float" if _DECIMAL.fullmatch(text):
            return float(text)
        case _:
            return text


# ---------------------------------------------------------------- syntax errors

# PyYAML's words (its two parsers differ) -> what they mean. Its own words may quote the text, which may be a password:
# they are never shown.
_MEANING: Final = (
    ("alias", "a text that begins with * must be quoted"),
    ("anchor", "a text that begins with & must be quoted; an anchor is defined once"),
    ("tag handle|a tag", "a text that begins with ! must be quoted"),
    ("cannot start any token", "a text that begins with this character must be quoted"),
    ("directive", "a text that begins with % must be quoted"),
    ("block scalar", "a text that begins with | or > must be quoted"),
    ("mapping values are not", "a key cannot stand here; fix the indentation, or quote the text that holds `: `"),
    ("end of stream", "the quote that opens here is never closed"),
    (
        "quoted scalar",
        "a backslash in double quotes begins a special character; use single quotes, or \\\\ for a backslash",
    ),
    ("node content", "a value is missing; a text that begins with a bracket, a comma or a colon must be quoted"),
    ("flow sequence", "the list that opens here lacks a comma or its ]"),
    ("flow mapping", "the mapping that opens here lacks a comma or its }"),
    ("simple key", "expected `key: value`"),
    ("block collection", "the indentation does not fit the list above, or this line lacks its -"),
    ("block mapping", "the indentation does not fit the keys above"),
    ("another document", "a second document begins; a file holds one"),
)
_WHERE_IT_BEGAN: Final = re.compile("end of stream|',' or|simple key")  # not where the parser gave up


def _in_our_words(error: yaml.MarkedYAMLError, text: str) -> NotYaml:
    theirs = f"{error.problem} {error.context}"
    number = error.problem_mark.line if error.problem_mark else 0
    line = "".join(text.split("\n")[number : number + 1])
    if "\t" in line[: len(line) - len(line.lstrip())]:
        meaning = "a tab cannot indent; use spaces"
    else:
        meaning = next((said for words, said in _MEANING if re.search(words, theirs)), "fix or quote this line")
        if error.context_mark and _WHERE_IT_BEGAN.search(theirs):
            number = error.context_mark.line
    return NotYaml(number + 1, (), f"not valid YAML: {meaning}")
