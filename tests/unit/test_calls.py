"""What is to be written and what is to be answered on the connection for calls, without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from hub.calls import REPEATS, Call, Flight


def call(flight: Flight, data: bytes, count: int = 1) -> asyncio.Future[list[Any]]:
    done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    flight.add(Call(data, count, done))
    return done


async def test_what_is_called_in_one_turn_is_written_at_once_and_answered_in_order() -> None:
    flight = Flight()
    one, two = call(flight, b"1"), call(flight, b"2")

    assert flight.take(7.0) == b"12"
    assert not flight
    assert flight.oldest() == 7.0

    flight.answer("first")
    flight.answer(NoScriptError("gone"))
    assert one.result() == ["first"]
    [error] = two.result()
    assert isinstance(error, NoScriptError)
    assert flight.oldest() is None


async def test_a_caller_that_has_gone_takes_no_reply_of_others() -> None:
    flight = Flight()
    gone, here = call(flight, b"1"), call(flight, b"2")
    flight.take(0.0)
    gone.cancel()

    flight.answer("first")
    flight.answer("second")

    assert here.result() == ["second"]


async def test_commands_that_were_sent_together_are_answered_together() -> None:
    flight = Flight()
    pair, one = call(flight, b"12", 2), call(flight, b"3")
    flight.take(0.0)
    flight.answer("first")
    assert not pair.done()

    # Half an answer counts for nothing once the connection is lost.
    flight.lost(RedisConnectionError("lost"))
    assert flight.take(1.0) == b"123"
    for reply in ("again", None, "third"):
        flight.answer(reply)
    assert pair.result() == ["again", None]
    assert one.result() == ["third"]


async def test_what_nobody_waits_for_is_not_written() -> None:
    flight = Flight()
    call(flight, b"1").cancel()
    call(flight, b"2")

    assert flight.take(0.0) == b"2"


async def test_what_was_sent_is_sent_again_first_and_given_up_in_the_end() -> None:
    flight = Flight()
    one = call(flight, b"1")
    flight.take(0.0)
    two = call(flight, b"2")
    flight.lost(RedisConnectionError("lost"))

    assert flight.take(1.0) == b"12"
    for _ in range(REPEATS):
        flight.lost(RedisConnectionError("lost"))
        flight.take(2.0)
    with pytest.raises(RedisConnectionError):
        one.result()
    assert isinstance(two.exception(), RedisConnectionError)
    assert flight.oldest() is None


async def test_nothing_waits_for_a_connection_that_is_closed() -> None:
    flight = Flight()
    sent = call(flight, b"1")
    flight.take(0.0)
    waiting = call(flight, b"2")

    flight.abort(RedisConnectionError("closed"))

    for done in (sent, waiting):
        with pytest.raises(RedisConnectionError):
            done.result()
