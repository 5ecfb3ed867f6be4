"""What a flapping target may write into the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import CheckKey, Target
from exporter.service.change_log import MOST, WINDOW, ChangeLog

KEY, OTHER = (CheckKey(Target(f"https://{name}.example/")) for name in ("one", "other"))
moments = st.lists(st.floats(0, 10_000), max_size=60).map(sorted)


@given(moments)
def test_no_window_holds_more_lines_than_allowed(changes: list[float]) -> None:
    change_log = ChangeLog()
    written = [now for now in changes if change_log.admits(KEY, now) is not None]
    assert all(sum(begun <= now < begun + WINDOW for now in written) <= MOST for begun in written)


@given(moments)
def test_every_change_is_written_or_counted_by_the_next_line(changes: list[float]) -> None:
    change_log = ChangeLog()
    told = [change_log.admits(KEY, now) for now in changes]
    last = change_log.admits(KEY, 1e6)
    assert sum(1 + unwritten for unwritten in told if unwritten is not None) + (last or 0) == len(changes)


def test_rare_changes_are_all_written() -> None:
    change_log = ChangeLog()
    assert [change_log.admits(KEY, n * WINDOW / MOST) for n in range(50)] == [0] * 50


def test_one_that_flaps_silences_no_other() -> None:
    change_log = ChangeLog()
    for now in range(100):
        change_log.admits(KEY, now)
    assert change_log.admits(KEY, 100) is None
    assert change_log.admits(OTHER, 100) == 0


def test_a_check_that_left_is_forgotten() -> None:
    change_log = ChangeLog()
    for now in range(100):
        change_log.admits(KEY, now)
    change_log.keep({OTHER})
    assert change_log.admits(KEY, 100) == 0
