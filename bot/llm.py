"""Answers from the course: quoted, or worded by a language model.

Rule of this file: the only one that imports langchain chat models. Both answerers say that the course does not cover a
question when `Course.look_up` says so, and then show no sources. A model that is slow, cut off, uncited or wrong costs
nothing but its wording: the student gets the quotation instead.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from bot.course import Course, Findings
from bot.course.aims import Aim
from bot.course.analysis import fold
from bot.course.answer import Answer, Source
from bot.course.citations import REFUSAL
from bot.course.passage import Passage
from bot.course.query import PLAIN
from bot.course.quoting import details
from bot.prompts import Prompts
from bot.settings import Settings
from jobs.moderation import Category

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    from bot.course.meaning import Meaning

log = logging.getLogger(__name__)

PASSAGES = 5  # how many an answer may draw on
MORE_PASSAGES = 8  # the same for a longer one
REMEMBERED = 3  # earlier turns that a follow-up question may refer to
CACHED = 512  # answers kept in memory

_LEANING = re.compile(r"\W*(y|pero|entonces|o sea|o|por que|eso|esa|ese|ella|el otro|la otra)\b")  # «¿y cuándo?»
# What a reasoning model thinks before it answers; the mark may still be open, or half written.
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)|<(?:t(?:h(?:i(?:n(?:k)?)?)?)?)?\Z", re.DOTALL)

History = Sequence[tuple[str, str]]  # earlier (question, answer) pairs of a thread, oldest first
Occupy = Callable[[], AbstractContextManager[None]]  # around what a model does; raises while it cannot be asked
OnText = Callable[[str], Awaitable[None]]  # called with the text so far while it is being written


class Answerer(Protocol):
    async def answer(
        self, question: str, history: History = (), *, on_text: OnText | None = None, long: bool = False
    ) -> Answer:
        """Answer a question; `long` when somebody asks for more detail, which then stands in `details`. Never raises
        for a model's or a network's fault."""
        ...


class QuotingAnswerer:
    """The best sentences of the best passages, with their sources. No language model."""

    def __init__(self, course: Course) -> None:
        self.course = course

    async def answer(
        self, question: str, history: History = (), *, on_text: OnText | None = None, long: bool = False
    ) -> Answer:
        return await asyncio.to_thread(self.quote, question, history)

    def quote(self, question: str, history: History = ()) -> Answer:
        findings = follow_up(self.course, question, history)
        if findings.query.question == question:
            return quoted(self.course, findings)
        said = " ".join(answer for _, answer in history[-REMEMBERED:])  # a follow-up wants to hear the rest
        further = quoted(self.course, findings, told=said)
        return further if further.found else quoted(self.course, findings)


class ChatAnswerer:
    """A language model words the answer from the passages and cites them; what does not hold is not shown."""

    def __init__(
        self,
        course: Course,
        model: BaseChatModel,
        prompts: Prompts,
        *,
        timeout: float = 30.0,
        occupy: Occupy = nullcontext,
    ) -> None:
        self.course = course
        self._occupy = occupy
        self._model = model
        self._prompts = prompts
        self._timeout = timeout  # seconds for everything that the model does for one answer

    async def answer(
        self, question: str, history: History = (), *, on_text: OnText | None = None, long: bool = False
    ) -> Answer:
        findings: Findings | None = None
        try:
            with self._occupy():
                async with asyncio.timeout(self._timeout):
                    standalone = await self._rewrite(question, history) if history else question
                    findings = await asyncio.to_thread(
                        self.course.look_up, standalone, MORE_PASSAGES if long else PASSAGES
                    )
                    if not findings.found:
                        return not_covered(self.course, findings, question)
                    text = await self._word(standalone, findings.passages, on_text, long)
        except Exception as error:  # providers raise their own kinds: the wording is lost, the answer is not
            log.warning("the language model gave no answer: %s", type(error).__name__, extra={"action": "quote"})
            if findings is None:
                findings = await asyncio.to_thread(follow_up, self.course, question, history)
            return quoted(self.course, findings)
        if REFUSAL in text:
            return not_covered(self.course, findings, question)
        return self._checked(question, text, findings, long)

    async def _rewrite(self, question: str, history: History) -> str:
        turns = "\n".join(f"Estudiante: {asked}\nProfesora: {said[:400]}" for asked, said in history[-REMEMBERED:])
        prompt = self._prompts.render("curso_reescribir", history=turns, question=question)
        reply = await self._model.ainvoke(prompt)
        said = _THOUGHT.sub("", reply.text).strip()
        rewritten = said.splitlines()[0].strip() if said else ""
        return rewritten if 0 < len(rewritten) <= 400 else question

    async def _word(self, question: str, passages: Sequence[Passage], on_text: OnText | None, long: bool) -> str:
        from langchain_core.messages import HumanMessage, SystemMessage

        documents = "\n\n".join(_as_data(number, passage) for number, passage in enumerate(passages, 1))
        prompt = self._prompts.render("curso_pregunta", documents=documents, question=question)
        if long:
            prompt = f"{prompt}\n\n{self._prompts.render('curso_largo')}"
        messages = [SystemMessage(self._prompts.render("curso_sistema")), HumanMessage(prompt)]
        written = text = ""
        finished = False
        async for chunk in self._model.astream(messages):
            written += chunk.text
            text = _THOUGHT.sub("", written)
            finished = finished or bool(chunk.response_metadata.get("finish_reason"))
            if on_text and text.strip() and REFUSAL[: len(text.strip())] != text.strip()[: len(REFUSAL)]:
                await on_text(text)
        if not finished or not text.strip():
            raise ConnectionError("the stream ended before the answer did")
        return text

    def _checked(self, question: str, text: str, findings: Findings, long: bool) -> Answer:
        checked = self.course.checker.check(text, findings.passages)
        if not checked.used:
            log.info("a worded answer had no citation that holds", extra={"action": "quote"})
            return quoted(self.course, findings)
        cited = [findings.passages[place] for place in checked.used]
        quotes = {
            quote.passage: quote.text for quote in self.course.quoter.quotes(findings.query, cited, most=len(cited))
        }
        return Answer(
            question=question,
            found=True,
            text=checked.text,
            sources=tuple(Source.of(passage, quotes.get(passage, passage.plain)) for passage in cited),
            details=checked.text if long else details(cited),
            suggestions=self.course.near_topics(question),
            worded=True,
        )


class CachedAnswerer:
    """Remembers answers to questions asked without a history; a lost wording is not remembered."""

    def __init__(self, inner: Answerer, *, worded: bool) -> None:
        self._inner = inner
        self._worded = worded  # the inner answerer words its answers: a quotation from it was a way out
        self._answers: OrderedDict[tuple[str, bool], Answer] = OrderedDict()

    async def answer(
        self, question: str, history: History = (), *, on_text: OnText | None = None, long: bool = False
    ) -> Answer:
        key = (" ".join(fold(question).split()).strip(" ?¿!¡."), long)
        if history or key not in self._answers:
            answer = await self._inner.answer(question, history, on_text=on_text, long=long)
            if not history and (answer.worded == self._worded or not answer.found):
                self._answers[key] = answer
                if len(self._answers) > CACHED:
                    self._answers.popitem(last=False)
            return answer
        self._answers.move_to_end(key)
        return self._answers[key]


def follow_up(course: Course, question: str, history: History) -> Findings:
    """Without a model: a short question that finds nothing alone is read together with the one before."""
    findings = course.look_up(question, PASSAGES)
    query = findings.query
    named = any(concept not in query.weak and not concept.startswith(PLAIN) for concept in query.named)
    own_subject = named or query.unknown or query.foreign
    if history and not own_subject and (_LEANING.match(fold(question)) or not findings.found):
        together = course.look_up(f"{history[-1][0]} {question}", PASSAGES)
        if together.found:  # what it is after, is what the new question is after
            return replace(together, query=replace(together.query, aims=query.aims))
    return findings


def quoted(course: Course, findings: Findings, told: str = "") -> Answer:
    """The answer in the course's own sentences, without those told before; that it is not covered, when it is not."""
    question = findings.query.question
    quotes = course.quoter.quotes(findings.query, findings.passages, told=told) if findings.found else []
    if not quotes:
        return not_covered(course, findings, question)
    return Answer(
        question=question,
        found=True,
        text="\n\n".join(f"{quote.text} [{number}]" for number, quote in enumerate(quotes, 1)),
        sources=tuple(Source.of(quote.passage, quote.text) for quote in quotes),
        details=details([quote.passage for quote in quotes]),
        suggestions=course.near_topics(question),
    )


