"""One WebSocket: events out, commands in. Who may open one is for `hub.gate` to say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from redis.exceptions import RedisError
from starlette.websockets import WebSocket, WebSocketDisconnect

from hub import actions, codes
from hub.auth import Principal
from hub.errors import JobcastError, TooMany, Unauthenticated
from hub.feed import Batch, Subscriber
from hub.frames import (
    Answer,
    Auth,
    Cancel,
    Frame,
    NotAFrame,
    Ping,
    Subscribe,
    Unsubscribe,
    frame_of,
    object_of,
    ref_of,
)
from hub.greeting import cursor_of
from hub.jobs import SESSION_ID
from hub.pipes import Disconnected, QueuedPipe
from hub.problems import problem, problem_of
from hub.services import Services
from hub.streams import Stream
from hub.transport.wire import Wire

#: Seconds that a client has to send its first `auth`, where no token came with the upgrade.
AUTH_WAIT: Final = 5.0


class SocketWire(Wire):
    """A WebSocket on its transport."""

    __slots__ = ()

    def batch(self, batch: Batch) -> None:
        self.send(batch.frames)


class AsgiPipe(QueuedPipe):
    """A WebSocket through whatever ASGI server there is."""

    def __init__(self, socket: Socket, websocket: WebSocket) -> None:
        super().__init__(socket)
        self._socket = socket
        self._websocket = websocket
        socket.pipe = self

    async def run(self, begin: Callable[[], None]) -> None:
        """Serves it until it ends; `begin` is called at the beginning."""
        await self.serve(begin, self._receive)

    async def _receive(self) -> None:
        bound = self._socket.settings.unsent_bytes
        limit = self._socket.settings.ws_message_bytes
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            raw = None if text is None else text.encode("utf-8", "surrogatepass")
            if raw is not None and len(raw) > limit:
                # A server that does not know the limit has let it through.
                self._socket.refuse(codes.TOO_BIG, f"the message has more than {limit} bytes")
                continue
            work = self._socket.received(raw)
            if work is not None:
                await work
            await self.writable(bound)

    def text(self, body: bytes) -> None:
        self.put(len(body), (body.decode(),))

    def batch(self, batch: Batch) -> None:
        self.put(batch.size, batch.texts)

    async def _send(self, item: Any) -> None:
        for text in item:
            try:
                await self._websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError, OSError):
                # Starlette raises RuntimeError for a socket that is closed on our side.
                raise Disconnected from None
            self.progressed()

    async def _finish(self, code: int, reason: str) -> None:
        # A close frame has room for 123 bytes.
        cut = reason.encode()[:123].decode(errors="ignore")
        try:
            await self._websocket.close(code, cut)
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Disconnected from None


class Socket(Stream):
    """One WebSocket. `session_id` is the session of its address, if it names one: what ends that
    subscription ends the socket. `after` is where that resumes."""

    __slots__ = ("_after", "_auth_until", "_services", "_session_id")

    def __init__(self, services: Services, session_id: str | None, after: str | None) -> None:
        super().__init__(services.streams, services.settings.ws_heartbeat)
        self._services = services
        self._session_id = session_id
        self._after = after
        self._auth_until: float | None = None

    def begin(self, client: str, credential: str | None, in_url: str | None) -> None:
        """Admits the caller, or says when it must have sent `auth`. `client` is its address, and
        `in_url` the credential that the address had, which may be a token only."""
        self.open()
        services = self._services
        wait = services.connect_limit.take(client)
        if self.streams.draining:
            self.close(codes.GOING_AWAY, self.streams.return_after())
        elif wait > 0:
            self.close(codes.TOO_MANY, round(wait + self.streams.return_after(), 3))
        elif credential is None and in_url is None:
            self._auth_until = asyncio.get_running_loop().time() + AUTH_WAIT
        else:
            try:
                principal = services.auth.authenticate(
                    credential or in_url, in_url=credential is None
                )
            except Unauthenticated as error:
                self.refuse(codes.UNAUTHENTICATED, str(error))
            else:
                self._admitted(principal)

    def _admitted(self, principal: Principal) -> None:
        first = self.principal is None
        self.admit(principal, time.time())
        self._auth_until = None
        if first and self._session_id is not None:
            if SESSION_ID.fullmatch(self._session_id) is None:
                self.refuse(codes.BAD_MESSAGE, "not a session id")
                return
            after, self._after = self._after, None
            try:
                self._subscribe(Subscribe(session_id=self._session_id, after=after))
            except JobcastError as error:
                self._failed(error, None, self._session_id)
        for session_id in list(self.subscribers):
            if not principal.may("read", session_id):
                self._drop(session_id)
                self._lost(codes.FORBIDDEN, session_id, "Your token covers this session no more.")

    def tick(self, now: float, wall: float) -> None:
        if self._auth_until is not None and now >= self._auth_until:
            self.refuse(codes.UNAUTHENTICATED, "no auth message came in time")
        super().tick(now, wall)

    # ------------------------------------------------------------------ out

    def free(self) -> None:
        # One write for each of its sessions would be more than what they share of a turn.
        if len(self.subscribers) == 1 and isinstance(self.pipe, Wire):
            for subscriber in self.subscribers.values():
                self.fanout.board(subscriber, self.pipe)

    def refuse(self, code: int, reason: str) -> None:
        """Closes it, saying why."""
        self.close(code, reason=reason)

    def gone(self, subscriber: Subscriber) -> None:
        self.subscribers.pop(subscriber.session_id, None)
        self._lost(codes.DELETED, subscriber.session_id, "The session was deleted.")

    def _lost(self, code: int, session_id: str, detail: str) -> None:
        """A subscription has ended by itself."""
        if session_id == self._session_id:
            self.refuse(code, detail)
            return
        found = problem(code - 4000, detail)
        self.put(
            {
                "type": "error",
                "code": code,
                "status": found.status,
                "title": found.title,
                "detail": detail,
                "session_id": session_id,
            }
        )

    # ------------------------------------------------------------------ in

    def received(self, raw: bytes | None) -> Coroutine[Any, Any, None] | None:
        """A text message came, or a binary one (None). Returns what has to be awaited before the
        next one."""
        if self.closing is not None:
            return None
        if raw is None:
            self.refuse(codes.BAD_MESSAGE, "binary messages are not spoken here")
            return None
        try:
            value = object_of(raw)
        except NotAFrame as error:
            self.refuse(codes.BAD_MESSAGE, str(error))
            return None
        return self._take(value)

    def _take(self, value: dict[str, Any]) -> Coroutine[Any, Any, None] | None:
        ref = ref_of(value)
        named = value.get("session_id")
        session_id = named if isinstance(named, str) else None
        try:
            frame = frame_of(value)
            if isinstance(frame, Auth):
                self._auth(frame)
                return None
            if self.principal is None:
                raise Unauthenticated("Send auth first.")
            match frame:
                case Subscribe():
                    self._subscribe(frame)
                case Unsubscribe():
                    self._drop(frame.session_id)
                    self._ok(frame, session_id=frame.session_id)
                case Ping():
                    self._answer("pong", frame, {"time": self.fanout.now()})
                case Cancel() | Answer():
                    return self._obey(frame, self.principal)
        except JobcastError as error:
            self._failed(error, ref, session_id)
        return None

    async def _obey(self, frame: Cancel | Answer, principal: Principal) -> None:
        store, transitions = self._services.store, self._services.transitions
        try:
            if isinstance(frame, Cancel):
                status = await actions.cancel(store, transitions, principal, frame.job_id)
            else:
                status = await actions.answer(
                    store, transitions, principal, frame.job_id, frame.input_id, frame.value
                )
        except (JobcastError, RedisError, OSError) as error:
            self._failed(error, frame.ref, None)
        else:
            self._ok(frame, job_id=frame.job_id, status=status)

    def _failed(self, error: Exception, ref: str | int | None, session_id: str | None) -> None:
        found, _ = problem_of(error)
        code = codes.of_status(found.status)
        members: dict[str, Any] = {} if ref is None else {"ref": ref}
        members.update(code=code, status=found.status, title=found.title, detail=found.detail)
        if found.errors:
            members["errors"] = found.errors
        if isinstance(error, TooMany):
            members["reconnect_after"] = round(error.retry_after, 3)
        if session_id is not None:
            members["session_id"] = session_id[:128]
        if session_id is not None and session_id == self._session_id and ref is None:
            if isinstance(error, TooMany):
                self.close(code, error.retry_after + self.streams.return_after())
            else:
                self.refuse(code, str(error))
            return
        self.put({"type": "error", **members})
        if isinstance(error, Unauthenticated):
            self.refuse(codes.UNAUTHENTICATED, str(error))

    def _ok(self, frame: Frame, **members: Any) -> None:
        self._answer("ok", frame, members)

    def _answer(self, kind: str, frame: Frame, members: dict[str, Any]) -> None:
        ref = {} if frame.ref is None else {"ref": frame.ref}
        self.put({"type": kind, **ref, **members})

    def _auth(self, frame: Auth) -> None:
        principal = self._services.auth.authenticate(frame.token)
        if self.principal is not None and not self.principal.same_holder(principal):
            raise Unauthenticated("The token is another holder's: open another socket for it.")
        self._ok(frame)
        self._admitted(principal)

    def _subscribe(self, frame: Subscribe) -> None:
        assert self.principal is not None
        session_id = frame.session_id
        self.principal.require("read", session_id)
        limit = self.settings.sessions_per_socket
        if session_id not in self.subscribers and len(self.subscribers) >= limit:
            raise TooMany(f"This socket follows {limit} sessions already.")
        self._drop(session_id)
        session_id = self.fanout.name_of(session_id)
        if session_id == self._session_id:
            self._session_id = session_id
        subscriber = Subscriber(session_id, self, after=cursor_of(frame.after), ref=frame.ref)
        self.subscribers[session_id] = subscriber
        try:
            self.fanout.subscribe(subscriber)
        except TooMany:
            del self.subscribers[session_id]
            raise

    def _drop(self, session_id: str) -> None:
        subscriber = self.subscribers.pop(session_id, None)
        if subscriber is not None:
            self.fanout.unsubscribe(subscriber)
