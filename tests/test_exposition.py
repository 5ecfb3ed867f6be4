"""What a scrape gets is what prometheus_client would write, whichever way events, scrapes and reloads are mixed."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import choose_encoder

from exporter.metrics.text import Exposition, KeptCounter, KeptHistogram, render
from exporter.model.vocabulary import Check, CheckKey, Consumer, Plan, Result, Target, Use
from exporter.web.routes import Service, create_app
from tests.strategies import plans, plans_with_results, results_for
from tests.test_metrics import CHECK, DOWN, UP, Exposed

# As Prometheus 2 and 3, curl and browsers ask; the schemes in which even plain names change.
ACCEPTED = [
    "",
    "*/*",
    "text/plain;version=0.0.4",
    *(f"text/plain;version=1.0.0;escaping={scheme}" for scheme in ("allow-utf-8", "underscores", "dots", "values")),
    "application/openmetrics-text",
    "application/openmetrics-text;version=0.0.1",
    *(
        f"application/openmetrics-text;version=1.0.0;escaping={scheme};q=0.6,text/plain;version=0.0.4;q=0.3"
        for scheme in ("allow-utf-8", "underscores", "dots", "values")
    ),
]


def written(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """What prometheus_client itself would answer."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def answered(registry: Exposition, accept: str) -> tuple[bytes, str]:
    body, headers = render(registry, accept, "")
    return body, headers["Content-Type"]


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
@given(st.sampled_from(ACCEPTED), plans_with_results(), plans, st.data())
def test_a_scrape_is_byte_for_byte_what_prometheus_client_writes(
    accept: str, drawn: tuple[Plan, dict[CheckKey, Result]], following: Plan, data: st.DataObject
) -> None:
    """Also of results that nobody announced, after a reload, and beside families of prometheus_client's own kinds."""
    world = Exposed(drawn[0], drawn[1].values())
    Counter("others", 'with "quotes", \\ and\nlines', registry=world.registry).inc(1, {"trace": "1"})
    assert answered(world.registry, accept) == written(world.registry, accept)
    for work in (drawn[0], following):
        world.adopt(work)
        for result in data.draw(results_for(work.checks)).values():
            announced = data.draw(st.booleans())
            if announced:
                world.finish(result)
            else:
                world.store.record(result)
        assert answered(world.registry, accept) == written(world.registry, accept)


odd_texts = st.text(st.sampled_from('"\\\n\t{}=, #aé\u2028\x85'), max_size=8)


@given(st.sampled_from(ACCEPTED), odd_texts, odd_texts)
def test_label_values_are_escaped_as_prometheus_client_does(accept: str, pattern: str, feature: str) -> None:
    check = Check(CheckKey(Target("https://host.example/")), (Use(Consumer(feature, "client", "cloud"), pattern),))
    world = Exposed(Plan((check,)), [replace(UP, key=check.key)])
    assert answered(world.registry, accept) == written(world.registry, accept)


LABELS = ("who", "why")
events = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.none() | st.sampled_from([0.0, 0.1, 0.25, 1.0, 7e7]))
)


@given(events)
def test_kept_events_expose_what_prometheus_clients_own_do(happened: list[tuple[str, str, float | None]]) -> None:
    """None: all of the first label's value end."""
    kept, own = Exposition(), CollectorRegistry()
    buckets = (0.1, 0.25, 1.0)
    counter, own_counter = KeptCounter("n", "N.", LABELS, kept), Counter("n", "N.", LABELS, registry=own)
    histogram = KeptHistogram("h", "H.", LABELS, buckets, kept)
    own_histogram = Histogram("h", "H.", LABELS, buckets=buckets, registry=own)
    for who, why, amount in happened:
        if amount is None:
            for metric in (counter, own_counter, histogram, own_histogram):
                metric.remove_by_labels({"who": who})
        else:
            counter.labels(who, why).inc(amount)
            own_counter.labels(who, why).inc(amount)
            histogram.labels(who, why).observe(amount)
            own_histogram.labels(who, why).observe(amount)
        assert render(kept, "", "")[0] == generate_latest(own)


def test_a_scrape_shows_one_moment_whatever_happens_between_its_slices() -> None:
    world = Exposed(Plan((CHECK,)), [UP])
    before, _ = render(world.registry, "", "")
    pieces, _ = world.registry.pieces("")
    body = next(pieces)  # the first family of the state
    world.store.record(DOWN)
    world.store.adopt(Plan())
    body += b"".join(pieces)
    assert body == before
    assert b"configmgr_endpoint_up{" not in render(world.registry, "", "")[0]


def checks(count: int) -> tuple[Check, ...]:
    use = Use(Consumer("updates", "client", "azure-public"), "*.example")
    return tuple(Check(CheckKey(Target(f"https://host{n}.example/")), (use,)) for n in range(count))


def test_after_a_reload_each_slice_makes_the_lines_of_one_check() -> None:
    work = Plan(checks(50))
    world = Exposed(work, [replace(UP, key=check.key) for check in work.checks])
    world.adopt(Plan(work.checks))
    made = [len(list(world.state.refresh())) for _ in range(2)]
    assert made == [50, 0]


def test_what_was_announced_is_not_made_again_at_the_scrape() -> None:
    work = Plan(checks(50))
    world = Exposed(work, [replace(UP, key=check.key) for check in work.checks])
    world.store.record(replace(DOWN, key=work.checks[7].key))
    assert len(list(world.state.refresh())) == 1


class Turns:
    """What keeps the event loop busy: so many turns of it, a few milliseconds each, as with many probes under way."""

    made = 0

    async def go_on(self) -> None:
        while True:
            time.sleep(0.005)  # noqa: ASYNC251 - as said
            self.made += 1
            await checkpoint()


@pytest.mark.anyio
async def test_a_scrape_is_there_after_a_few_turns_of_a_busy_loop() -> None:
    work = Plan(checks(50))
    world = Exposed(work, [replace(UP, key=check.key) for check in work.checks])
    world.adopt(Plan(work.checks))  # so that there are lines to be made
    service = SimpleNamespace(store=world.store, registry=world.registry)
    app, turns = create_app(cast(Service, service)), Turns()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client, anyio.create_task_group() as group:
        group.start_soon(turns.go_on)
        answer = await client.get("http://exporter/metrics")
        group.cancel_scope.cancel()
    assert answer.text.count("configmgr_endpoint_up{") == len(work.checks)
    assert turns.made < len(work.checks)


def test_a_registry_forgets_what_is_unregistered() -> None:
    registry = Exposition()
    gauges = [Gauge(name, "Text.", registry=registry) for name in ("first", "second")]
    registry.unregister(gauges[0])
    assert render(registry, "", "")[0] == generate_latest(registry)
    assert b"first" not in render(registry, "", "")[0]
