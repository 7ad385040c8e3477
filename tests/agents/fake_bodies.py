"""Bodies and streams of the fake server, in the shapes of the real services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.agents.fake_server import Question, Reply

PIECES = 8
"""Pieces that a streamed answer comes in, and a trickling body."""


def wire_body(question: Question, reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        error = {"type": "fake_error", "message": reply.text, "param": None, "code": None}
        return {"type": "error", "error": error} if question.wire == "anthropic" else {"error": error}
    bodies = {"openai": _openai_body, "openai-responses": _responses_body, "anthropic": _anthropic_body}
    return bodies[question.wire](question, reply)


def _openai_body(question: Question, reply: Reply) -> dict[str, Any]:
    refused = reply.finish == "refusal"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": question.body["model"],
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if refused else reply.text,
                    "refusal": reply.text if refused else None,
                },
                "finish_reason": "length" if reply.finish == "length" else "stop",
            }
        ],
        "usage": _openai_usage(reply),
    }


def _openai_usage(reply: Reply) -> dict[str, object] | None:
    if reply.usage is None:
        return None
    read, written = reply.usage
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": _sum(read, written)}


def _responses_body(question: Question, reply: Reply) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": []}
    if reply.finish == "refusal":
        part = {"type": "refusal", "refusal": reply.text}
    cut = reply.finish == "length"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = None
    if reply.usage is not None:
        read, written = reply.usage
        usage = {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": _sum(read, written),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": question.body["model"],
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "output": [{"id": "rs_1", "type": "reasoning", "summary": []}, message],
        "usage": usage,
    }


def _anthropic_body(question: Question, reply: Reply) -> dict[str, Any]:
    by_tool = "tools" in question.body and reply.finish == "stop" and reply.text
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    if by_tool:
        content = [{"type": "tool_use", "id": "toolu_1", "name": question.schema_name, "input": json.loads(reply.text)}]
    stop = {"stop": "tool_use" if by_tool else "end_turn", "length": "max_tokens", "refusal": "refusal"}[reply.finish]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": question.body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": reply.usage[0], "output_tokens": reply.usage[1]} if reply.usage else None,
    }


# -- streams ----------------------------------------------------------------------------------------------------------


def events(question: Question, reply: Reply) -> list[bytes]:
    """The reply as server-sent events, as the real services cut it."""
    streams = {"openai": _openai_events, "openai-responses": _responses_events, "anthropic": _anthropic_events}
    return streams[question.wire](question, reply)


def _pieces(text: str) -> list[str]:
    size = max(1, -(-len(text) // PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _event(data: Mapping[str, Any] | str, name: str = "") -> bytes:
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def _openai_events(question: Question, reply: Reply) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": question.body["model"]}

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    field_name = "refusal" if reply.finish == "refusal" else "content"
    sent = [chunk({"role": "assistant", "content": ""})]
    sent += [chunk({field_name: piece}) for piece in _pieces(reply.text)]
    if reply.fault:
        error = {"message": "a fault in mid-stream", "type": reply.fault, "param": None, "code": None}
        return [*sent[:2], _event({"error": error})]
    sent.append(chunk({}, "length" if reply.finish == "length" else "stop"))
    if question.body.get("stream_options", {}).get("include_usage"):
        sent.append(_event({**head, "choices": [], "usage": _openai_usage(reply)}))
    return [*sent, _event("[DONE]")]


def _responses_events(question: Question, reply: Reply) -> list[bytes]:
    body = _responses_body(question, reply)
    started = {**body, "status": "in_progress", "output": [], "usage": None}
    numbered: list[dict[str, Any]] = [{"type": "response.created", "response": started}]
    kind, field_name = ("refusal", "refusal") if reply.finish == "refusal" else ("output_text", "text")
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    numbered += [{"type": f"response.{kind}.delta", "delta": piece, **place} for piece in _pieces(reply.text)]
    if reply.fault:
        failed = {**started, "status": "failed", "error": {"code": reply.fault, "message": "a fault in mid-stream"}}
        numbered = [*numbered[:2], {"type": "response.failed", "response": failed}]
    else:
        numbered.append({"type": f"response.{kind}.done", field_name: reply.text, **place})
        numbered.append({"type": f"response.{body['status']}", "response": body})
    return [_event({**data, "sequence_number": n}, data["type"]) for n, data in enumerate(numbered)]


def _anthropic_events(question: Question, reply: Reply) -> list[bytes]:
    body = _anthropic_body(question, reply)
    usage = body["usage"] or {"input_tokens": 0, "output_tokens": 0}
    start = {**body, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    datas: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(body["content"]):
        by_tool = block["type"] == "tool_use"
        empty = {**block, "input": {}} if by_tool else {"type": "text", "text": ""}
        datas.append({"type": "content_block_start", "index": index, "content_block": empty})
        text = json.dumps(block["input"]) if by_tool else block["text"]
        for piece in _pieces(text):
            delta = {"type": "input_json_delta", "partial_json": piece}
            if not by_tool:
                delta = {"type": "text_delta", "text": piece}
            datas.append({"type": "content_block_delta", "index": index, "delta": delta})
        datas.append({"type": "content_block_stop", "index": index})
    if reply.fault:
        error = {"type": reply.fault, "message": "a fault in mid-stream"}
        datas = [*datas[:4], {"type": "error", "error": error}]
    else:
        stop = {"stop_reason": body["stop_reason"], "stop_sequence": None}
        written = {"output_tokens": usage["output_tokens"]}
        datas += [{"type": "message_delta", "delta": stop, "usage": written}, {"type": "message_stop"}]
    return [_event(data, data["type"]) for data in datas]


def _sum(read: object, written: object) -> object:
    """As a server would add them up; a bill of nonsense has a nonsense sum."""
    return read + written if isinstance(read, int) and isinstance(written, int) else read
