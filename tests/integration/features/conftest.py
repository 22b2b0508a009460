"""A worker in this process that serves the tasks of `feature_tasks`, on a real Valkey."""

from __future__ import annotations

import pytest

from tests.integration.features import feature_tasks
from worker.loading import _tasks_in
from worker.tasks import Registry


@pytest.fixture
def registry() -> Registry | None:
    return _tasks_in(feature_tasks)
