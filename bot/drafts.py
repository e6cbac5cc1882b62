"""Drafts: jobs that somebody is about to confirm.

Rule of this file: a draft is what a person asked for, kept in the store so that its card works after a restart. How one
is made and what confirming it means is in `bot/training.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bot.errors import NotFound, WrongState
from bot.records import Dataset, Owner
from bot.services import Services
from bot.waiting import best_memory, stats_of, workers
from bot.wishes import changed_recipe
from jobs.contract import Preset, Recipe
from jobs.recipe import check_recipe, fit


class Draft(BaseModel):
    """What a person asked for, and what became of it."""

    model_config = ConfigDict(frozen=True)

    id: str
    guild_id: int
    user_id: int
    name: str
    dataset_id: str
    base_id: str
    parent_adapter: str | None = None  # continue this adapter instead of starting from the base
    preset: Preset | None  # None: values of one's own
    recipe: Recipe
    state: Literal["open", "confirming", "confirmed", "discarded"] = "open"
    job_id: str | None = None
    created_at: float

    @property
    def owner(self) -> Owner:
        return Owner(guild_id=self.guild_id, user_id=self.user_id)


async def load_draft(services: Services, draft_id: str, owner: Owner) -> Draft:
    """Raises NotFound, also for somebody else's."""
    text = await services.store.get_state(f"draft:{draft_id}")
    draft = Draft.model_validate_json(text) if text else None
    if draft is None or draft.owner != owner:
        raise NotFound("Esa propuesta ya no existe.", hint="Empieza otra con /afinar.")
    return draft


async def tweak(services: Services, draft: Draft, answers: Mapping[str, str]) -> Draft:
    """The draft with the answers of the form *Avanzado*; an empty answer keeps what was there.

    What takes more memory is made to fit again, as in the first proposal. Raises BadInput, DoesNotFit, NotFound.
    """
    must_be_open(draft)
    recipe = changed_recipe(draft.recipe, answers)
    check_recipe(recipe, services.catalog.get(draft.base_id))
    dataset = await services.store.dataset(draft.dataset_id, draft.owner)
    recipe = await fitted(services, recipe, dataset, draft.base_id)
    changed = draft.model_copy(update={"recipe": recipe, "preset": draft.preset if recipe == draft.recipe else None})
    await save_draft(services, changed)
    return changed


async def fitted(services: Services, recipe: Recipe, dataset: Dataset, base_id: str) -> Recipe:
    """The recipe so that the best device that is up can train it. Raises DoesNotFit."""
    memory = best_memory(await workers(services))
    return fit(recipe, stats_of(dataset), services.catalog.get(base_id), memory)


async def discard(services: Services, draft: Draft) -> Draft:
    """Forget the draft. Raises WrongState once it is a job."""
    must_be_open(draft)
    gone = draft.model_copy(update={"state": "discarded"})
    await save_draft(services, gone)
    return gone


def must_be_open(draft: Draft) -> None:
    """Raises WrongState for a draft that was confirmed or discarded."""
    if draft.state in ("confirmed", "confirming"):
        raise WrongState("Ese entrenamiento ya está confirmado.", hint="Míralo con /entrenamientos ver.")
    if draft.state == "discarded":
        raise WrongState("Esa propuesta está descartada.", hint="Empieza otra con /afinar.")


async def save_draft(services: Services, draft: Draft) -> None:
    """Remember it as it is now."""
    await services.store.set_state(f"draft:{draft.id}", draft.model_dump_json())
