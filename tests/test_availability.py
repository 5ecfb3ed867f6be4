"""How much of a day and of a week was up: counted by the hour, kept over reloads, and never guessed."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    EndpointReadiness,
    EndpointState,
    Failure,
    Hours,
    Latest,
    Phase,
    Plan,
    Reason,
    Result,
    Target,
    Use,
)
from exporter.results.history import HOUR, KEPT, counted, down_since, unpacked
from exporter.results.store import ResultStore
from exporter.web.pages.availability import DAY, WEEK, Seen, Span, availability, of_feature, of_target

KEY: Final = CheckKey(Target("https://host.example/"))
USE: Final = Use(Consumer("updates", "client", "azure-public"), "host.example")
PLAN: Final = Plan((Check(KEY, (USE,)),))
MIDNIGHT: Final = 1_800_000_000.0 // (24 * HOUR) * 24 * HOUR
MINUTE: Final = 60.0
REFUSED: Final = Failure(Phase.CONNECT, Reason.CONNECT_REFUSED, "in words")
SILENT: Final = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "in words")


def result(at: float, failure: Failure | None = None, key: CheckKey = KEY) -> Result:
    return Result(key, at, {}, failure=failure)


def hours_of(*results: Result) -> Hours:
    hours = Hours()
    for each in results:
        hours = counted(hours, each)
    return hours


steps: Final = st.lists(
    st.tuples(st.floats(1, 20 * HOUR), st.booleans()), min_size=1, max_size=60
)  # seconds to the next probe, and whether it is up


@given(steps)
def test_every_probe_of_the_last_week_is_counted_in_its_hour(steps: list[tuple[float, bool]]) -> None:
    times = list(accumulate((gap for gap, _ in steps), initial=MIDNIGHT))[1:]
    probes = [(at, up) for at, (_, up) in zip(times, steps, strict=True)]
    found = unpacked(hours_of(*(result(at, None if up else REFUSED) for at, up in probes)))
    last = int(times[-1] // HOUR)
    expected: dict[int, list[bool]] = {}
    for at, up in probes:
        if int(at // HOUR) > last - KEPT:
            expected.setdefault(int(at // HOUR), []).append(up)
    assert found == {hour: (sum(ups), len(ups)) for hour, ups in expected.items()}


@given(steps, st.sampled_from([DAY, WEEK]), st.floats(0, 40 * HOUR))
def test_the_segments_hold_each_probe_of_the_span_once_and_claim_nothing_without_probes(
    steps: list[tuple[float, bool]], span: Span, later: float
) -> None:
    times = list(accumulate((gap for gap, _ in steps), initial=MIDNIGHT))[1:]
    results = [result(at, None if up else REFUSED) for at, (_, up) in zip(times, steps, strict=True)]
    now = times[-1] + later
    counts = unpacked(hours_of(*results))
    found = availability(counts, span, now)
    first = int(now // HOUR) - span.segments * span.hours + 1
    assert len(found.segments) == span.segments
    assert sum(segment.probes for segment in found.segments) == sum(
        probes for hour, (_, probes) in counts.items() if hour >= first
    )
    assert all((segment.seen is Seen.NOTHING) == (segment.probes == 0) for segment in found.segments)
    assert sum(length for runs in found.runs.values() for _, length in runs) == sum(
        segment.probes > 0 for segment in found.segments
    )


def test_a_suspended_machine_and_the_time_before_the_start_are_no_data() -> None:
    """On at 08:30, down at 10:00 for half an hour, asleep from 11:00 to 14:00; it is 15:59."""
    awake = [*range(8 * 60 + 30, 11 * 60), *range(14 * 60, 16 * 60)]
    found = availability(
        unpacked(
            hours_of(
                *(result(MIDNIGHT + minute * MINUTE, REFUSED if 600 <= minute < 630 else None) for minute in awake)
            )
        ),
        DAY,
        MIDNIGHT + 15.99 * HOUR,
    )
    shown = "".join(
        {Seen.NOTHING: ".", Seen.UP: "u", Seen.PARTLY: "p", Seen.DOWN: "d"}[each.seen] for each in found.segments
    )
    assert shown == "................uup...uu"
    assert found.share == "88.8 %"
    assert found.words == "24 h: up in 88.8 % of probes; failures (UTC) 10:00 to 11:00; no data for 19 of 24 h"


def test_a_week_is_in_segments_of_six_hours_and_names_days() -> None:
    now = MIDNIGHT + 23.5 * HOUR
    probes = [
        result(now - (7 * 24 - hour) * HOUR + 60, REFUSED if hour in {0, 12, 13, 60, 100} else None)
        for hour in range(1, 169)
    ]
    found = availability(unpacked(hours_of(*probes)), WEEK, now)
    assert [segment.probes for segment in found.segments] == [6] * 28
    assert found.words.startswith("7 days: up in 97.6 % of probes; failures (UTC) Jan ")
    assert found.words.count(" to ") == 3


@pytest.mark.parametrize(
    ("up", "probes", "share"), [(9999, 10000, "99.9 %"), (10, 10, "100 %"), (0, 3, "0 %"), (1, 3, "33.3 %")]
)
def test_a_share_is_never_rounded_up(up: int, probes: int, share: str) -> None:
    assert availability({0: (up, probes)}, DAY, 0.0).share == share


def test_without_probes_there_is_no_share_and_the_words_say_so() -> None:
    found = availability({}, DAY, MIDNIGHT)
    assert (found.share, found.runs, found.words) == (None, {}, "24 h: no probes")


def test_more_troubled_times_than_anybody_reads_are_cut_to_the_latest() -> None:
    found = availability({hour: (hour % 2, 1) for hour in range(24)}, DAY, 23 * HOUR)
    assert "latest failures (UTC) 18:00 to 19:00, 20:00 to 21:00, 22:00 to 23:00" in found.words


def test_a_clock_that_is_set_back_begins_anew_and_one_that_trembles_does_not() -> None:
    ahead = hours_of(result(MIDNIGHT + 400 * 24 * HOUR), result(MIDNIGHT))
    trembling = hours_of(result(MIDNIGHT), result(MIDNIGHT - 1.0))
    assert unpacked(ahead) == {int(MIDNIGHT // HOUR): (1, 1)}
    assert unpacked(trembling) == {int(MIDNIGHT // HOUR): (2, 2)}


def test_what_is_counted_takes_seven_hundred_bytes_at_most_and_stays_over_a_reload() -> None:
    store = ResultStore(PLAN)
    for hour in range(3 * KEPT):
        store.record(result(MIDNIGHT + hour * HOUR))
    before = store.snapshot()
    store.adopt(Plan(PLAN.checks))
    after = store.snapshot()
    assert len(before.latest[KEY].hours.before) == 4 * (KEPT - 1) < 700
    assert of_target(after.latest[KEY]) == of_target(before.latest[KEY])
    assert len(of_target(after.latest[KEY])) == KEPT
    assert after.began == MIDNIGHT


# ---------------------------------------------------------------- features

OTHER: Final = CheckKey(Target("https://other.example/"))


def latest(key: CheckKey, *ups: bool) -> Latest:
    probes = [result(hour * HOUR, None if up else REFUSED, key) for hour, up in enumerate(ups)]
    return Latest(probes[-1], 0.0, hours=hours_of(*probes))


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([("a.example", [KEY]), ("b.example", [OTHER])], [0, 0, 1]),
        ([("a.example", [KEY, OTHER])], [0, 0, 1]),
        ([("*.example", [KEY, OTHER])], [1, 1, 1]),
        ([("a.example", [KEY])], [0, 1, 1]),
    ],
    ids=["two endpoints", "two targets", "a wildcard", "one"],
)
def test_a_feature_was_up_where_each_endpoint_was(
    endpoints: list[tuple[str, list[CheckKey]]], expected: list[int]
) -> None:
    seen = {KEY: latest(KEY, False, True, True), OTHER: latest(OTHER, True, False, True)}
    needed = [
        EndpointReadiness(Use(USE.consumer, pattern), EndpointState.UP, tuple(keys)) for pattern, keys in endpoints
    ]
    decides_nothing = EndpointReadiness(USE, EndpointState.REFERENCE, (KEY,), EndpointState.DOWN)
    found = of_feature([*needed, decides_nothing], seen)
    assert [found[hour][0] for hour in range(3)] == expected


# ---------------------------------------------------------------- since when


def test_a_target_is_down_since_its_first_failure_whatever_the_reasons() -> None:
    store = ResultStore(PLAN)
    for minute, failure in enumerate([None, REFUSED, None, SILENT, REFUSED, SILENT]):
        store.record(result(MIDNIGHT + minute * MINUTE, failure))
    latest = store.snapshot().latest[KEY]
    assert latest.since == MIDNIGHT + 5 * MINUTE
    assert down_since(latest) == MIDNIGHT + 3 * MINUTE


def test_what_was_never_up_is_down_since_it_is_probed_and_what_is_up_is_not_down() -> None:
    store = ResultStore(PLAN)
    store.record(result(MIDNIGHT, REFUSED))
    assert down_since(store.snapshot().latest[KEY]) == MIDNIGHT
    store.record(result(MIDNIGHT + 1))
    assert down_since(store.snapshot().latest[KEY]) is None
