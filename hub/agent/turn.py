"""One turn of the agent: it answers a person's message, or has the word on a job that ended.

A turn may run twice, or at the same time as another one of its session. So every turn answers
what was said before its own message first; what a message means is decided once and kept; the job
that it starts has an id made from it, and its answer a fixed message id. Whatever is done again is
then the same, and done once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.agent import telling, words
from hub.agent.announced import Tasks
from hub.agent.desk import OwnDesk
from hub.agent.intent import read
from hub.agent.intents import (
    Answer,
    Cancel,
    Failures,
    Intent,
    Scene,
    Start,
    Status,
    Which,
)
from hub.agent.markdown import code, title
from hub.agent.memory import Memory, Spoken, answer_id
from hub.agent.model import Model, ModelAway
from hub.agent.model_turn import ModelTurn
from hub.agent.talk import talk
from hub.agent.toolbox import Toolbox
from hub.answers import check_answer
from hub.enqueue import Enqueuer
from hub.errors import BadInput, Busy, Conflict, NotFound
from hub.jobs import AGENT_QUEUE, Job, iso, job_id_for
from hub.pages import Message
from hub.principal import Principal
from hub.requests import JobRequest
from hub.store import Store
from hub.transitions import Transitions

TASK: Final = "agent.turn"
#: Whose the jobs are that the agent starts.
CREDENTIAL: Final = "sub:agent"
ORIGIN: Final = "agent"
RECENT_JOBS: Final = 20
LOG_LOOKED_AT: Final = 1_000

Said = tuple[str, str | None]


async def take_turn(
    store: Store,
    transitions: Transitions,
    enqueuer: Enqueuer,
    session_id: str,
    params: Mapping[str, Any],
    model: Model | None = None,
) -> None:
    """Takes the turn that `params` are for: `{"message_id", "cursor", "may"}` or `{"about_job"}`.
    With a `model`, that answers messages; where it does not, the answer is the built-in agent's.

    Raises Busy, and what the Redis client raises: the turn has to be taken again then."""
    turn = _Turn(store, transitions, enqueuer, session_id, model)
    if about := params.get("about_job"):
        await turn.word(str(about))
    else:
        await turn.answer(str(params["cursor"]))


class _Turn:
    def __init__(
        self,
        store: Store,
        transitions: Transitions,
        enqueuer: Enqueuer,
        session_id: str,
        model: Model | None,
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._enqueuer = enqueuer
        self._memory = Memory(store)
        self._session = session_id
        self._model = model

    # ------------------------------------------------------------------ the two kinds

    async def word(self, job_id: str) -> None:
        """The word on a job that has ended."""
        job = await self._store.job(job_id)
        if job is None or not job.terminal:
            return
        log = await self._log(job, telling.LAST_LINES) if job.status == "failed" else []
        said = telling.ended(job, await self._tasks(), log)
        await self._store.say(self._session, "agent", f"word.{job_id}", said, job_id=job_id)

    async def answer(self, cursor: str) -> None:
        """Answers the message at `cursor`, after those before it that wait for an answer."""
        spoken = await self._memory.until(self._session, cursor)
        for one in await self._memory.unanswered(self._session, spoken):
            await self._answer(one, spoken[: spoken.index(one)])

    async def _answer(self, one: Spoken, earlier: Sequence[Spoken]) -> None:
        tasks = await self._tasks()
        intent = await self._memory.decided(one.turn)
        if intent is None:
            scene = await self._scene(one.message, earlier, tasks)
            if self._model is not None:
                # What this agent took the last message for was not said: the model spoke.
                scene = dataclasses.replace(scene, before=None)
            intent = await self._memory.decide(one.turn, read(one.message.text, scene))
        note = ""
        if self._model is not None and not _is_for_people(intent):
            try:
                said, about = await self._ask_model(self._model, one, earlier)
            except ModelAway as error:
                note = f"\n\n*The language model gave no answer ({error}); this is mine.*"
                said, about = await self._do(one, intent, tasks)
        else:
            said, about = await self._do(one, intent, tasks)
        said += note
        await self._store.say(self._session, "agent", answer_id(one.message), said, job_id=about)

    async def _ask_model(self, model: Model, one: Spoken, earlier: Sequence[Spoken]) -> Said:
        may = await self._memory.may(one.turn) - {"approve", "admin"}
        principal = Principal("token", "agent", (self._session,), may)
        desk = OwnDesk(
            self._store,
            self._transitions,
            self._enqueuer,
            principal,
            credential=CREDENTIAL,
            origin=ORIGIN,
        )
        turn = ModelTurn(model, Toolbox(desk), self._memory, self._store, self._session)
        return await turn.answer(one, list(earlier))

    # ------------------------------------------------------------------ what is known

    async def _tasks(self) -> Tasks:
        announced = await self._store.tasks()
        return Tasks({n: said for n, said in announced.items() if said.get("queue") != AGENT_QUEUE})

    async def _scene(self, message: Message, earlier: Sequence[Spoken], tasks: Tasks) -> Scene:
        """What was there when the message was written: what came up later, it does not mean."""
        own = {self._job_id(one.message) for one in earlier if one.turn}
        jobs = {job.id: job for job in await self._store.live_jobs(self._session)}
        page = await self._store.jobs(session_id=self._session, limit=RECENT_JOBS)
        jobs |= {job.id: job for job in page.jobs if job.id not in jobs}
        known = [
            msgspec.structs.replace(job, input=None)
            if job.input is not None and (job.input.asked_at or "") > message.time
            else job
            for job in jobs.values()
            if job.created_at <= message.time or job.id in own
        ]
        known.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        return Scene(tasks, known, _offered(earlier), await self._before(earlier))

    async def _before(self, earlier: Sequence[Spoken]) -> Intent | None:
        """What the person's last message was taken for, if its answer could be read by now."""
        said = {one.message.message_id for one in earlier if one.message.role == "agent"}
        for one in reversed(earlier):
            if one.turn:
                answered = answer_id(one.message) in said
                return await self._memory.decided(one.turn) if answered else None
        return None

    def _job_id(self, message: Message) -> str:
        at = datetime.fromisoformat(message.time)
        return job_id_for(self._session, round(at.timestamp() * 1000), answer_id(message))

    async def _job(self, job_id: str) -> Job:
        job = await self._store.job(job_id)
        if job is None or job.session_id != self._session:
            raise NotFound("That job is no longer known.")
        return job

    async def _jobs(self, ids: Sequence[str]) -> list[Job]:
        found = await self._store.jobs_by_id(ids)
        return [job for job in found if job.session_id == self._session]

    async def _log(self, job: Job, most: int) -> list[str]:
        page = await self._store.logs(job.id, max(0, job.log_lines - most), most)
        return [line.text for line in page.lines]

    # ------------------------------------------------------------------ what is done

    async def _do(self, one: Spoken, intent: Intent, tasks: Tasks) -> Said:
        try:
            match intent:
                case Start():
                    return await self._start(one, intent, tasks)
                case Cancel():
                    return await self._cancel(one, intent, tasks)
                case Answer():
                    return await self._reply(one, intent, tasks)
                case Status():
                    return await self._status(intent, tasks)
                case Failures(job_id):
                    job = await self._job(job_id)
                    log = await self._log(job, LOG_LOOKED_AT)
                    return telling.failures(job, tasks, log), job.id
                case Which(action, ids, offered):
                    jobs = await self._jobs(ids)
                    done = await self._jobs([offered] if offered else [])
                    return words.which(action, jobs, tasks, done[0] if done else None), None
        except BadInput as error:
            task = tasks.named(intent.task) if isinstance(intent, Start) else None
            return words.bad_input(error, task), None
        except (NotFound, Conflict) as error:
            return str(error), None
        return talk(intent, tasks), None

    async def _start(self, one: Spoken, intent: Start, tasks: Tasks) -> Said:
        if "enqueue" not in await self._memory.may(one.turn):
            return words.not_allowed("enqueue"), None
        request = JobRequest(
            task=intent.task,
            session_id=self._session,
            params=msgspec.Raw(msgspec.json.encode(intent.params)),
        )
        try:
            made = await self._enqueuer.enqueue(
                request,
                credential=CREDENTIAL,
                origin=ORIGIN,
                job_id=self._job_id(one.message),
            )
        except Busy as error:
            return f"I cannot start that now. {error} Ask me again in a moment.", None
        return words.started(made.job, tasks), made.job.id

    async def _cancel(self, one: Spoken, intent: Cancel, tasks: Tasks) -> Said:
        if "cancel" not in await self._memory.may(one.turn):
            return words.not_allowed("cancel"), None
        said = []
        for job in await self._jobs(intent.jobs):
            name = title(job, tasks)
            try:
                status = await self._transitions.cancel(job.id)
            except Conflict:
                said.append(f"{name} has ended already.")
            except NotFound:
                said.append(f"{name} is no longer known.")
            else:
                said.append(
                    f"I stopped {name}." if status == "cancelled" else f"I am stopping {name}."
                )
        about = intent.jobs[0] if len(intent.jobs) == 1 else None
        return "\n".join(said) or words.nothing("cancel", None), about

    async def _reply(self, one: Spoken, intent: Answer, tasks: Tasks) -> Said:
        scope = "approve" if intent.confirm else "input"
        if scope not in await self._memory.may(one.turn):
            return words.not_allowed(scope), intent.job
        job = await self._job(intent.job)
        value = msgspec.json.encode(intent.value)
        if job.input is not None and job.input.id == intent.input_id:
            try:
                value = check_answer(job.input, intent.value)
            except BadInput as error:
                return f"That does not fit the question: {error.errors[0][1]}.", job.id
        await self._transitions.answer(job.id, intent.input_id, value)
        name = title(job, tasks)
        if not intent.confirm:
            return f"I passed {code(intent.value)} on to {name}.", job.id
        if intent.value == "yes":
            return f"Thank you. {name} goes ahead now.", job.id
        return f"All right, {name} will not run.", job.id

    async def _status(self, intent: Status, tasks: Tasks) -> Said:
        jobs = await self._jobs(intent.jobs)
        if not jobs:
            task = tasks.named(intent.task) if intent.task else None
            if task is None:
                return "Nothing is running, and nothing has run in this conversation yet.", None
            hint = f"Say {code(words.command(task, {}))} to start it."
            return f"**{task.title}** has not run in this conversation yet. {hint}", None
        seconds, micros = await self._store.redis.time()
        now = iso(int(seconds) * 1000 + int(micros) // 1000)
        about = jobs[0].id if len(jobs) == 1 else None
        return telling.statuses(jobs, tasks, now), about


def _is_for_people(intent: Intent) -> bool:
    """Whether no model may stand between a person and what they say: a yes or no to a job."""
    match intent:
        case Answer(confirm=confirm):
            return confirm
        case Which(action):
            return action == "answer"
    return False


def _offered(earlier: Sequence[Spoken]) -> str | None:
    """The job whose failures the agent has offered to look at in its last words."""
    for one in reversed(earlier):
        if one.message.role == "agent":
            return one.message.job_id if one.message.text.endswith(words.OFFER) else None
    return None
