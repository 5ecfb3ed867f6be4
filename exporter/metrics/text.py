"""A registry to what a scrape gets: text or OpenMetrics, from lines that are kept until what they say changes."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.metrics.accept import form_for, takes_gzip

COMPRESSION: Final = 1  # level 1 takes a sixth of the time of the default and the network is local

_RENAMING: Final = ("escaping=dots", "escaping=values")  # schemes that change even names without a special character


class Kept(Collector):
    """A collector that has the lines of its families at hand: `kept` says what `collect` says, in the same order.

    Its samples have neither exemplars nor timestamps, so that a line is the same in each format.
    """

    def refresh(self) -> Iterator[None]:
        """Make anew what has changed, a little at each step, where that is more than a few milliseconds' work."""
        yield from ()

    @abstractmethod
    def kept(self) -> Iterator[tuple[Metric, Iterable[str]]]:
        """Each family, whose samples nobody looks at, and its lines in pieces; all of the moment of the first step."""


class Exposition(CollectorRegistry):
    """A registry that is rendered in slices, and the lines of collectors that keep theirs only joined."""

    def __init__(self) -> None:
        super().__init__()
        self._in_order: dict[Collector, None] = {}

    def register(self, collector: Collector) -> None:
        """Add a collector."""
        super().register(collector)
        self._in_order[collector] = None

    def unregister(self, collector: Collector) -> None:
        """Remove a collector."""
        super().unregister(collector)
        del self._in_order[collector]

    def pieces(self, accept: str) -> tuple[Iterator[bytes], str]:
        """What `generate_latest` gives, in slices of a few milliseconds at most, and its content type."""
        encode, content_type = choose_encoder(form_for(accept))

        def of(collector: Collector) -> Iterator[bytes]:
            if not isinstance(collector, Kept) or content_type.endswith(_RENAMING):
                yield encode(collector)
                return
            for _ in collector.refresh():
                yield b""
            for family, lines in collector.kept():
                yield encode(_Just(Metric(family.name, family.documentation, family.type, family.unit)))
                yield "".join(lines).encode()

        def slices() -> Iterator[bytes]:
            end = encode(_Just())  # OpenMetrics ends with a mark, and so does each family that is encoded by itself
            for collector in tuple(self._in_order):
                for piece in of(collector):
                    yield piece.removesuffix(end)
            yield end

        return slices(), content_type


class _Just(Collector):
    """These families and nothing else."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def lines(family: Metric) -> str:
    """The samples of a family, a line each."""
    return "".join([Labels(found.labels).line(found.name, found.value) for found in family.samples])


class Labels:
    """A label set, escaped and in order once for the lines of all its series: that is most of what a line costs."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._names = sorted(labels)
        self._pairs = [_pair(name, labels[name]) for name in self._names]
        self._text = f"{{{','.join(self._pairs)}}}" if labels else ""

    def line(self, name: str, value: float) -> str:
        """The line of the series of this name."""
        return f"{name}{self._text} {_number(value)}\n"

    def line_with(self, label: str, its_value: str, name: str, value: float) -> str:
        """The line of the series of this name that has one label more."""
        place = bisect_left(self._names, label)
        pairs = [*self._pairs[:place], _pair(label, its_value), *self._pairs[place:]]
        return f"{name}{{{','.join(pairs)}}} {_number(value)}\n"