def not_covered(course: Course, findings: Findings, question: str) -> Answer:
    """That the course does not say it; a greeting is greeted."""
    near = course.near_topics(question, strict=True)  # somebody who asked for a recipe wants no question on GGUF
    aims = findings.query.aims
    if Aim.COURTESY in aims:
        text = "¡Hola! Pregúntame lo que quieras sobre el curso, con tus palabras."
    elif Aim.COMMAND in aims:
        text = "Yo solo respondo preguntas sobre el curso."
    else:
        text = "El curso no habla de eso, así que prefiero no inventar una respuesta."
    hint = " Quizá te sirva una de estas preguntas." if near else " Puedes empezar por una de estas."
    return Answer(question=question, found=False, text=text + hint, suggestions=near or course.topics.questions[:2])


def _as_data(number: int, passage: Passage) -> str:
    """A passage between marks that nothing inside can close."""
    body = passage.text.replace("</documento", "‹/documento").replace("<documento", "‹documento")
    label = passage.label.replace('"', "'").replace("\n", " ")
    return f'<documento número="{number}" título="{label}">\n{body}\n</documento>'


def make_answerer(
    settings: Settings, course: Course, engine_url: str | None = None, *, occupy: Occupy = nullcontext
) -> Answerer:
    """The answerer that the settings ask for: `AFINA_LLM` unset quotes; "engine" or "provider:model" words.

    `occupy`: for the engine, whose memory may be lent to a training job; the course is quoted meanwhile.
    """
    model = make_model(settings, engine_url)
    if model is None:
        return CachedAnswerer(QuotingAnswerer(course), worded=False)
    chat = ChatAnswerer(
        course,
        model,
        Prompts(settings.prompts_dir),
        timeout=settings.llm_timeout,
        occupy=occupy if settings.llm == "engine" else nullcontext,
    )
    return CachedAnswerer(chat, worded=True)


