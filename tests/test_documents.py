from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from exporter.config.documents import (
    MAX_BYTES,
    Document,
    DocumentError,
    Mistake,
    Unreadable,
    peek,
    raise_errors,
    read,
    read_all,
    reason,
)
from exporter.config.fields import Section, Shape, Text, expected, found, is_host, unknown, url_fault

YAML_PIECES = st.sampled_from(
    ["a", "b: ", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ",", "&x ", "*x", "!t ", "'", '"', "|", "#", "%", "?", ":"]
)
TEXTS = st.one_of(st.text(), st.lists(YAML_PIECES, max_size=40).map("".join))


class Inner(Section):
    name: Text
    count: int = 0


class Outer(Section):
    inner: Inner = Inner(name="default")
    many: list[Inner] = Field(default=[])
    named: dict[str, Inner] = Field(default={})
    words: list[Text] = Field(default=[])


def mistakes_of(text: str) -> tuple[Mistake, ...]:
    try:
        document = Document(text, "f.yaml")
        document.validate(Outer)
        raise_errors([document])
    except DocumentError as error:
        return error.mistakes
    return ()


def mistakes_in(text: str) -> list[str]:
    return [str(mistake) for mistake in mistakes_of(text)]


# ---------------------------------------------------------------- how a mistake reads


def test_a_mistake_reads_file_line_place_message() -> None:
    assert str(Mistake("a.yaml", 12, ("via", "x"), "unknown role")) == "a.yaml:12: via.x: unknown role"
    assert str(Mistake("a.yaml", 1, (), "cannot be read")) == "a.yaml:1: cannot be read"


def test_an_error_reads_as_all_its_mistakes() -> None:
    error = DocumentError([Mistake("a", 1, ("x",), "one"), Mistake("b", 2, ("y",), "two")])

    assert str(error) == "a:1: x: one\nb:2: y: two"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("inner:\n  name: a\n  count:\n    many\n", "f.yaml:4: inner.count: expected a whole number, found 'many'"),
        ("inner:\n  name:\n    - a\n", "f.yaml:2: inner.name: expected text, found a list"),
        ("inner:\n  nam:\n    - a\n  name: b\n", "f.yaml:2: inner.nam: unknown key, did you mean name?"),
        ("\ninner:\n\n  count: 1\n", "f.yaml:2: inner.name: is missing; add it"),
        ("many:\n  - name: a\n  -\n    count: 1\n", "f.yaml:4: many[1].name: is missing; add it"),
        (
            "many:\n- {name: a}\n- a\n",
            "f.yaml:3: many[1]: expected a mapping with the keys name, count, found 'a'; write lines of `name: value`",
        ),
        ("words:\n  - a\n  - ''\n", "f.yaml:3: words[1]: expected some text, found an empty text"),
        ("named: {a b: {name: 1}}\n", "f.yaml:1: named['a b'].name: expected text, found the number 1; quote it"),
        ("named: {x.y: {}}\n", "f.yaml:1: named.x.y.name: is missing; add it"),
    ],
)
def test_a_mistake_stands_where_the_text_is(text: str, mistake: str) -> None:
    assert mistakes_in(text)[0] == mistake


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "---\n", "{}", "inner:\nmany:\nwords: ~\n", "\ufeff{}"],
)
def test_what_is_left_empty_is_left_out(text: str) -> None:
    assert Document(text, "f.yaml").validate(Outer) == Outer()


