"""Conversations → token ids and labels, by the chat template of the base.

Rule of this file: a whole conversation is rendered once, its text is tokenised once (in batches), and what is learnt
are the tokens that overlap the assistant's turns, end of turn included. The turns are found by the template's
`{% generation %}` marks (TRL's training templates bring them for many families); where there are none, by rendering
the conversation's beginnings, and only if those are prefixes of the whole.

Contents never become control tokens: a control token written in a content is tokenised in two parts, so that it
stays text, letter by letter. It does not truncate, pack or decide what a good example is.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template
from trl.chat_template_utils import get_training_chat_template, has_generation_markers

from jobs.dataset.example import Example, Kind
from jobs.errors import BaseNotAvailable
from jobs.gpu.batches import IGNORED

# Where tokenisation must break inside a content. A noncharacter of Unicode: no text has a use for it.
BREAK = "\ufdd0"

REFUSED = "the template refuses the conversation"

Span = tuple[int, int]  # characters, end excluded


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the trainer takes it."""

    input_ids: list[int]
    labels: list[int]  # the id where it is learnt, -100 elsewhere

    @property
    def learnt(self) -> int:
        """How many tokens enter the loss."""
        return len(self.labels) - self.labels.count(IGNORED)

    @property
    def predicted(self) -> int:
        """How many of them are predicted from something: all but a first one."""
        return self.learnt - (self.labels[0] != IGNORED)

    @property
    def columns(self) -> dict[str, list[int]]:
        return {"input_ids": self.input_ids, "labels": self.labels}


