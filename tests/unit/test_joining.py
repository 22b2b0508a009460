"""How long events are kept so that they go out together."""

from __future__ import annotations

from hub.joining import BUSY, MOST, PATIENCE, Joining


def test_what_comes_alone_goes_at_once() -> None:
    joining = Joining()
    joining.begin(10.0, 1)
    assert not joining.waits(10.0)


def test_it_waits_while_each_turn_brings_much() -> None:
    joining = Joining()
    joining.begin(10.0, 1)
    joining.came += BUSY
    assert joining.waits(10.0)
    joining.came += BUSY
    assert joining.waits(10.001)
    joining.came += BUSY - 1
    assert not joining.waits(10.002)


def test_it_waits_neither_long_nor_for_much() -> None:
    joining = Joining()
    joining.begin(10.0, BUSY)
    assert not joining.waits(10.0 + PATIENCE)
    joining.came += MOST
    assert not joining.waits(10.0)


def test_each_time_is_counted_anew() -> None:
    joining = Joining()
    joining.begin(10.0, MOST)
    assert not joining.waits(10.0)
    joining.begin(11.0, BUSY)
    assert joining.waits(11.0)
    joining.begin(12.0, 1)
    assert not joining.waits(12.0)