def _pair(label: str, value: str) -> str:
    return f'{label}="{_escaped(value)}"'


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def render(registry: Exposition, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """A scrape's body and headers, all at once."""
    pieces, content_type = registry.pieces(accept)
    headers = headers_of(content_type, accept_encoding)
    return (compressed if "Content-Encoding" in headers else b"".join)(pieces), headers


def headers_of(content_type: str, accept_encoding: str) -> dict[str, str]:
    """The headers of an answer; it is compressed if the scraper can take it."""
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    return headers | {"Content-Encoding": "gzip"} if takes_gzip(accept_encoding) else headers


def compressed(pieces: Iterable[bytes]) -> bytes:
    """The body as gzip. In a thread it holds up nobody, for it does not need the interpreter."""
    gzip = zlib.compressobj(COMPRESSION, wbits=zlib.MAX_WBITS | 16)
    return b"".join([*map(gzip.compress, pieces), gzip.flush()])


# ---------------------------------------------------------------- events


class _Child:
    """One label set: what stands before the value in each of its lines, the values, and the lines."""

    __slots__ = ("_lines", "_series", "values")

    def __init__(self, series: Sequence[str]) -> None:
        self._series = series
        self.values = [0.0] * len(series)
        self._lines: str | None = None

    def touch(self) -> None:
        """Have the lines made anew: a value has changed."""
        self._lines = None

    @property
    def lines(self) -> str:
        """The lines with the values of now."""
        if self._lines is None:
            pairs = zip(self._series, self.values, strict=True)
            self._lines = "".join([f"{series} {_number(value)}\n" for series, value in pairs])
        return self._lines


C = TypeVar("C", bound=_Child)


class _Labelled(Kept, Generic[C]):
    """Counters or histograms of one name, each begun by `labels` and ended by `remove_by_labels`.

    Used as prometheus_client's own are, of which a scrape collects every line, changed or not, at 10 microseconds each.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._children: dict[tuple[str, ...], C] = {}
        registry.register(self)

    @abstractmethod
    def _begin(self, labels: tuple[str, ...]) -> C:
        """A child at 0."""

    @abstractmethod
    def _family(self, values: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
        """What prometheus_client makes of label sets and the values of their lines."""

    def labels(self, *values: str) -> C:
        """The child of these label values, in the order of the names; it begins at 0."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._begin(values)
        return child

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """End all children with these labels."""
        places = {self._labels.index(name): value for name, value in labels.items()}
        for values in tuple(self._children):
            if all(values[place] == value for place, value in places.items()):
                del self._children[values]

    def describe(self) -> Iterable[Metric]:
        """The family without samples."""
        return [self._family({})]

    def collect(self) -> Iterable[Metric]:
        """The family as prometheus_client has it."""
        return [self._family({labels: child.values for labels, child in self._children.items()})]

    def kept(self) -> Iterator[tuple[Metric, Iterable[str]]]:
        """The family and the lines of its children."""
        yield self._family({}), [child.lines for child in self._children.values()]

    def _series_of(self, labels: tuple[str, ...], zeros: Sequence[float]) -> list[str]:
        return [line.rpartition(" ")[0] for line in lines(self._family({labels: zeros})).split("\n")[:-1]]


class _Count(_Child):
    """What `KeptCounter.labels` gives."""

    __slots__ = ()

    def inc(self, amount: float = 1.0) -> None:
        """Count."""
        self.values[0] += amount
        self.touch()


class KeptCounter(_Labelled[_Count]):
    """A counter with labels."""

    def _begin(self, labels: tuple[str, ...]) -> _Count:
        return _Count(self._series_of(labels, [0.0]))

    def _family(self, values: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, (value,) in values.items():
            family.add_metric(labels, value)
        return family


class _Distribution(_Child):
    """What `KeptHistogram.labels` gives. Its values: up to each bound, how many, their sum."""

    __slots__ = ("_bounds",)

    def __init__(self, series: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(series)
        self._bounds = bounds

    def observe(self, amount: float) -> None:
        """Count into each bucket whose bound is not exceeded."""
        values = self.values
        for place in range(bisect_left(self._bounds, amount), len(values) - 1):
            values[place] += 1
        values[-1] += amount
        self.touch()


class KeptHistogram(_Labelled[_Distribution]):
    """A histogram with labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = (*buckets, float("inf"))
        super().__init__(name, documentation, labels, registry)

    def _begin(self, labels: tuple[str, ...]) -> _Distribution:
        return _Distribution(self._series_of(labels, [0.0] * (len(self._bounds) + 2)), self._bounds)

    def _family(self, values: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [_number(bound) for bound in self._bounds]
        for labels, (*upto, _, total) in values.items():
            family.add_metric(labels, list(zip(bounds, upto, strict=True)), total)
        return family
