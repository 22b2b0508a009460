"""The methods that all clients of a hub have: one for each call that is described."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from hub.client import calls, webhook_calls
from hub.client.call import Script

if TYPE_CHECKING:
    from hub.client.client import Client
    from hub.client.sync import SyncClient

P = ParamSpec("P")
T = TypeVar("T")


class Method(Generic[P, T]):
    """A call as a method: one that is awaited, or one that blocks, as the client's `run` does."""

    def __init__(self, script: Callable[P, Script[T]]) -> None:
        self._script = script
        self.__doc__ = script.__doc__

    @overload
    def __get__(self, client: None, owner: type[Methods]) -> Self: ...

    @overload
    def __get__(
        self, client: Client, owner: type[Methods]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...

    @overload
    def __get__(self, client: SyncClient, owner: type[Methods]) -> Callable[P, T]: ...

    def __get__(self, client: Client | SyncClient | None, owner: type[Methods]) -> Any:
        if client is None:
            return self

        @functools.wraps(self._script)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(self._script(*args, **kwargs))

        return method


class Methods:
    """What a client can ask of a hub."""

    enqueue = Method(calls.enqueue)
    enqueue_many = Method(calls.enqueue_many)
    job = Method(calls.job)
    jobs = Method(calls.jobs)
    cancel = Method(calls.cancel)
    retry = Method(calls.retry)
    answer = Method(calls.answer)
    logs = Method(calls.logs)
    tell = Method(calls.tell)
    wait = Method(calls.wait)
    session = Method(calls.session)
    sessions = Method(calls.sessions)
    delete_session = Method(calls.delete_session)
    messages = Method(calls.messages)
    say = Method(calls.say)
    tasks = Method(calls.tasks)
    new_token = Method(calls.new_token)
    queues = Method(calls.queues)
    workers = Method(calls.workers)
    pause = Method(calls.pause)
    resume = Method(calls.resume)
    create_webhook = Method(webhook_calls.create_webhook)
    webhooks = Method(webhook_calls.webhooks)
    webhook = Method(webhook_calls.webhook)
    edit_webhook = Method(webhook_calls.edit_webhook)
    rotate_webhook = Method(webhook_calls.rotate_webhook)
    delete_webhook = Method(webhook_calls.delete_webhook)
    webhook_secret = Method(webhook_calls.webhook_secret)
    test_webhook = Method(webhook_calls.send_test)
    deliveries = Method(webhook_calls.deliveries)
    job_deliveries = Method(webhook_calls.job_deliveries)
    delivery = Method(webhook_calls.delivery)
    replay_delivery = Method(webhook_calls.replay_delivery)
    replay_deliveries = Method(webhook_calls.replay_deliveries)
    get = Method(calls.get)
