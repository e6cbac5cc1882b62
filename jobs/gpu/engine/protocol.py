"""The OpenAI protocol as JSON: what requests may hold, and what answers look like.

Rule of this file: shapes only, no work. Fields follow OpenAI's reference and vLLM's extensions (`top_k`, `ignore_eos`,
`chat_template_kwargs`, the adapter routes); what would silently change an answer and is not done here is refused.
"""

from __future__ import annotations

import base64
import struct
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jobs.gpu.engine.sampling import Sampling

DEFAULT_MAX_TOKENS = 512  # of an answer whose request names no limit, where the context allows


MAX_STOPS = 16  # stop strings of one request
MAX_STOP = 256  # characters of one
MAX_INPUTS = 2048  # texts of one request for embeddings

# Fields of OpenAI and vLLM that change an answer in a way that is not done here, with the values that ask for nothing.
_NOT_DONE: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "min_tokens": (0,),
    "n": (1,),
    "presence_penalty": (0,),
    "prompt_logprobs": (False, 0),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "use_beam_search": (False,),
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class StreamOptions(_Body):
    include_usage: bool = False


class _Generation(_Body):
    model: str | None = None
    temperature: float = Field(default=1.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=-1)
    seed: int | None = None
    stop: list[Annotated[str, Field(max_length=MAX_STOP)]] = Field(default_factory=list, max_length=MAX_STOPS)
    max_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    ignore_eos: bool = False

    @model_validator(mode="before")
    @classmethod
    def _nothing_that_is_not_done(cls, body: Any) -> Any:
        for name, idle in _NOT_DONE.items() if isinstance(body, dict) else ():
            if body.get(name) is not None and body[name] not in idle:
                raise ValueError(f"{name} is not supported by this engine.")
        return body

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("temperature", "top_p", "top_k", "stream_options", mode="before")
    @classmethod
    def _defaulted(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    def sampling(self, max_tokens: int) -> Sampling:
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(self.top_k, 0),
            seed=self.seed,
            stop=tuple(self.stop),
            ignore_eos=self.ignore_eos,
        )


class ChatMessage(_Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        """OpenAI's list of parts, if all of them are text."""
        if isinstance(value, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in value):
            return "\n".join(str(part.get("text", "")) for part in value)
        return "" if value is None else value

    def plain(self) -> dict[str, str]:
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class ChatRequest(_Generation):
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)

    @property
    def wanted(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(_Generation):
    prompt: str

    @property
    def wanted(self) -> int | None:
        return self.max_tokens


class TokenizeRequest(_Body):
    model: str | None = None
    messages: list[ChatMessage] | None = None
    prompt: str | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)


class EmbeddingRequest(_Body):
    model: str | None = None
    input: str | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"  # OpenAI's own client asks for base64
    dimensions: None = None


class LoadAdapter(_Body):
    lora_name: str = ""
    lora_path: str = ""
    load_inplace: bool = False


class UnloadAdapter(_Body):
    lora_name: str = ""


def error(message: str, kind: str, code: int) -> dict[str, Any]:
    """An error as OpenAI and vLLM word it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Answer:
    """One answer's identity, and its JSON whole or in chunks."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self._chat = chat
        self._model = model
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def chunk(self, text: str | None, finish: str | None, *, first: bool = False) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self._chat:
            choice["delta"] = ({"role": "assistant"} if first else {}) | ({} if text is None else {"content": text})
        else:
            choice["text"] = text or ""
        return self._object("chunk") | {"choices": [choice]}

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        return self._object("chunk") | {"choices": [], "usage": usage}

    def whole(self, text: str, finish: str, usage: dict[str, Any]) -> dict[str, Any]:
        body = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return self._object("") | {"choices": [{"index": 0, "finish_reason": finish} | body], "usage": usage}

    def _object(self, kind: str) -> dict[str, Any]:
        name = f"chat.completion{'.' + kind if kind else ''}" if self._chat else "text_completion"
        return {"id": self._id, "object": name, "created": self._created, "model": self._model}


def embeddings(model: str, vectors: Sequence[Sequence[float]], tokens: int, encoding: str) -> dict[str, Any]:
    """Vectors as OpenAI lists them; "base64": little-endian 32-bit floats."""

    def coded(vector: Sequence[float]) -> Sequence[float] | str:
        if encoding == "float":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

    data = [{"object": "embedding", "index": i, "embedding": coded(vector)} for i, vector in enumerate(vectors)]
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model, "data": data, "usage": counted}


def usage(prompt: int, answer: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
