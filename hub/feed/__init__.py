"""How a session's events reach its subscribers, without any I/O.

    Batch       publications that are handed over together; their bytes are made once
    Subscriber  where one subscription stands: a cursor and small marks, never a queue
    Feed        one session: what was published lately, its order, who has seen what

The driver (`hub.fanout`) brings publications, histories and tops, and carries batches out.
"""

from hub.feed.batch import Batch, ends, gap
from hub.feed.session import Feed, Step
from hub.feed.subscriber import MARKS, Outlet, Subscriber

__all__ = ["MARKS", "Batch", "Feed", "Outlet", "Step", "Subscriber", "ends", "gap"]
