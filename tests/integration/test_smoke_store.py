from hub.jobs import NewJob
from hub.store import Store
from hub.transitions import Transitions


async def test_life(store: Store, transitions: Transitions) -> None:
    made = await store.enqueue(NewJob(session_id="s1", task="t"))
    assert made.created
    [claim] = await transitions.claim(
        "w1", "r1", queues=["default"], tasks=["t"], lease=15, limit=3
    )
    assert claim.job_id == made.job.id
    await transitions.log(claim.job_id, claim.token, 1, [b'{"stream":"stdout","text":"hi"}'])
    await transitions.progress(claim.job_id, claim.token, b'{"percent":10}')
    assert await transitions.finish(claim.job_id, claim.token, "completed", b"[]") == "completed"
    history = await store.history("s1", b"0-0")
    print(history)
    assert len(history.entries) == 3
    snap = await store.snapshot("s1")
    print(snap)
