"""Jobcast inside a FastAPI app: yours at /, Jobcast's page at /jobs/, its calls at /jobs/jobs.

pip install jobcast fastapi
export JOBCAST_SECRET=$(openssl rand -hex 32) JOBCAST_REDIS_URL=redis://127.0.0.1:6379/0
python examples/mounted.py
jobcast worker jobcast.toml    # in another terminal
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from hub.app import create_app, lifespan
from hub.settings import Settings

jobcast = create_app(Settings.from_env())


@asynccontextmanager
async def running(_: FastAPI) -> AsyncIterator[None]:
    # Only the outermost app's lifespan is run: it has to run Jobcast's.
    async with lifespan(jobcast):
        yield


app = FastAPI(lifespan=running)


@app.get("/")
async def home() -> dict[str, str]:
    """Your own app."""
    return {"jobs": "/jobs/"}


app.mount("/jobs", jobcast)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    # Streams do not end by themselves: without a limit, stopping would wait for them for ever.
    uvicorn.run(app, port=port, timeout_graceful_shutdown=2)