def test_an_unknown_key_is_a_mistake_even_without_a_value() -> None:
    assert mistakes_in("inne:\n") == ["f.yaml:1: inne: unknown key, did you mean inner?"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("12", 12),
        ("-12", -12),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.50", 1.5),
        (".inf", ".inf"),
        ("2022-11-30", "2022-11-30"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("9" * 5000, "9" * 5000),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert Document(f"a: {text}", "f.yaml").at(("a",)) == value


# ---------------------------------------------------------------- what a message shows


def test_a_message_shows_nothing_that_may_be_a_password() -> None:
    assert found("http://svc:pass@word@proxy:3128") == "'***@proxy:3128'"
    (mistake,) = mistakes_in("named:\n  proxy_password: hunter2\n")
    assert mistake.startswith(
        "f.yaml:2: named.proxy_password: expected a mapping with the keys name, count, found a value (not shown);"
    )
    assert "hunter2" not in str(mistakes_in("named:\n  svc:hunter2@proxy: {}\n"))


def test_a_message_stays_short() -> None:
    assert len(found("x" * 1000)) == 62
    assert len(mistakes_in(f"{'x' * 1000}: 1")[0]) < 200


def test_a_close_word_is_offered_else_all() -> None:
    assert unknown("role", ["client", "console"], "clinet") == "unknown role, did you mean client?"
    assert unknown("method", ["GET", "HEAD"], "get") == "unknown method, did you mean GET?"
    assert unknown("role", ["client", "console"], "exchange") == "unknown role; known: client, console"
    assert unknown("proxy", [], "corporate") == "unknown proxy; none is defined"


@pytest.mark.parametrize(
    ("shape", "value", "remedy"),
    [
        (Shape.TEXT, 2403, "; quote it"),
        (Shape.WHOLE_NUMBER, "64", "; remove the quotes"),
        (Shape.WHOLE_NUMBER, "many", ""),
        (Shape.LIST, "client", "; write it in [brackets]"),
        (Shape.MAPPING, "client", "; write lines of `name: value`"),
    ],
)
def test_the_remedy_goes_by_what_was_expected_and_not_by_its_words(shape: Shape, value: object, remedy: str) -> None:
    assert expected(shape, value) == f"expected {shape}, found {found(value)}{remedy}"
    assert expected(str(shape.value), value) == f"expected {shape}, found {found(value)}"


# ---------------------------------------------------------------- files


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_text("# " + "x" * MAX_BYTES)

    for path, why in [
        (tmp_path / "nowhere.yaml", "No such file or directory"),
        (tmp_path, "it is a folder; name a file in it"),
        (Path("a\0b"), "embedded null byte"),
        (large, "it holds more than 1048576 bytes"),
    ]:
        with pytest.raises(Unreadable) as caught:
            read(path)
        assert str(caught.value) == f"{path}:1: cannot be read: {why}"


def test_a_folder_is_told_where_the_system_only_denies_to_read_it(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").touch()
    folder, file = (PermissionError(13, "Permission denied", str(path)) for path in (tmp_path, tmp_path / "f.yaml"))
    assert reason(folder) == "it is a folder; name a file in it"
    assert reason(file) == "Permission denied"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfwords: [a]\n")

    assert read(path).value == {"words": ["a"]}


def test_one_unreadable_file_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("words: [")
    (tmp_path / "b.yaml").write_text("words: []")

    documents, mistakes = read_all([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"])

    assert [Path(document.file).name for document in documents] == ["b.yaml"]
    assert [Path(mistake.file).name for mistake in mistakes] == ["a.yaml", "c.yaml"]


def test_mistakes_come_file_by_file_in_the_order_of_lines_each_once() -> None:
    first, second = Document("a:\nb:\nc:\n", "first"), Document("a:\n", "second")
    for document, place in [(second, "a"), (first, "c"), (first, "a"), (first, "c")]:
        document.add_error((place,), "wrong")

    with pytest.raises(DocumentError) as caught:
        raise_errors([first, second])
    assert str(caught.value) == "first:1: a: wrong\nfirst:3: c: wrong\nsecond:1: a: wrong"


def test_peeking_at_another_shape_finds_nothing() -> None:
    value = {"groups": [{"feature": "a"}, "text", {"feature": "b"}]}

    assert list(peek(value, "groups", ..., "feature")) == ["a", "b"]
    assert list(peek(value, "groups", 1)) == ["text"]
    assert list(peek(value, "groups", 3)) == []
    assert list(peek("text", ..., 0, "a")) == []


# ---------------------------------------------------------------- hosts and URLs


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a", True),
        ("sup_1.corp.example", True),
        ("a.example.", True),
        ("192.0.2.7", True),
        ("2001:db8::1", True),
        ("192.0.2.256", False),
        ("a..example", False),
        ("-a.example", False),
        ("a b", False),
        ("", False),
        ("a." * 127 + "a", False),
    ],
)
def test_a_host_is_a_name_or_an_address(text: str, valid: bool) -> None:
    assert is_host(text) is valid


@given(st.text())
def test_no_url_surprises(text: str) -> None:
    assert url_fault(text) is None or isinstance(url_fault(text), str)


# ---------------------------------------------------------------- whatever people write


@settings(max_examples=400)
@given(TEXTS)
def test_whatever_is_written_every_mistake_stands_on_one_of_its_lines(text: str) -> None:
    lines = max(1, len(text.splitlines()))

    assert all(1 <= mistake.line <= lines for mistake in mistakes_of(text))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_is_read_as_editors_and_powershell_write_it(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "any.yaml"
    mark = "" if encoding in {"utf-8", "utf-8-sig", "utf-16"} else "\ufeff"
    path.write_bytes(f"{mark}title: Büro{end}other: 2{end}".encode(encoding))
    document = read(path)
    assert document.value == {"title": "Büro", "other": 2}
    assert document.line(("other",)) == 2


def test_utf_16_without_its_mark_is_a_mistake_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes("title: Büro\n".encode("utf-16-le"))
    with pytest.raises(DocumentError, match="save the file in UTF-8"):
        read(path)


@settings(max_examples=200)
@given(data=st.one_of(st.binary(), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_read_or_are_mistakes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)

    documents, mistakes = read_all([path])

    assert bool(documents) != bool(mistakes)
