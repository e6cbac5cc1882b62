"""The scripted guest: what Ana does with Afina in one evening, step by step, as a person would.

Rule of this file: Ana knows only what Discord shows her. Every step ends with something that she can see, and raises
`Disappointed` (or the playground's `NoAnswer`) when it is not there. How it looks is the terminal's business, and what
she wants to teach is `playground/task.py`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playground import task
from playground.people import Channel, Person
from playground.terminal import Terminal
from playground.views import Message

MODEL = "avisos-ana"
QUESTION = "q diferencia hay entre lora y qlora??"
OFF_TOPIC = "cuántos huevos lleva una tortilla para cuatro"
SEEDS = (42, 7, 2024)  # the first is the default of a job
TRAINING = 240.0  # seconds that one job may take on a slow machine
LOOK_EVERY = 0.5  # seconds


class Disappointed(Exception):
    """Something that a person would miss on the screen."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What the evaluation card says, as shares of 1."""

    seed: int
    majority: float
    base: float
    tuned: float


@dataclass(kw_only=True)
class Evening:
    ana: Person
    terminal: Terminal
    pictures: Path  # folder
    workshop: Channel | None = None
    data_card: Message | None = None
    done_card: Message | None = None
    results: list[Accuracy] = field(default_factory=list)

    @property
    def steps(self) -> Sequence[tuple[str, str, Callable[[], Awaitable[None]]]]:
        """(name, title, what to do), in order."""
        return (
            ("preguntar", "Ana pregunta al curso", self.ask),
            ("fuera-del-curso", "Ana pregunta algo que el curso no trata", self.ask_off_topic),
            ("datos-con-errores", "Ana sube un archivo con errores", self.upload_broken),
            ("datos-buenos", "Ana sube un archivo bueno", self.upload_good),
            ("afinar", "Ana afina un modelo", self.train),
            ("entrenamiento", "La tarjeta avanza: cola, entrenamiento, evaluación", self.watch),
            ("charlar", "Ana charla con su modelo", self.chat),
            ("comparar", "Ana lo compara con el modelo base", self.compare),
            ("repetir", "Ana repite con otras dos semillas", self.repeat),
        )

    # Asking

    async def ask(self) -> None:
        answer = await self._ask(QUESTION)
        self._expect("Fuentes" in answer.text, "la respuesta no trae fuentes", answer)
        self._expect("QLoRA" in answer.text, "la respuesta no habla de lo que se preguntó", answer)

    async def ask_off_topic(self) -> None:
        answer = await self._ask(OFF_TOPIC)
        self._expect("Fuentes" not in answer.text, "una pregunta ajena al curso trae fuentes", answer)
        self._expect("curso" in answer.text, "no dice que el curso no lo trata", answer)

    async def _ask(self, question: str) -> Message:
        self.terminal.person("Ana", f"/preguntar pregunta: {question}")
        answer = await (await self.ana.slash("preguntar", pregunta=question)).done(timeout=30)
        await self._show(answer)
        return answer

    # Data

    async def upload_broken(self) -> None:
        broken = task.broken_file(seed=1)
        card = await self._upload("avisos-borrador.jsonl", broken.text, contains="Hay que corregirlo")
        for line in broken.mistakes:
            self._expect(re.search(rf"\b{line}\b", card.text), f"no dice que falla la línea {line}", card)
        self.terminal.person("Ana", "[Reparar]")
        await card.click("Reparar")
        mended = await self.ana.wait_message(contains="Reparado", channel=self.workshop, timeout=30)
        await self._show(mended)
        self._expect("Hay que corregirlo" not in mended.text, "lo reparado todavía tiene errores", mended)

    async def upload_good(self) -> None:
        train, heldout = task.rows(seed=1)
        kept = ("avisos-prueba.jsonl", task.to_jsonl(heldout).encode())
        self.data_card = await self._upload(
            "avisos.jsonl", task.to_jsonl(train), button="Afinar un modelo", validation=kept
        )

    async def _upload(
        self,
        name: str,
        text: str,
        *,
        contains: str | None = None,
        button: str | None = None,
        validation: tuple[str, bytes] | None = None,
    ) -> Message:
        given: dict[str, Any] = {"archivo": (name, text.encode()), "tengo_derecho": True}
        told = f"archivo: {name}"
        if validation is not None:
            given["validacion"] = validation
            told += f" validacion: {validation[0]}"
        self.terminal.person("Ana", f"/datos subir {told}  ☑ Tengo derecho a usar estos datos")
        await (await self.ana.slash("datos subir", **given)).done(timeout=30)
        self.workshop = self.workshop or await self.ana.wait_thread("Taller", timeout=20)
        card = await self.ana.wait_message(contains=contains, button=button, channel=self.workshop, timeout=60)
        await card.settled(quiet=2.0, timeout=60)
        await self._show(card)
        return card

    # Training

    async def train(self) -> None:
        assert self.data_card is not None
        self.terminal.person("Ana", "[Afinar un modelo]")
        form = (await self.data_card.click("Afinar un modelo")).form
        self.terminal.person("Ana", f"(en el formulario) nombre del modelo: {MODEL}  [Enviar]")
        await form.submit(nombre_del_modelo=MODEL)
        plan = await self.ana.wait_message(button="Confirmar", channel=self.workshop, timeout=30)
        await self._show(plan)
        self.terminal.person("Ana", "[Confirmar]")
        await plan.click("Confirmar")

    async def watch(self) -> None:
        self.done_card = await self._watch(SEEDS[0])

    async def _watch(self, seed: int) -> Message:
        """Look at a progress card until the job is done; the card that says what came of it."""
        began = await self.ana.mark()
        card = await self.ana.wait_message(contains=MODEL, button="Cancelar", channel=self.workshop, timeout=60)
        end = asyncio.create_task(
            self.ana.wait_message(contains=MODEL, channel=self.workshop, where=_is_end, since=began, timeout=TRAINING)
        )
        seen: list[str] = []
        with self.terminal.moving() as show:
            while not end.done():
                await card.refresh()
                seen.append(card.text)
                show(card.text)
                await asyncio.wait({end}, timeout=LOOK_EVERY)
        done = await end
        await self._show(done)
        self._expect(not _failed(done), "el entrenamiento no terminó bien", done)
        self._expect(any("entrenando" in text for text in seen), "la tarjeta no enseñó el avance", done)
        self.results.append(self._read(done, seed))
        return done

    def _read(self, card: Message, seed: int) -> Accuracy:
        """The numbers of the evaluation card: «acierto  11 %  58 %  93 %» and the share of the most common label."""
        row = re.search(r"^acierto\s+(.*)$", card.text, flags=re.M)
        common = re.search(r"etiqueta más común acertaría el (\d+)", card.text)
        self._expect(row and common, "la tarjeta no dice cuánto acierta", card)
        assert row is not None
        assert common is not None
        shares = [int(number) / 100 for number in re.findall(r"(\d+)\s*%", row[1])]
        return Accuracy(seed=seed, majority=int(common[1]) / 100, base=shares[0], tuned=shares[-1])

    async def repeat(self) -> None:
        """Two more seeds of the same job."""
        for seed in SEEDS[1:]:
            self.terminal.person("Ana", f"/entrenamientos repetir entrenamiento: {MODEL} semilla: {seed}")
            await self.ana.slash("entrenamientos repetir", entrenamiento=MODEL, semilla=seed)
            await self._watch(seed)

    # Talking

    async def chat(self) -> None:
        assert self.done_card is not None
        self.terminal.person("Ana", "[Charlar]")
        await self.done_card.click("Charlar")
        thread = await self.ana.wait_thread(MODEL, timeout=20)
        _, heldout = task.rows(seed=1)
        right = 0
        for row in heldout[:4]:
            text, label = (message["content"] for message in row["messages"])
            self.terminal.person("Ana", text)
            await self.ana.say(text, channel=thread)
            answer = await self.ana.wait_message(button="Otra vez", channel=thread, timeout=40)
            await self._show(answer)
            right += label.casefold() in answer.text.casefold()
        self._expect(right >= 2, f"el modelo solo acertó {right} de 4 en el hilo", answer)

    async def compare(self) -> None:
        assert self.done_card is not None
        self.terminal.person("Ana", "[Comparar]")
        answer = await self.done_card.click("Comparar")
        _, heldout = task.rows(seed=1)
        text = heldout[5]["messages"][0]["content"]
        self.terminal.person("Ana", f"(en el formulario) mensaje: {text}  [Enviar]")
        await answer.form.submit(mensaje=text)
        card = await self.ana.wait_message(button="Ver quién es quién", timeout=60)
        await self._show(card)
        self.terminal.person("Ana", "[A]")
        vote = await (await card.click("A")).done(timeout=20)
        await self._show(vote)
        self._expect("A:" in vote.text, "no dice quién era quién", vote)

    # Looking

    async def _show(self, message: Message) -> None:
        pictures = []
        for file in message.attachments:
            if file.filename.endswith(".png"):
                path = self.pictures / f"{message.id}-{file.filename}"
                path.write_bytes(await file.read())
                pictures.append(path)
        buttons = tuple(button.label for button in message.buttons if button.label and not button.disabled)
        self.terminal.bot(message.text, pictures=tuple(pictures), buttons=buttons)

    def _expect(self, good: object, what: str, message: Message) -> None:
        if not good:
            raise Disappointed(f"{what}. Lo que se ve es:\n{message.text}")


def _is_end(message: Message) -> bool:
    return bool(message.notified) and any(button.label in ("Charlar", "Repetir") for button in message.buttons)


def _failed(message: Message) -> bool:
    return all(button.label != "Charlar" for button in message.buttons)
