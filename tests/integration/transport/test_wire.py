"""One connection's flow control, its writes, and how it is found dead."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hub.transport.rfc6455 import Reader, close_frame, frame, text_frames
from hub.transport.turns import CHUNK, Turns
from hub.transport.wire import Wire
from tests.integration.transport.conftest import LOOPS
from tests.integration.transport.raw import PING, PONG, TEXT, Echo, Raw, close, serving
from tests.integration.transport.raw import frame as client_frame


class Transport(asyncio.Transport):
    """Takes what is written; `room` is how many bytes the kernel takes before it takes none."""

    def __init__(self, room: int = 1 << 30) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.room = room
        self.kept = 0
        self.calls: list[str] = []
        self.protocol: Any = None
        self.instead: Callable[[Any], None] | None = None
        self._closing = False

    def write(self, data: Any) -> None:
        assert not self._closing
        if self.instead is not None:
            self.instead(data)
            return
        self.writes.append(bytes(data))
        taken = min(self.room, len(data))
        self.room -= taken
        if len(data) > taken:
            first = not self.kept
            self.kept += len(data) - taken
            if first:
                self.protocol.pause_writing()

    def read(self, count: int) -> None:
        """The client reads."""
        self.kept -= count
        if not self.kept:
            self.room = 1 << 30
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.kept

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self._closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self._closing = True
        self.calls.append("abort")


def wired(turns: Turns, room: int = 1 << 30, bound: int = 1_000) -> tuple[Wire, Transport, Echo]:
    echo = Echo(turns, [], limit=65_536, bound=bound)
    transport = Transport(room)
    echo.wire.open(transport)
    return echo.wire, transport, echo


async def turned(times: int = 2) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# ------------------------------------------------------------------ writes


async def test_what_comes_in_one_turn_is_one_write() -> None:
    wire, transport, _ = wired(Turns())
    for number in range(10):
        wire.text(b"%d" % number)
    wire.data_received(client_frame(PING, b"p"))
    assert transport.writes == []
    assert wire.unsent == 33
    await turned()
    assert transport.writes == [text_frames(b"%d" % n for n in range(10)) + frame(PONG, b"p")]
    assert wire.unsent == 0


async def test_a_single_write_is_not_copied() -> None:
    wires = [wired(Turns()) for _ in range(3)]
    shared = text_frames([b"shared"])
    seen: list[Any] = []
    for wire, transport, _ in wires:
        transport.instead = seen.append
        wire.send(shared)
    await turned()
    assert all(one is shared for one in seen)
    assert len(seen) == 3


async def test_a_large_fan_out_lets_others_have_a_turn() -> None:
    turns = Turns()
    wires = [wired(turns) for _ in range(3 * CHUNK)]
    written: list[int] = []
    for wire, _, _ in wires:
        wire.text(b"x")
    for _ in range(5):
        await asyncio.sleep(0)
        written.append(sum(len(transport.writes) for _, transport, _ in wires))
    assert written == [CHUNK, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK, 3 * CHUNK]


async def test_what_comes_while_it_waits_for_its_turn_is_joined() -> None:
    turns = Turns()
    wires = [wired(turns) for _ in range(2 * CHUNK)]
    for wire, _, _ in wires:
        wire.text(b"1")
    await asyncio.sleep(0)
    for wire, _, _ in wires:
        wire.text(b"2")
    await turned(4)
    first, last = wires[0][1].writes, wires[-1][1].writes
    assert first == [text_frames([b"1"]), text_frames([b"2"])]
    assert last == [text_frames([b"1", b"2"])]


async def test_one_that_fails_to_write_does_not_hold_up_the_others() -> None:
    turns = Turns()
    bad, good = wired(turns), wired(turns)

    def fails(data: Any) -> None:
        raise RuntimeError("no")

    bad[1].instead = fails
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    bad[0].text(b"x")
    good[0].text(b"y")
    await turned(4)
    assert good[1].writes == [text_frames([b"y"])]
    assert len(complaints) == 1


# ------------------------------------------------------------------ a client that does not read


async def test_drained_is_told_once_when_it_was_asked_for() -> None:
    wire, transport, echo = wired(Turns(), room=5)
    wire.text(b"0123456789")
    wire.tell_drained()
    await turned()
    assert (wire.unsent, echo.seen) == (7, [])
    wire.text(b"more")
    assert wire.unsent == 13
    await turned()
    transport.read(7)
    assert (wire.unsent, echo.seen) == (0, ["drained"])
    wire.text(b"again")
    await turned()
    assert echo.seen == ["drained"]


async def test_what_comes_for_one_that_does_not_read_is_one_write_when_it_does() -> None:
    wire, transport, _ = wired(Turns(), room=5)
    wire.text(b"0123456789")
    await turned()
    for number in range(100):
        wire.text(b"%d" % number)
        await turned()
    assert len(transport.writes) == 1
    assert wire.unsent == 7 + sum(len(text_frames([b"%d" % n])) for n in range(100))

    transport.read(7)

    assert transport.writes[1:] == [text_frames([b"%d" % n for n in range(100)])]
    assert wire.unsent == 0


async def test_a_close_goes_out_after_what_is_kept_for_one_that_does_not_read() -> None:
    wire, transport, _ = wired(Turns(), room=5)
    wire.text(b"0123456789")
    await turned()
    wire.text(b"kept")
    wire.shutdown()
    assert transport.writes[1:] == [text_frames([b"kept"]) + close_frame(1012)]


async def test_answers_that_wait_stop_the_reading() -> None:
    wire, transport, _ = wired(Turns(), room=0, bound=100)
    wire.data_received(client_frame(TEXT, b"x" * 60) * 5)
    await turned()
    assert transport.calls == ["pause_reading"]
    assert wire.unsent == 2 * 62
    transport.read(2 * 62)
    await turned()
    assert transport.calls[:2] == ["pause_reading", "resume_reading"]
    assert b"".join(transport.writes) == text_frames([b"x" * 60] * 5)


async def test_a_flood_of_small_messages_is_taken_in_portions() -> None:
    wire, transport, _ = wired(Turns(), bound=1 << 20)
    wire.data_received(client_frame(TEXT, b"x") * 1_000)
    first = wire.unsent // 3
    assert 0 < first < 500
    assert transport.calls == ["pause_reading"]
    await turned(20)
    assert b"".join(transport.writes) == text_frames([b"x"] * 1_000)
    assert transport.calls.count("pause_reading") == transport.calls.count("resume_reading")


async def test_a_close_is_heard_though_answers_wait() -> None:
    wire, transport, echo = wired(Turns(), room=0, bound=10)
    wire.data_received(client_frame(TEXT, b"x" * 60))
    await turned()
    wire.end(4008, "too slow")
    wire.data_received(close(4008))
    assert transport.calls == ["pause_reading", "resume_reading", "close"]
    assert echo.seen == ["leaving"]


async def test_stalled_counts_from_the_last_progress() -> None:
    wire, transport, _ = wired(Turns(), room=0)
    assert wire.stalled(100.0) == 0.0
    wire.text(b"x" * 98)
    await turned()
    assert wire.stalled(101.0) == 0.0
    assert wire.stalled(131.0) == 30.0
    # More that waits is no progress, a byte that is read is.
    wire.text(b"y" * 10)
    await turned()
    assert wire.stalled(141.0) == 40.0
    transport.kept -= 1
    assert wire.stalled(142.0) == 0.0
    assert wire.stalled(143.0) == 1.0
    transport.read(transport.kept)
    assert wire.stalled(200.0) == 0.0


async def test_nothing_follows_our_close() -> None:
    wire, transport, echo = wired(Turns())
    wire.text(b"last")
    wire.end(4001, "why")
    wire.text(b"too late")
    wire.end(1000, "again")
    wire.data_received(client_frame(PING, b"p") + client_frame(TEXT, b"hello"))
    await turned()
    assert transport.writes == [text_frames([b"last"]) + frame(8, b"\x0f\xa1why")]
    wire.data_received(close(4001))
    assert transport.calls == ["close"]
    wire.connection_lost(None)
    wire.text(b"much too late")
    await turned()
    assert len(transport.writes) == 1
    assert echo.seen == ["leaving", "ended"]


async def test_what_broke_the_protocol_is_drained_not_reset() -> None:
    wire, transport, echo = wired(Turns())
    wire.data_received(b"\x81\x00")
    assert transport.calls == ["write_eof"]
    wire.data_received(b"whatever else was on its way")
    wire.eof_received()
    assert len(transport.writes) == 1
    assert echo.seen == ["leaving", "leaving"]


# ------------------------------------------------------------------ who is gone


async def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_cut() -> None:
    wire, transport, _ = wired(Turns())
    start = asyncio.get_running_loop().time()
    for second in range(0, 200, 10):
        wire.tick(start + second)
        await turned()
        if transport.writes:
            assert transport.writes == [frame(PING, b"")]
            transport.writes.clear()
            wire.data_received(client_frame(PONG))
    assert transport.calls == []
    for second in range(200, 320, 10):
        if not transport.is_closing():
            wire.tick(start + second)
            await turned()
    assert transport.calls == ["abort"]
    assert len(transport.writes) in (4, 5)


async def test_a_client_that_does_not_read_is_not_pinged() -> None:
    wire, transport, _ = wired(Turns(), room=0)
    wire.text(b"x")
    await turned()
    transport.writes.clear()
    wire.tick(asyncio.get_running_loop().time() + 30)
    await turned()
    assert transport.writes == []


# ------------------------------------------------------------------ real sockets


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_asks_without_reading_is_held_up_and_answered(loop: str) -> None:
    with serving(LOOPS[loop], bound=10_000) as echo, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        sock.connect(("127.0.0.1", echo.port))
        client = Raw(sock)
        sock.setblocking(False)
        asked = bytearray()
        number = 0
        # Until the hub takes no more, which is all that it and the kernel hold.
        while select.select([], [sock], [], 1.0)[1]:
            if not asked:
                asked += client_frame(TEXT, b"%05d" % number + b"x" * 4_000)
                number += 1
            del asked[: sock.send(asked)]
            assert number < 10_000
        sock.settimeout(10)
        reader = threading.Thread(target=sock.sendall, args=(asked,))
        reader.start()
        for expected in range(number):
            opcode, payload = client.frame()
            assert (opcode, payload[:5]) == (TEXT, b"%05d" % expected)
        reader.join(10)


# ------------------------------------------------------------------ the reader by itself


def test_a_reader_keeps_nothing_once_all_is_read() -> None:
    reader = Reader(65_536)
    data = client_frame(TEXT, b"x" * 60_000)
    for start in range(0, len(data), 1_000):
        reader.feed(data[start : start + 1_000])
        message = reader.next()
    assert message is not None
    assert len(message.data) == 60_000
    assert reader._buffer == b""
    assert reader._message is None


def test_empty_fragments_are_not_piled_up() -> None:
    reader = Reader(100)
    reader.feed(client_frame(TEXT, b"", fin=False))
    for _ in range(10_000):
        reader.feed(client_frame(0, b"", fin=False))
        assert reader.next() is None
    assert len(reader._buffer) < 20
    reader.feed(client_frame(0, b"done"))
    message = reader.next()
    assert message is not None
    assert message.data == b"done"
