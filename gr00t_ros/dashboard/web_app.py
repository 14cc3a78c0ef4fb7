# SPDX-License-Identifier: Apache-2.0
"""The web side of the dashboard: the page, its live values, and its buttons."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from gr00t_ros.contract.contract import Contract
from gr00t_ros.dashboard.answer import Answer
from gr00t_ros.dashboard.commands import COMMANDS
from gr00t_ros.dashboard.feed import Feed, Mailbox, TooManyPagesError
from gr00t_ros.dashboard.robot_link import RobotLink

PAGE = Path(__file__).with_name("page")
SEND_S = 10.0  # a page that reads nothing for this long is disconnected
MAX_TEXT_CHARS = 1000
MAX_ENDERS = 16
MAX_TIME_LIMIT_S = 86_400.0
UNPROCESSABLE = 422
TRY_AGAIN_LATER = 1013  # code of a closed WebSocket


def _sendable(text: str) -> str:
    """Refuse what JSON can hold and a message of ROS cannot."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has characters that cannot be sent")
    return text


ShortText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS), AfterValidator(_sendable)]


class Text(BaseModel):
    """What comes with a button."""

    text: ShortText = ""


class Task(BaseModel):
    """What the form of a task holds: each ender is one line of YAML; a limit of 0 s is none."""

    instruction: ShortText
    enders: Annotated[list[ShortText], Field(max_length=MAX_ENDERS)] = []
    needs_all: bool = False
    time_limit_s: Annotated[float, Field(ge=0.0, le=MAX_TIME_LIMIT_S, allow_inf_nan=False)] = 0.0


class AnswerBody(BaseModel):
    """What the page is told about a command."""

    success: bool
    message: str

    @classmethod
    def of(cls, answer: Answer) -> AnswerBody:
        """The answer of a node."""
        return cls(success=answer.success, message=answer.message)


def make_app(contract: Contract, feed: Feed, link: RobotLink) -> FastAPI:
    """Make the app, which belongs behind a `TokenGate`.

    Args:
        contract: Names the cameras and the joints.
        feed: What the pages are shown.
        link: What the buttons reach.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, _explain)

    @app.get("/robot")
    def robot() -> dict[str, object]:
        """What the page has to know before the first value."""
        return {
            "cameras": [stream.key for stream in contract.video],
            "joints": {output.key: output.joints for output in contract.action},
        }

    @app.post("/commands/{name}")
    async def command(name: str, body: Text) -> AnswerBody:
        if name not in COMMANDS:
            raise HTTPException(404, f"no command {name}; there are {', '.join(COMMANDS)}")
        return AnswerBody.of(await link.call(name, body.text))

    @app.post("/instruction")
    def instruction(body: Text) -> AnswerBody:
        return AnswerBody.of(link.instruct(body.text))

    @app.post("/task")
    async def start_task(body: Task) -> AnswerBody:
        answer = await link.tasks.start(
            body.instruction,
            body.enders,
            needs_all=body.needs_all,
            time_limit_s=body.time_limit_s,
        )
        return AnswerBody.of(answer)

    @app.post("/task/cancel")
    async def cancel_task(body: Text) -> AnswerBody:
        return AnswerBody.of(await link.tasks.cancel())

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            mailbox = feed.join()
        except TooManyPagesError as error:
            await websocket.close(TRY_AGAIN_LATER, str(error))
            return
        try:
            await _serve_page(websocket, mailbox)
        finally:
            feed.leave(mailbox)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request; its values, which may be no JSON, are not repeated."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    texts = [f"{'.'.join(map(str, p['loc'][1:]))}: {p['msg']}" for p in problems]
    return JSONResponse({"detail": "; ".join(texts)}, UNPROCESSABLE)


async def _serve_page(websocket: WebSocket, mailbox: Mailbox) -> None:
    """Send until the page goes."""
    tasks = [
        asyncio.create_task(_send(websocket, mailbox)),
        asyncio.create_task(_receive(websocket)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(websocket: WebSocket, mailbox: Mailbox) -> None:
    with contextlib.suppress(asyncio.TimeoutError, WebSocketDisconnect):
        while True:
            for payload in await mailbox.take():
                if isinstance(payload, str):
                    sending = websocket.send_text(payload)
                else:
                    sending = websocket.send_bytes(payload)
                await asyncio.wait_for(sending, SEND_S)


async def _receive(websocket: WebSocket) -> None:
    """Return once the page has gone.

    Our page sends nothing. After the first message of another one nothing more is read, so that a
    flood waits in the socket of whoever sends it.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.receive":
        await asyncio.Event().wait()
