"""The ResultStore keeps the latest result of each check in the plan, and what has held since."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    Failure,
    Latest,
    Phase,
    Plan,
    Reason,
    Result,
    Target,
    Use,
)
from exporter.results.paths import families, paths
from exporter.results.readiness import features
from exporter.results.store import Recorded, ResultStore
from tests.strategies import plans, plans_with_results, results_for

KEY = CheckKey(Target("https://host.example/"))
CHECK = Check(KEY, (Use(Consumer("updates", "client", "azure-public"), "host.example"),))
OTHER = Check(CheckKey(Target("https://other.example/"), "corporate"), CHECK.uses)
Drawn = tuple[Plan, dict[CheckKey, Result]]

# What came of one check, time after time: None is up.
outcomes = st.lists(st.none() | st.sampled_from([Reason.DNS_TIMEOUT, Reason.HTTP_STATUS]), min_size=1, max_size=8)


def result(reason: Reason | None, started: float, key: CheckKey = KEY) -> Result:
    failure = Failure(Phase.PROCESSING, reason, f"at {started}") if reason else None
    return Result(key, started, {Phase.RESOLVE: 0.5, Phase.PROCESSING: 0.5}, failure=failure)


def recorded(reasons: Sequence[Reason | None]) -> list[tuple[Recorded, Latest]]:
    """What a ResultStore tells and keeps of one check, one result every ten seconds."""
    store = ResultStore(Plan((CHECK,)))
    told = []
    for number, reason in enumerate(reasons):
        found = store.record(result(reason, 10.0 * number))
        assert found
        told.append((found, store.snapshot().latest[KEY]))
    return told


def filled(work: Plan, results: dict[CheckKey, Result]) -> ResultStore:
    store = ResultStore(work)
    for found in results.values():
        store.record(found)
    return store


# ---------------------------------------------------------------- one check, time after time


@given(outcomes)
def test_since_moves_exactly_when_state_or_reason_change(reasons: list[Reason | None]) -> None:
    told = recorded(reasons)
    (first, latest), *_ = told
    assert first.changed
    assert latest.since == first.result.finished
    for (reason, next_reason), ((_, before), (found, after)) in zip(pairwise(reasons), pairwise(told), strict=True):
        assert found.changed == (next_reason != reason)
        assert after.since == (found.result.finished if found.changed else before.since)


@given(outcomes)
def test_the_last_success_is_the_last_one_and_never_goes_back(reasons: list[Reason | None]) -> None:
    succeeded: list[float] = []
    for reason, (found, latest) in zip(reasons, recorded(reasons), strict=True):
        succeeded += [found.result.finished] if reason is None else []
        assert latest.last_success == (max(succeeded) if succeeded else None)


@given(outcomes)
def test_the_latest_result_is_the_last_that_came(reasons: list[Reason | None]) -> None:
    told = recorded(reasons)
    assert [latest.result for _, latest in told] == [found.result for found, _ in told]
    assert [found.before for found, _ in told] == [None, *(latest for _, latest in told[:-1])]


def test_a_failed_attempt_is_shown_beside_the_last_probe_until_the_next() -> None:
    store, failed = ResultStore(Plan((CHECK,))), result(Reason.CONNECT_REFUSED, 10.0)
    store.mark_unconfirmed(failed)
    assert not store.snapshot().latest
    store.record(result(None, 0.0))
    store.mark_unconfirmed(failed)
    unconfirmed = store.snapshot()
    store.record(result(None, 12.0).after(failed))
    recovered = store.snapshot()
    store.record(result(None, 60.0))
    assert unconfirmed.latest[KEY].result.up
    assert unconfirmed.features == recovered.features
    shown = [snapshot.latest[KEY].unconfirmed for snapshot in (unconfirmed, recovered, store.snapshot())]
    assert shown == [failed.failure, failed.failure, None]


def test_a_confirmed_failure_is_no_longer_unconfirmed() -> None:
    store, failed = ResultStore(Plan((CHECK,))), result(Reason.CONNECT_REFUSED, 10.0)
    store.record(result(None, 0.0))
    store.mark_unconfirmed(failed)
    store.record(result(Reason.CONNECT_TIMEOUT, 12.0).after(failed))
    latest = store.snapshot().latest[KEY]
    assert latest.unconfirmed is None
    assert latest.result.attempts == 2


# ---------------------------------------------------------------- a plan and its results


@given(plans_with_results())
def test_a_snapshot_shows_the_plan_and_what_follows_from_the_results(drawn: Drawn) -> None:
    work, results = drawn
    snapshot = filled(work, results).snapshot()
    assert snapshot.plan == work
    assert {key: latest.result for key, latest in snapshot.latest.items()} == results
    assert snapshot.features == features(work, results)
    assert snapshot.paths == paths(results.values())
    assert snapshot.families == families(results.values())


@given(plans_with_results())
def test_what_is_known_is_what_has_a_result(drawn: Drawn) -> None:
    work, results = drawn
    store = filled(work, results)
    assert store.known() == {check.key: check.key in results for check in work.checks}
    assert store.complete == all(store.known().values())


@given(plans_with_results())
def test_a_target_is_found_by_its_url_with_every_path_to_it(drawn: Drawn) -> None:
    work, results = drawn
    store = filled(work, results)
    for check in work.checks:
        assert check in store.find(check.key.target.url)
        assert {found.key.target.url for found in store.find(check.key.target.url)} == {check.key.target.url}
    assert store.find("https://stranger.example/") == ()


# ---------------------------------------------------------------- a new plan


def test_a_result_of_a_check_that_left_the_plan_is_dropped() -> None:
    store = ResultStore(Plan((CHECK, OTHER)))
    store.adopt(Plan((OTHER,)))
    assert store.record(result(None, 0.0)) is None
    assert not store.snapshot().latest
    assert not store.complete


@given(plans_with_results(), plans, st.data())
def test_results_of_checks_that_stay_are_kept_and_the_others_go(
    drawn: Drawn, following: Plan, data: st.DataObject
) -> None:
    work, results = drawn
    kept = data.draw(st.lists(st.sampled_from(work.checks), unique=True)) if work.checks else []
    stay = {check.key for check in (*kept, *following.checks)}
    store = filled(work, results)
    before = store.snapshot().latest
    store.adopt(
        Plan((*(check for check in kept if check.key not in {c.key for c in following.checks}), *following.checks))
    )
    assert store.snapshot().latest == {key: latest for key, latest in before.items() if key in stay}


def test_a_check_that_comes_back_begins_anew() -> None:
    store = ResultStore(Plan((CHECK,)))
    store.record(result(None, 0.0))
    store.adopt(Plan())
    store.adopt(Plan((CHECK,)))
    found = store.record(result(Reason.DNS_TIMEOUT, 10.0))
    assert found
    assert found.before is None
    assert store.snapshot().latest[KEY].last_success is None


def test_a_result_answers_for_the_uses_of_the_plan_in_force() -> None:
    more = Check(KEY, (*CHECK.uses, Use(Consumer("updates", "console", "azure-public"), "host.example")))
    store = ResultStore(Plan((CHECK,)))
    store.record(result(None, 0.0))
    store.adopt(Plan((more,)))
    found = store.record(result(None, 10.0))
    assert found
    assert found.check == more
    assert not found.changed


@given(plans_with_results(), plans, st.data())
def test_a_snapshot_does_not_change_afterwards(drawn: Drawn, following: Plan, data: st.DataObject) -> None:
    work, results = drawn
    store = filled(work, results)
    snapshot = store.snapshot()
    before = deepcopy((snapshot.plan, dict(snapshot.latest), snapshot.features, dict(snapshot.paths)))
    for later in data.draw(results_for(work.checks)).values():
        store.record(later)
    store.adopt(following)
    assert (snapshot.plan, dict(snapshot.latest), snapshot.features, dict(snapshot.paths)) == before


def test_a_store_without_a_plan_has_nothing_to_wait_for() -> None:
    store = ResultStore()
    assert store.complete
    assert store.plan == store.snapshot().plan == Plan()
