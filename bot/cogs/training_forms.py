"""The forms of training: what to train (`/afinar`) and the finer values (*Avanzado*).

Rule of this file: Discord's limits on forms (five inputs, 25 options, 45 characters a label) and nothing about what
the answers mean; `bot/training.py` checks them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import discord

from bot.cogs.actions import Form
from bot.drafts import Draft
from bot.records import Dataset, Model
from bot.render.numbers import count, small
from bot.training import CONTINUE
from bot.wishes import FIELDS, NAME_LENGTH
from jobs.catalog import Base
from jobs.contract import Method, Preset

OPTIONS = 25  # of a select
RSLORA, DORA = "rslora", "dora"  # kinds of LoRA, chosen in the same list as the method


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person filled in. Exactly one of `dataset_id` and `upload` is there."""

    dataset_id: str | None
    upload: discord.Attachment | None
    base: str  # as `training.make_draft` wants it
    method: Method
    rslora: bool
    dora: bool
    preset: Preset
    name: str


class TrainForm(Form):
    """Data, base, method, preset, name. Without data of their own, the person uploads a file right here."""

    def __init__(
        self,
        *,
        datasets: Sequence[Dataset],
        chosen: str | None,
        bases: Sequence[Base],
        models: Sequence[Model],
        name: str,
        then: Callable[[discord.Interaction, Wish], Awaitable[None]],
    ) -> None:
        super().__init__(title="Afinar un modelo")
        self._then = then
        self.upload: discord.ui.FileUpload[TrainForm] | None = None
        self.data: discord.ui.Select[TrainForm] | None = None
        if datasets:
            self.data = discord.ui.Select(options=_dataset_options(datasets, chosen))
            self.add_item(
                discord.ui.Label(text="Datos", description="Los tuyos que ya se pueden usar", component=self.data)
            )
        else:
            self.upload = discord.ui.FileUpload(required=True, max_values=1)
            self.add_item(
                discord.ui.Label(
                    text="Datos (archivo .jsonl)",
                    description="Al enviarlo afirmas que tienes derecho a usar estos datos para entrenar",
                    component=self.upload,
                )
            )
        self.base: discord.ui.Select[TrainForm] = discord.ui.Select(options=_base_options(bases, models))
        self.method: discord.ui.Select[TrainForm] = discord.ui.Select(options=_METHODS)
        self.preset: discord.ui.Select[TrainForm] = discord.ui.Select(options=_PRESETS)
        self.name: discord.ui.TextInput[TrainForm] = discord.ui.TextInput(
            default=name, min_length=1, max_length=NAME_LENGTH, placeholder="reseñas-ana"
        )
        self.add_item(discord.ui.Label(text="Modelo base", description="De qué modelo se parte", component=self.base))
        self.add_item(discord.ui.Label(text="Método", component=self.method))
        self.add_item(discord.ui.Label(text="Preset", description="Cuánto se entrena", component=self.preset))
        self.add_item(discord.ui.Label(text="Nombre del modelo", component=self.name))

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await self._then(
            interaction,
            Wish(
                dataset_id=self.data.values[0] if self.data else None,
                upload=self.upload.values[0] if self.upload and self.upload.values else None,
                base=self.base.values[0],
                method=Method.QLORA if self.method.values[0] == Method.QLORA else Method.LORA,
                rslora=self.method.values[0] == RSLORA,
                dora=self.method.values[0] == DORA,
                preset=Preset(self.preset.values[0]),
                name=self.name.value,
            ),
        )


class TweakForm(Form):
    """The finer values of a draft. Typed as text, because that is how people copy them («2e-4»)."""

    def __init__(self, draft: Draft, then: Callable[[discord.Interaction, dict[str, str]], Awaitable[None]]) -> None:
        super().__init__(title="Ajustes avanzados")
        self._then = then
        recipe = draft.recipe
        shown = {
            "rank": (str(recipe.rank), "Capacidad del adaptador: de 1 a 64"),
            "learning_rate": (small(recipe.learning_rate), "Tamaño de cada paso, por ejemplo 2e-4"),
            "epochs": (str(recipe.epochs), "Cuántas veces ve los datos: de 1 a 50"),
            "max_length": (str(recipe.max_length), "Tokens de un ejemplo; lo que pase se corta"),
            "seed": (str(recipe.seed), "Con la misma semilla sale el mismo modelo"),
        }
        self._inputs: dict[str, discord.ui.TextInput[TweakForm]] = {}
        for field, (value, description) in shown.items():
            box: discord.ui.TextInput[TweakForm] = discord.ui.TextInput(default=value, required=False, max_length=20)
            self._inputs[field] = box
            self.add_item(discord.ui.Label(text=FIELDS[field], description=description, component=box))

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await self._then(interaction, {field: box.value for field, box in self._inputs.items()})


_METHODS = [
    discord.SelectOption(label="LoRA", value=Method.LORA, description="Lo normal: rápido y fiel", default=True),
    discord.SelectOption(label="QLoRA", value=Method.QLORA, description="Base en 4 bits: cabe en menos memoria"),
    discord.SelectOption(label="rsLoRA", value=RSLORA, description="Otra escala, pensada para rangos altos"),
    discord.SelectOption(label="DoRA", value=DORA, description="Tamaño y dirección aparte; algo más lento"),
]
_PRESETS = [
    discord.SelectOption(label="Rápido", value=Preset.FAST, description="Para una primera prueba"),
    discord.SelectOption(label="Equilibrado", value=Preset.BALANCED, description="Lo recomendado", default=True),
    discord.SelectOption(label="Cuidadoso", value=Preset.CAREFUL, description="Más despacio y con más vueltas"),
]


def _dataset_options(datasets: Sequence[Dataset], chosen: str | None) -> list[discord.SelectOption]:
    """The newest ones; the chosen one is always among them and, without a choice, the newest is."""
    first = sorted(datasets, key=lambda dataset: dataset.id != chosen)[:OPTIONS]
    return [
        discord.SelectOption(
            label=f"{dataset.name} v{dataset.version}"[:100],
            value=dataset.id,
            description=count(dataset.usable, "ejemplo", "ejemplos"),
            default=index == 0,
        )
        for index, dataset in enumerate(first)
    ]


def _base_options(bases: Sequence[Base], models: Sequence[Model]) -> list[discord.SelectOption]:
    options = [
        discord.SelectOption(
            label=base.name[:100], value=base.id, description=base.description[:100], default=index == 0
        )
        for index, base in enumerate(bases[:OPTIONS])
    ]
    room = OPTIONS - len(options)
    return options + [
        discord.SelectOption(
            label=f"Seguir con {model.name}"[:100],
            value=f"{CONTINUE}{model.id}",
            description="Continúa entrenando este modelo tuyo",
        )
        for model in models[:room]
    ]