class ChatEncoder:
    """The one place where text becomes tokens, for training, evaluation and inference alike."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise BaseNotAvailable(
                "Ese modelo base no trae plantilla de chat.", hint="Elige una base de instrucciones."
            )
        self.tokenizer = tokenizer
        self.template: str = tokenizer.get_chat_template()
        self.training_template = _training_template(tokenizer)
        self._special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if token}
        added = tokenizer.added_tokens_decoder.values()
        self._control = _pattern(token.content for token in added)
        # An assistant may write the tokens that are no control of turns, such as <think>.
        self._control_of_turns = _pattern(token.content for token in added if token.special)
        self.ends_of_turn = set(tokenizer.all_special_ids)  # ids that may close a turn
        self._opening = [i for i in tokenizer("")["input_ids"] if i != tokenizer.eos_token_id]  # BOS, where it is used

    # -- inference ---------------------------------------------------------------------------------------------------

    def prompt(self, messages: Sequence[dict[str, Any]], *, tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Ids of a conversation that waits for the assistant's turn. Messages as in the OpenAI protocol."""
        text = self._render([self._guarded(message) for message in messages], tools, answer_next=True)
        return self._tokenise([text])[0][0]

    def accepts(self, example: Example) -> bool:
        """Whether the template lets the assistant answer this example's prompt."""
        try:
            self._render([self._guarded(m.to_dict()) for m in example.prompt], example.tools, answer_next=True)
        except TemplateError:
            return False
        return True

    # -- training ----------------------------------------------------------------------------------------------------

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Ids and labels of chat and text examples, in order. Nothing learnt where no turn could be marked."""
        texts: list[str] = []
        spans: list[list[Span]] = []
        for (is_text, _), group in groupby(examples, key=lambda example: (example.kind is Kind.TEXT, example.tools)):
            alike = list(group)
            for text, marked in map(self._whole, alike) if is_text else self._marked(alike):
                texts.append(text)
                spans.append(marked)
        return [
            self._as_text(*tokens) if example.kind is Kind.TEXT else _labelled(*tokens, where)
            for example, tokens, where in zip(
                examples, self._tokenise(texts), map(_unbroken, texts, spans), strict=True
            )
        ]

    def faults(self, example: Example, encoded: Encoded) -> str | None:
        """Why the labels of a chat example cannot be trusted, judged on the tokens themselves; None: they can."""
        if not encoded.input_ids and example.kind is Kind.CHAT:
            return REFUSED
        if not encoded.learnt:
            return "nothing is learnt"
        if example.kind is not Kind.CHAT:
            return None
        learnt, unlearnt = self._decoded_parts(encoded)
        expected = [m.content.strip() for m in example.messages if m.learn and not m.tool_calls]
        if not _in_order(expected, learnt):
            return "an answer is not learnt whole"
        if not _in_order([m.content.strip() for m in example.messages if m.role == "user"], unlearnt):
            return "something of the user's is learnt"
        if encoded.labels[-1] == IGNORED and self.ends_of_turn.isdisjoint(encoded.labels):
            return "the end of the turn is not learnt"
        return None

    # -- parts -------------------------------------------------------------------------------------------------------

    def _as_text(self, ids: list[int], _starts: list[Span]) -> Encoded:
        ids = [*self._opening, *ids, self.tokenizer.eos_token_id]
        return Encoded(ids, list(ids))

    def _decoded_parts(self, encoded: Encoded) -> tuple[str, str]:
        """What is learnt and what is not, as text."""
        decode = self.tokenizer.backend_tokenizer.decode  # transformers' own looks at each id three times
        parts: dict[bool, list[str]] = {True: [], False: []}
        start = 0
        for learnt, run in groupby(encoded.labels, key=IGNORED.__ne__):
            end = start + len(list(run))
            parts[learnt].append(decode(encoded.input_ids[start:end], skip_special_tokens=False))
            start = end
        return "\n".join(parts[True]), "\n".join(parts[False])

    def _break_controls(self, text: str, pattern: re.Pattern[str] | None) -> str:
        text = text.replace(BREAK, "")
        return text if pattern is None else pattern.sub(lambda m: m.group()[0] + BREAK + m.group()[1:], text)

    def _guarded(self, message: dict[str, Any]) -> dict[str, Any]:
        pattern = self._control_of_turns if message["role"] == "assistant" else self._control
        return {**message, "content": self._break_controls(message.get("content") or "", pattern)}

    def _render(
        self, messages: list[dict[str, Any]], tools: Sequence[dict[str, Any]], *, answer_next: bool = False
    ) -> str:
        return _rendered([messages], tools, self.template, self._special, add_generation_prompt=answer_next)[0][0]

    def _whole(self, example: Example) -> tuple[str, list[Span]]:
        text = self._break_controls(example.text, self._control)
        return text, [(0, len(text))]

    def _marked(self, examples: Sequence[Example]) -> list[tuple[str, list[Span]]]:
        """Rendered conversations, which have the same tools, and the spans of the turns that are learnt.

        Nothing of a conversation that the template refuses.
        """
        try:
            return self._marked_together(examples)
        except TemplateError:
            return [("", [])] if len(examples) == 1 else [self._marked([example])[0] for example in examples]

    def _marked_together(self, examples: Sequence[Example]) -> list[tuple[str, list[Span]]]:
        chats = [[self._guarded(message.to_dict()) for message in example.messages] for example in examples]
        if self.training_template is None:
            return [self._marked_by_prefix(*each) for each in zip(chats, examples, strict=True)]
        texts, spans = _rendered(
            chats, examples[0].tools, self.training_template, self._special, return_assistant_tokens_mask=True
        )
        results = []
        for example, chat, text, found in zip(examples, chats, texts, spans, strict=True):
            turns = [message for message in example.messages if message.role == "assistant"]
            marked = _joined(found)
            results.append(
                (text, [span for span, turn in zip(marked, turns, strict=True) if turn.learn])
                if len(marked) == len(turns)
                else self._marked_by_prefix(chat, example)
            )
        return results

    def _marked_by_prefix(self, messages: list[dict[str, Any]], example: Example) -> tuple[str, list[Span]]:
        whole = self._render(messages, example.tools)
        spans = []
        for index, message in enumerate(example.messages):
            if not message.learn:
                continue
            before = self._render(messages[:index], example.tools, answer_next=True)
            after = whole if index + 1 == len(messages) else self._render(messages[: index + 1], example.tools)
            after = after.rstrip()  # some templates end a turn with a line break that the engine never asks for
            if not whole.startswith(after):  # and some end the conversation once more
                after = after.removesuffix(self.tokenizer.eos_token).rstrip()
            if whole.startswith(before) and whole.startswith(after) and len(before) < len(after):
                spans.append((len(before), len(after)))
        return whole, spans

    def _tokenise(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """Ids and character spans of each text, as if BREAK were not there; one call for all of them."""
        pieces = [piece for text in texts for piece in text.split(BREAK)]
        if not pieces:
            return []
        backend = self.tokenizer.backend_tokenizer  # transformers' own call copies each encoding: six times slower
        backend.no_padding()
        backend.no_truncation()
        encodings = backend.encode_batch(pieces, add_special_tokens=False)
        results = []
        done = 0
        for text in texts:
            ids: list[int] = []
            spans: list[Span] = []
            offset = 0
            for piece in text.split(BREAK):
                encoding = encodings[done]
                done += 1
                ids += encoding.ids
                spans += encoding.offsets if not offset else [(a + offset, b + offset) for a, b in encoding.offsets]
                offset += len(piece)
            results.append((ids, spans))
        return results


def _rendered(
    chats: Sequence[Sequence[dict[str, Any]]],
    tools: Sequence[dict[str, Any]],
    template: str,
    special: dict[str, str],
    **options: bool,
) -> tuple[list[str], list[list[Span]]]:
    """(texts, spans of what the template marks as generated); transformers declares one string."""
    render: Any = render_jinja_template
    texts, spans = render(chats, tools=list(tools) or None, chat_template=template, **options, **special)
    return texts, spans


def _training_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A template with `{% generation %}` marks: the base's own, or TRL's of its family; None where there is none."""
    try:
        template = get_training_chat_template(tokenizer)
    except Exception:  # an unknown family, or a template that cannot render TRL's probe
        own = tokenizer.get_chat_template()
        return own if has_generation_markers(own) else None
    return template or tokenizer.get_chat_template()


def _pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted({token for token in tokens if len(token) > 1}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _unbroken(text: str, spans: list[Span]) -> list[Span]:
    """Spans of a text with BREAK marks, as spans of the text without them."""
    if BREAK not in text:
        return spans
    return [(a - text.count(BREAK, 0, a), b - text.count(BREAK, 0, b)) for a, b in spans]


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch are one: some templates mark the last end of turn by itself."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _labelled(ids: list[int], tokens: list[Span], spans: list[Span]) -> Encoded:
    labels = [IGNORED] * len(ids)
    for start, end in spans:
        first = bisect_right(tokens, start, key=itemgetter(1))
        last = bisect_left(tokens, end, key=itemgetter(0))
        labels[first:last] = ids[first:last]
    return Encoded(ids, labels)


def _in_order(needles: Iterable[str], haystack: str) -> bool:
    """Each needle stands in the haystack, after the one before it. Spaces do not count (tokenizers normalise them)."""
    haystack = "".join(haystack.split())
    position = 0
    for needle in ("".join(n.split()) for n in needles):
        found = haystack.find(needle, position)
        if found < 0:
            return False
        position = found + len(needle)
    return True
