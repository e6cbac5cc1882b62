"""Rows of the store as frozen values; what the rest of the bot passes around.

Rule of this file: values only, no SQL and no behaviour beyond derived properties. Ids of people and servers are
Discord's snowflakes; the local user of the command line is `CONSOLE` (owner 0 in server 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.contract import Evaluation, JobState, Phase, TrainRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose it is: a person in a server. Nothing crosses servers."""

    guild_id: int
    user_id: int


CONSOLE = Owner(guild_id=0, user_id=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    id: str
    owner: Owner
    name: str  # what the person calls it; never a path
    version: int  # 1, 2, … ; a repair makes a new version
    parent_id: str | None  # the version it was made from
    path: str  # inside the artifact root
    sha256: str
    bytes: int
    format: str | None
    verdict: str  # valid, warnings or rejected
    examples: int
    usable: int
    report: dict[str, Any]  # the whole Report, as JSON
    validation_id: str | None = None  # another dataset of the owner's: rows kept apart to measure with
    consent_at: float | None  # when the person attested their right to use it
    created_at: float  # Unix seconds
    consent_version: str | None = None  # of the text that they attested (`bot/consent.py`)
    licence: str | None = None  # a key of LICENCES there; None: they did not say


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    id: str
    owner: Owner
    name: str  # of the model to be, as the person wrote it
    request: TrainRequest  # of the current attempt
    state: JobState
    phase: Phase | None
    attempt: int
    step: int
    total_steps: int
    cancel_requested: bool
    pause_requested: bool
    lease_until: float | None
    error: dict[str, str] | None  # {"code", "message", "hint"}
    dataset_id: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    channel_id: int | None  # where its card lives
    message_id: int | None  # the card
    failures: int = 0  # attempts that died; people and restarts of machines do not count
    estimated_seconds: float = 0.0  # of a device, when it was promised
    by_staff: bool = False  # cancelled by staff


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    id: str
    owner: Owner
    name: str  # unique per owner
    adapter_name: str  # what the engine calls it; unique, versioned
    adapter_path: str
    adapter_sha256: str
    base_id: str
    job_id: str
    parent_id: str | None
    dataset_id: str
    dataset_sha256: str
    shared: bool  # visible to the whole server
    evaluation: Evaluation | None
    created_at: float
    bytes: int = 0  # of the adapter


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatThread:
    thread_id: int
    owner: Owner
    model_id: str | None  # None: the base itself
    base_id: str
    instructions: str
    parameters: dict[str, float] = field(default_factory=dict)  # temperature, top_p, max_tokens
    since_message_id: int = 0  # messages up to this one are forgotten (/reiniciar)
    closed: bool = False
    created_at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One thing that somebody of the staff did."""

    id: int
    at: float  # Unix seconds
    actor_id: int
    action: str  # what kind: "roles", "limits", "catalogue", "channels", "course", "jobs", "models"
    text: str  # Spanish: what was done; people and channels as mentions
    subject_id: int | None  # the person whom it was done to
