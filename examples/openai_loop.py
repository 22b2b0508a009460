"""A chat model with Jobcast's tools: it starts jobs, looks after them, and says what came of them.

pip install 'jobcast[openai]'
export OPENAI_API_KEY=… MODEL=…         # and OPENAI_BASE_URL, for another server than OpenAI's
export JOBCAST_TOKEN=$(jobcast token --sub me --session chat:main)
export JOBCAST_URL=http://127.0.0.1:8080
python examples/openai_loop.py chat:main "Run the tests, and tell me how they went."
"""

import asyncio
import os
import sys
from typing import Any

from openai import AsyncOpenAI

from hub.agent import Toolbox
from hub.client import Client

# A model that goes round in circles is stopped.
ROUNDS = 8
PROMPT = "You start background jobs with your tools. Wait for their end with check_job_status."


async def converse(model: AsyncOpenAI, tools: Toolbox, session_id: str, question: str) -> str:
    """The model's answer to a question."""
    messages: list[Any] = [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": question},
    ]
    for _ in range(ROUNDS):
        async with model.chat.completions.stream(
            model=os.environ["MODEL"],
            messages=messages,
            # Asked for each time: a worker may have announced another task meanwhile.
            tools=await tools.tools(format="openai"),
        ) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    print(event.delta, end="", flush=True)
            message = (await stream.get_final_completion()).choices[0].message
        messages.append(message.model_dump(include={"role", "content", "tool_calls"}))
        if not message.tool_calls:
            print()
            return message.content or ""
        for call in message.tool_calls:
            print(f"[{call.function.name} {call.function.arguments}]", flush=True)
            # Words that a model can use, also where the call was wrong: it may try again.
            said = await tools.execute_tool(
                call.function.name, call.function.arguments, session_id=session_id
            )
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})
    return "The model called its tools too often."


async def main(session_id: str, question: str) -> None:
    """One question, one answer."""
    url = os.environ.get("JOBCAST_URL", "http://127.0.0.1:8080")
    async with Client(url, os.environ["JOBCAST_TOKEN"]) as client, AsyncOpenAI() as model:
        await converse(model, Toolbox.over(client), session_id, question)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
