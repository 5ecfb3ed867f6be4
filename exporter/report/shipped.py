"""The data files of this package: a name -> its checked content."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, ConfigDict

from exporter.config.documents import raise_errors, read

T = TypeVar("T")

KEYS_ARE_KNOWN: Final = ConfigDict(extra="forbid")


def _joined(value: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    return " ".join(map(str, value)) if isinstance(value, list) else value


Parts = Annotated[str, BeforeValidator(_joined)]  # a text, or a list of its parts, of which others may have some too


def read_shipped(name: str, kind: type[T]) -> T:
    """A file of this package as a `kind`. Raises DocumentError with every mistake in it."""
    document = read(Path(str(resources.files("exporter.report"))) / name)
    content = document.validate(kind)
    raise_errors([document])
    if content is None:
        raise AssertionError(name)  # it has raised what is wrong
    return content
