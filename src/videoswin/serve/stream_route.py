"""``WS /v1/stream``: pictures or a recording in, events out.

Binary messages are pictures, or with ``kind=recording`` the pieces of what a browser's MediaRecorder makes; the text message
``{"type": "stop"}`` ends the stream, and what is on its way is answered before it closes.
"""

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import Any

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from videoswin.errors import VideoSwinError, nearest
from videoswin.predict.plain_text import json_text
from videoswin.serve.door import SUBPROTOCOL
from videoswin.serve.fields import flag, number
from videoswin.serve.openapi import DECISION_FIELDS
from videoswin.serve.pacing import with_clip_seconds
from videoswin.serve.refusals import Refused, refusal_of
from videoswin.serve.service import Service
from videoswin.serve.streaming import LiveStream, StreamChoices
from videoswin.serve.timeline_routes import pace_of, timeline_decisions

__all__ = ["MAX_MESSAGE", "stream"]

MAX_MESSAGE = 4 * 2**20
_SILENCE_S = 60.0
_BEHIND = 256  # messages that a slow client may have waiting before scores are left out
_KINDS = ("pictures", "recording")
_KNOWN = {*DECISION_FIELDS, "kind", "fps", "replay"}
_POLICY, _GOING_AWAY, _TRY_LATER, _NORMAL = 1008, 1001, 1013, 1000


async def stream(socket: WebSocket, service: Service) -> None:
    """One client, from its first message to its last."""
    protocols = socket.scope.get("subprotocols", [])
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in protocols else None)
    try:
        with service.streams.place():
            await _serve(socket, service)
    except (Refused, VideoSwinError) as error:
        refused = refusal_of(error)
        code = _TRY_LATER if refused.status == 503 else _POLICY
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.send_text(json_text({"type": "error", **refused.to_dict()["error"]}))
            await socket.close(code)


async def _serve(socket: WebSocket, service: Service) -> None:
    fields = dict(socket.query_params)
    for name in fields:
        if name not in _KNOWN:
            raise Refused(422, "bad_setting", f'There is no setting "{name[:40]}". {nearest(name[:40], _KNOWN)}')
        if len(socket.query_params.getlist(name)) > 1:
            raise Refused(422, "bad_setting", f"The setting {name} is there twice.")
    model = service.models.find(fields.get("model", ""))
    kind = fields.get("kind", _KINDS[0])
    if kind not in _KINDS:
        raise Refused(422, "bad_setting", f'kind="{kind[:40]}" has to be {" or ".join(_KINDS)}.')
    choices = StreamChoices(
        kind,
        with_clip_seconds(pace_of(fields).suited(model.classifier), model.classifier.preprocessing),
        timeline_decisions(fields, (0.3, 0.7, 0.4, 0.5)),
        number(fields, "fps", 25.0, 0.1, 240),
        flag(fields, "cuts", True),
        flag(fields, "gate", True),
        flag(fields, "replay", False),
    )
    loop = asyncio.get_running_loop()
    outbox = _Outbox(loop)

    def send(message: dict[str, Any] | None) -> None:
        outbox.put(message)
        if message is not None:
            service.tell(message)

    live = await loop.run_in_executor(None, LiveStream, model, choices, service.settings, service.batcher, send)
    sending = loop.create_task(_send(socket, outbox))
    receiving = loop.create_task(_receive(socket, live, waits=choices.replay or kind == "recording"))
    draining = loop.create_task(_until_draining(service))
    try:
        await asyncio.wait({sending, receiving, draining}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done() and receiving.exception() is None and receiving.result():
            await sending  # it was asked to stop: the last answers
        if draining.done() and not sending.done():
            await _close(socket, _GOING_AWAY)
        elif receiving.done() and (error := receiving.exception()) is not None:
            raise error
        elif sending.done():
            await _close(socket, _POLICY if sending.result() else _NORMAL)
    finally:
        for task in (sending, receiving, draining):
            task.cancel()
        await asyncio.gather(sending, receiving, draining, return_exceptions=True)
        await asyncio.shield(loop.run_in_executor(None, live.close))


async def _receive(socket: WebSocket, live: LiveStream, waits: bool) -> bool:
    """Whether the client asked to stop; False if it left."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            message = await asyncio.wait_for(socket.receive(), _SILENCE_S)
        except TimeoutError:
            raise Refused(408, "silent", f"Nothing came for {_SILENCE_S:g} s.") from None
        if message["type"] == "websocket.disconnect":
            return False
        if (data := message.get("bytes")) is not None:
            if waits:
                await loop.run_in_executor(None, live.picture if live.takes_pictures else live.piece, data)
            else:
                live.picture(data)
        elif _wants_to_stop(message.get("text") or ""):
            await loop.run_in_executor(None, live.end)
            return True


def _wants_to_stop(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not (isinstance(value, dict) and value.get("type") == "stop"):
        raise Refused(422, "bad_message", 'A text message is {"type": "stop"}; pictures are binary messages.')
    return True


async def _send(socket: WebSocket, outbox: "_Outbox") -> bool:
    """Until the last message. Whether an error was among them, which has ended the stream then."""
    failed = False
    while (message := await outbox.take()) is not None:
        await socket.send_text(json_text(message))
        failed |= message.get("type") == "error"
    return failed


async def _until_draining(service: Service) -> None:
    while not service.draining:
        await asyncio.sleep(0.2)


async def _close(socket: WebSocket, code: int) -> None:
    if socket.application_state is WebSocketState.CONNECTED and socket.client_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code)


class _Outbox:
    """Messages from threads to the event loop. A client that does not keep up loses scores, never events."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: deque[dict[str, Any] | None] = deque()
        self._filled = asyncio.Event()

    def put(self, message: dict[str, Any] | None) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._add, message)

    def _add(self, message: dict[str, Any] | None) -> None:
        if len(self._messages) >= _BEHIND and message is not None and message["type"] in ("scores", "status"):
            return
        self._messages.append(message)
        self._filled.set()

    async def take(self) -> dict[str, Any] | None:
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()
        return self._messages.popleft()
