"""What the agent says where nothing is to be done. Pure."""

from __future__ import annotations

from hub.agent import words
from hub.agent.announced import Tasks
from hub.agent.intents import (
    Ask,
    Choose,
    Declined,
    Explain,
    Greeting,
    Help,
    Intent,
    NoTask,
    Nothing,
    Thanks,
    Unsure,
)
from hub.agent.markdown import code, listed


def talk(intent: Intent, tasks: Tasks) -> str:
    """What is said where nothing is to be done."""
    match intent:
        case Ask(name, params, missing, wrong, strange) if task := tasks.named(name):
            parts = [
                words.wrong(task, wrong) if wrong else "",
                words.strange(task, strange) if strange else "",
                words.lacking(task, params, missing) if missing else "",
            ]
            return "\n\n".join(filter(None, parts))
        case Unsure(name, params, unclear) if task := tasks.named(name):
            return words.unsure(task, params, unclear)
        case Choose(names):
            return words.choose([task for name in names if (task := tasks.named(name))])
        case Explain(name) if task := tasks.named(name):
            return words.explained(task)
        case NoTask(name):
            return words.no_task(name, tasks)
        case Nothing(action, name):
            return words.nothing(action, tasks.named(name) if name else None)
        case Help():
            return words.helped(tasks)
        case Greeting():
            named = [code(f"/{task.name}") for task in tasks.all[:4]]
            can = f"I can start {listed(named)} for you, and" if named else "I"
            return f"Hello! {can} tell you how it goes. Ask **what can you do?** for more."
        case Thanks():
            return "You are welcome."
        case Declined():
            return "All right, I leave everything as it is."
    return words.unknown(tasks)
