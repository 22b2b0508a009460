from __future__ import annotations

import binascii
import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import JOB_ID, KEY_NAME, SESSION_ID, Job, iso, job_from_hash, new_job_id
from hub.states import LIVE, STATUSES, TABLE, TERMINAL, allowed

FIELDS = {
    b"id": b"01991f00-0000-7000-8000-000000000000",
    b"session_id": b"s1",
    b"task": b"t",
    b"status": b"failed",
    b"rev": b"3",
    b"created_at": b"1700000000123",
    b"updated_at": b"1700000000456",
}


@given(st.from_regex(SESSION_ID, fullmatch=True))
def test_an_id_is_a_uuid7_that_names_its_partition(session_id: str) -> None:
    job_id = new_job_id(session_id)
    assert JOB_ID.fullmatch(job_id)
    parsed = uuid.UUID(job_id)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    # 0x31C3 is the check value of CRC-16/XMODEM, which Redis Cluster uses.
    assert binascii.crc_hqx(b"123456789", 0) == 0x31C3
    assert int(job_id[15:18], 16) == binascii.crc_hqx(session_id.encode(), 0) & 0xFFF


def test_ids_differ() -> None:
    assert len({new_job_id("s") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["", "a b", "ä", "a\n", "x" * 129, "a/b", "{p0}"])
def test_what_is_not_a_session_id(name: str) -> None:
    assert SESSION_ID.fullmatch(name) is None


def test_keys_may_look_like_paths() -> None:
    assert KEY_NAME.fullmatch("repo/main@build:1")


@given(st.integers(0, 4_102_444_800_000))
def test_iso_is_utc_with_milliseconds(ms: int) -> None:
    text = iso(ms)
    assert text.endswith("Z")
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == ms
    assert datetime.fromisoformat(text).tzinfo == UTC


def test_a_hash_becomes_a_job() -> None:
    job = job_from_hash(
        FIELDS
        | {
            b"params": b'{"a":12345678901234567890}',
            b"title": b'"a \\"title\\""',
            b"error": b'{"code":"error","message":"boom","type":"ValueError"}',
            b"traceback": b'"line 1\\nline 2"',
            b"token": b"1:5",
            b"progress": b'{"current":1,"total":2}',
        }
    )
    assert job.title == 'a "title"'
    assert job.error is not None
    assert job.error.traceback == "line 1\nline 2"
    shown = msgspec.json.encode(job)
    assert b'"params":{"a":12345678901234567890}' in shown
    assert b"token" not in shown
    assert b'"result":null' in shown
    assert msgspec.json.decode(shown, type=Job).created_at == iso(1700000000123)


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_a_hash_without_what_every_job_has(missing: bytes) -> None:
    with pytest.raises(KeyError, match=missing.decode()):
        job_from_hash({name: value for name, value in FIELDS.items() if name != missing})


def test_trimming_hides_what_is_large_or_private() -> None:
    job = job_from_hash(
        FIELDS
        | {
            b"params": b'"' + b"x" * 2000 + b'"',
            b"result": b"[1]",
            b"webhook_url": b'"https://x.example"',
            b"error": b'{"code":"error","message":"boom"}',
            b"traceback": b'"secret"',
        }
    )
    trimmed = job.trimmed(1024)
    assert (trimmed.params, trimmed.params_truncated) == (None, True)
    assert trimmed.result is not None
    assert not trimmed.result_truncated
    assert trimmed.webhook_url is None
    assert trimmed.error is not None
    assert trimmed.error.traceback is None
    assert job.error is not None
    assert job.error.traceback == "secret"


def test_the_table_knows_only_states_that_exist() -> None:
    states = {*STATUSES, "waiting", ""}
    for (state, _), targets in TABLE.items():
        assert state in states
        assert targets <= states - {""}


def test_terminal_stays_terminal() -> None:
    assert LIVE.isdisjoint(TERMINAL)
    assert {state for state, _ in TABLE}.isdisjoint(TERMINAL)
    assert allowed("completed", "cancel") == frozenset()


def test_every_live_state_can_end() -> None:
    reach = {state: set[str]() for state in (*LIVE, "waiting")}
    for (state, _), targets in TABLE.items():
        if state:
            reach[state] |= targets
    for start in reach:
        seen, todo = set[str](), [start]
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo += reach.get(state, set())
        assert seen & TERMINAL, start