def make_model(settings: Settings, engine_url: str | None = None) -> BaseChatModel | None:
    """The chat model of `AFINA_LLM`, or None. Every address that speaks the OpenAI protocol works with `AFINA_LLM_URL`;
    other providers need their langchain package (`init_chat_model` names it)."""
    if not settings.llm:
        return None
    provider, _, name = settings.llm.partition(":")
    key = settings.llm_key.get_secret_value() if settings.llm_key else None
    common: dict[str, Any] = {"temperature": 0.2, "timeout": settings.llm_timeout, "max_retries": 1}
    url = settings.llm_url
    if settings.llm == "engine":
        base = engine_url or settings.engine_url
        if not base:
            return None
        url, name = f"{base.rstrip('/')}/v1", settings.default_base
        key = settings.engine_key.get_secret_value() if settings.engine_key else None
    elif provider == "ollama":
        url = url or "http://127.0.0.1:11434/v1"
    elif provider != "openai" and not url:
        from langchain.chat_models import init_chat_model

        options: Any = common | ({"api_key": key} if key else {})
        model: BaseChatModel = init_chat_model(settings.llm, **options)
        return model
    from langchain_openai import ChatOpenAI

    # A client of our own: langchain's default one is shared by address across event loops.
    client = httpx.AsyncClient(timeout=settings.llm_timeout)
    return ChatOpenAI(
        model=name or provider, base_url=url, api_key=lambda: key or "sin-clave", http_async_client=client, **common
    )


class JudgingModel:
    """A chat model as the content filter's second step (`bot.moderation.Classifier`)."""

    def __init__(self, model: BaseChatModel, prompts: Prompts, *, occupy: Occupy = nullcontext) -> None:
        self._model = model
        self._prompts = prompts
        self._occupy = occupy

    async def classify(self, text: str) -> Category | None:
        """Raises ValueError for an answer that is no category, and whatever the provider raises."""
        inside = re.sub(r"</?\s*texto\b", "‹texto", text, flags=re.IGNORECASE)  # nothing inside closes the marks
        with self._occupy():
            reply = await self._model.ainvoke(self._prompts.render("moderacion", text=inside))
        word = re.sub(r"[^a-z_]", "", reply.text.strip().lower().split("\n")[0])
        return None if word == "none" else Category(word)


def make_judge(
    settings: Settings, engine_url: str | None = None, *, occupy: Occupy = nullcontext
) -> JudgingModel | None:
    """The chat model of `AFINA_MODERATION_LLM`, or None; `occupy` as in `make_answerer`."""
    judge = settings.model_copy(update={"llm": settings.moderation_llm, "llm_timeout": settings.moderation_timeout})
    model = make_model(judge, engine_url)
    occupy = occupy if judge.llm == "engine" else nullcontext
    return JudgingModel(model, Prompts(settings.prompts_dir), occupy=occupy) if model else None


def make_embeddings(settings: Settings) -> Embeddings | None:
    """The embedding model of `AFINA_EMBEDDINGS` at `AFINA_EMBEDDINGS_URL`, or None."""
    if not settings.embeddings:
        return None
    from langchain_openai import OpenAIEmbeddings

    key = settings.embeddings_key.get_secret_value() if settings.embeddings_key else "sin-clave"
    return OpenAIEmbeddings(
        model=settings.embeddings,
        openai_api_base=settings.embeddings_url,
        openai_api_key=lambda: key,
        check_embedding_ctx_length=False,  # other servers take text, not OpenAI's token ids
        max_retries=1,
        request_timeout=settings.llm_timeout,
        http_client=httpx.Client(timeout=settings.llm_timeout),
    )


def make_meaning(settings: Settings, *, aside: bool = False) -> Meaning | None:
    """Search by meaning as the settings ask for it, or None. The command line keeps vectors in files: a Qdrant folder
    belongs to one process, the bot, which also loads its courses `aside`."""
    embeddings = make_embeddings(settings)
    if embeddings is None:
        return None
    from bot.course.meaning import Meaning

    key = settings.qdrant_key.get_secret_value() if settings.qdrant_key else None
    return Meaning(
        embeddings,
        model=settings.embeddings or "",
        cache=settings.data_dir / "cache" / "course" / "vectors",
        qdrant=settings.qdrant_url if aside else None,
        qdrant_key=key,
        weight=settings.embeddings_weight,
        aside=aside,
    )
