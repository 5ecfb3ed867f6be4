"""Since when: laws of the moments beside a path that is down and a feature that is not ready."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    Evidence,
    Failure,
    Phase,
    Plan,
    Reason,
    Result,
    Target,
    Use,
)
from exporter.results.since import not_ready_since, paths_down_since
from exporter.results.store import ResultStore
from tests.strategies import plans, results_of

CLIENT = Consumer("updates", "client", "azure-public")


@given(plans, st.data())
def test_there_is_a_moment_for_exactly_what_is_wrong_and_it_is_that_of_a_failure(
    work: Plan, data: st.DataObject
) -> None:
    store = ResultStore(work)
    for key in store.known():
        for _ in range(data.draw(st.integers(0, 3))):
            store.record(data.draw(results_of(key)))
    snapshot = store.snapshot()
    failed = {spell.first for latest in snapshot.latest.values() for spell in latest.history if spell.reason}
    down, not_ready = paths_down_since(snapshot), not_ready_since(snapshot)
    assert down.keys() == {path for path, up in snapshot.paths.items() if not up}
    assert not_ready.keys() == {feature.consumer for feature in snapshot.features if feature.ready is False}
    assert failed.issuperset([*down.values(), *not_ready.values()])


def outcome(key: CheckKey, at: float, *, up: bool, reason: Reason = Reason.CONNECT_TIMEOUT) -> Result:
    seen = Evidence(("192.0.2.1",), "192.0.2.1", by_dns=True)
    return Result(key, at, {Phase.CONNECT: 0.0}, seen, None if up else Failure(Phase.CONNECT, reason, ""))


@pytest.mark.parametrize(("pattern", "expected"), [("host.example", 20.0), ("*.example", 30.0)])
def test_a_path_fell_with_its_last_target_and_an_endpoint_with_its_first_or_a_wildcard_with_its_last(
    pattern: str, expected: float
) -> None:
    first, last = (CheckKey(Target(f"https://{host}.example/")) for host in "ab")
    store = ResultStore(Plan(tuple(Check(key, (Use(CLIENT, pattern),)) for key in (first, last))))
    for key, at, up in ((first, 5.0, False), (first, 10.0, True), (last, 11.0, True), (first, 20.0, False)):
        store.record(outcome(key, at, up=up))
    store.record(outcome(last, 30.0, up=False))
    store.record(outcome(first, 40.0, up=False, reason=Reason.CONNECT_REFUSED))
    assert paths_down_since(store.snapshot()) == {"direct": 30.0}
    assert not_ready_since(store.snapshot()) == {CLIENT: expected}
