"""Messages to token ids, through the chat template of the adapter's own tokenizer.

Rule of this file: what a person wrote is text and nothing else. A control token spelt out inside a message (such as
`<|im_end|>`) is cut after its first character while the template is applied and the pieces are encoded apart, so it
can never end a turn or open another; messages without one are encoded exactly as in training.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

# Not always declared special, yet the templates of several families give them a meaning.
_MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_LONGEST_CHARACTER = 5  # tokens after which what is still no character never will be (UTF-8 has four bytes)
# What the chat template may not be told by a request: it is the engine's part of the call.
_OURS = {
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "max_length", "messages",
    "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize", "tokenizer_kwargs",
    "truncation",
}  # fmt: skip
# Private-use characters; one that no message contains marks the cuts.
_CUTS = [chr(code) for code in range(0xE000, 0xE020)]


class PromptRefused(Exception):
    """The messages do not fit the template; the message says why, in English, for the protocol."""


class Prompter:
    """A tokenizer with its template; safe to call from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        special = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
        user_marks = {mark for mark in _MARKS if mark in tokenizer.get_vocab()}
        self._special = _any_of(special)
        self._special_or_mark = _any_of(special | user_marks)
        self._lock = threading.Lock()  # fast tokenizers keep state while they encode

    @property
    def eos(self) -> int | None:
        eos: int | None = self.tokenizer.eos_token_id
        return eos

    def chat(self, messages: Sequence[Mapping[str, Any]], template: Mapping[str, Any] | None = None) -> list[int]:
        """Token ids of a conversation that the assistant is to continue. `template`: values for its chat template.

        Raises:
            PromptRefused: there is no template, or it refuses these messages.
        """
        if taken := _OURS & set(template or {}):
            raise PromptRefused(f"chat_template_kwargs may not hold {', '.join(sorted(taken))}.")
        if not self.tokenizer.chat_template:
            raise PromptRefused("This model has no chat template; use /v1/completions.")
        cut = next((c for c in _CUTS if not any(c in m["content"] for m in messages)), None)
        if cut is None:
            raise PromptRefused("The messages contain too many private-use characters.")
        safe = [{**message, "content": self._defused(message, cut)} for message in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                safe, tokenize=False, add_generation_prompt=True, **(template or {})
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise PromptRefused(f"The chat template refuses these messages: {error}") from error
        with self._lock:
            return [i for piece in text.split(cut) for i in self.tokenizer.encode(piece, add_special_tokens=False)]

    def text(self, prompt: str) -> list[int]:
        """Token ids of a bare text, with the tokens that the model wants at its beginning."""
        with self._lock:
            ids: list[int] = self.tokenizer.encode(prompt, add_special_tokens=True)
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _defused(self, message: Mapping[str, Any], cut: str) -> str:
        # A model's own earlier answer may hold its marks of reasoning; a person's words may not.
        pattern = self._special if message["role"] == "assistant" else self._special_or_mark
        return pattern.sub(lambda match: match[0][0] + cut + match[0][1:], message["content"])


def _any_of(words: set[str]) -> re.Pattern[str]:
    """A pattern that finds each of `words` of at least two characters; the longest first."""
    found = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if len(word) > 1)
    return re.compile(found or r"(?!)")


class TextStream:
    """Tokens of one answer to text, piece by piece, ending before a stop string.

    A piece is held back while it may be half a character (bytes of UTF-8) or the beginning of a stop string.
    """

    def __init__(self, prompter: Prompter, stop: Sequence[str] = ()) -> None:
        self._prompter = prompter
        self._stop = [text for text in stop if text]
        self._tokens: list[int] = []
        self._before = 0  # tokens before this index only give context to the decoder
        self._read = 0  # tokens before this index are decoded
        self._held = ""  # decoded, not yet given out
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token completes; may be empty. After `stopped` nothing more comes."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        return self._give(self._decoded(final=False), final=False)

    def finish(self) -> str:
        """What was still held back."""
        return "" if self.stopped else self._give(self._decoded(final=True), final=True)

    def _decoded(self, *, final: bool) -> str:
        known = self._prompter.decode(self._tokens[self._before : self._read])
        text = self._prompter.decode(self._tokens[self._before :])
        half = text.endswith("�") and len(self._tokens) - self._read < _LONGEST_CHARACTER
        if not final and (len(text) <= len(known) or half):
            return ""
        self._before, self._read = self._read, len(self._tokens)
        return text[len(known) :]

    def _give(self, text: str, *, final: bool) -> str:
        self._held += text
        ends = [index for stop in self._stop if (index := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            return self._held[: min(ends)]
        keep = 0 if final else max((_overlap(self._held, stop) for stop in self._stop), default=0)
        given, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return given


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may begin `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
