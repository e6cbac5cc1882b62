"""One frozen, typed settings object, from the environment; built once at the start of a process and passed down.

Rule of this file: every setting of the project is declared here, with a comment that `.env.example` repeats in
Spanish. Names in the environment are the field names in capitals after `AFINA_`, but for the few that other tools
share (`DISCORD_TOKEN`, `REDIS_URL`, `HF_TOKEN`). No module reads `os.environ` on its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobs.moderation import Level

ROOT = Path(__file__).resolve().parent.parent

REDIS = ("redis://", "rediss://", "unix://")
WEB = ("http://", "https://")
# What pydantic says about a value, by the kind of mistake; what is in braces it tells with it.
_WORDS = {
    "int_parsing": "tiene que ser un número entero",
    "float_parsing": "tiene que ser un número",
    "bool_parsing": "tiene que ser true o false",
    "literal_error": "tiene que ser {expected}",
    "greater_than": "tiene que ser mayor que {gt}",
    "greater_than_equal": "tiene que ser como mínimo {ge}",
    "less_than": "tiene que ser menor que {lt}",
    "less_than_equal": "tiene que ser como máximo {le}",
}


class Settings(BaseSettings):
    """All settings; see `.env.example`."""

    model_config = SettingsConfigDict(
        env_prefix="AFINA_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    # Discord
    discord_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DISCORD_TOKEN"))
    discord_api: str | None = None  # REST base of a compatible server, e.g. "http://127.0.0.1:8000/api/v10"
    discord_gateway: str | None = None  # WebSocket address of a compatible server
    guild_id: int | None = None  # register commands in this server only (at once) instead of globally
    shards: int = Field(default=1, ge=0)  # connections to the gateway; 0: as many as Discord recommends
    members_intent: bool = False  # ask for this privileged intent: then who leaves is noticed at once
    message_content: bool = True  # ask for the privileged intent; without it, threads answer to mentions only

    # Where things lie
    data_dir: Path = ROOT / ".afina"  # database, models, datasets, embedded Redis
    artifacts_url: str | None = None  # fsspec URL (s3://bucket/prefix); None: data_dir
    course_dir: Path = ROOT / "course"
    course_url: str | None = None  # where people read the files of course_dir; None: sources carry no links
    prompts_dir: Path = ROOT / "prompts"

    # Queue and engine
    redis_url: str | None = Field(default=None, validation_alias=AliasChoices("REDIS_URL", "AFINA_REDIS_URL"))
    engine_url: str | None = None  # OpenAI-compatible engine with vLLM's adapter routes; None: the embedded one
    engine_key: SecretStr | None = None
    # Who has the card while a model is trained: by memory; whoever talks; whoever trains; two cards, nobody gives way
    gpu_sharing: Literal["auto", "chat", "training", "separate"] = "auto"
    gpu_chat_idle: float = Field(default=10.0, ge=0)  # minutes without a message after which "chat" lets a job start
    engine_gpu_share: float | None = Field(default=None, gt=0, le=1)  # of the card, as vLLM was told; None: ask it
    default_base: str = "afina-mini"  # id in the catalogue
    hf_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("HF_TOKEN"))

    # Course answers: None quotes passages; "openai:gpt-…", "ollama:…" or "engine" words them
    llm: str | None = None
    llm_url: str | None = None  # base URL of an OpenAI-compatible provider
    llm_key: SecretStr | None = None
    llm_timeout: float = Field(default=30.0, gt=0)  # seconds
    embeddings: str | None = None  # model name at embeddings_url; None: no dense vectors
    embeddings_url: str | None = None
    embeddings_key: SecretStr | None = None
    embeddings_weight: float = Field(default=0.3, ge=0)  # of meaning beside words (1); `afina course eval` tells
    qdrant_url: str | None = None  # where vectors are kept: a Qdrant server (http…) or a folder; None: files
    qdrant_key: SecretStr | None = None

    # Content filter: word lists always, then a classifier where one is named
    moderation: Level = "mild"  # "strict" adds swearing; "off": none (a server's staff may still want one)
    moderation_words: Path | None = None  # the host's own phrases, one a line; "+" before what is allowed
    moderation_url: str | None = None  # OpenAI's moderation protocol: its address up to /v1
    moderation_model: str | None = None  # name of the model there
    moderation_key: SecretStr | None = None
    moderation_llm: str | None = None  # else a chat model as judge, written as `llm`, with its address and key
    moderation_timeout: float = Field(default=5.0, gt=0)  # seconds for one text
    moderation_fail: Literal["open", "closed"] = "open"  # when the classifier does not answer: pass, or refuse

    # Limits of a file (design of the dataset desk)
    max_file_bytes: int = Field(default=25 * 2**20, gt=0)
    max_lines: int = Field(default=100_000, gt=0)
    max_line_bytes: int = Field(default=4 * 2**20, gt=0)
    max_tokens: int = Field(default=20_000_000, gt=0)

    # Limits of a member of a server, until its staff changes them; 0: no limit
    gpu_minutes_per_week: int = Field(default=300, ge=0)  # of a device that trains, over any seven days
    max_running_jobs: int = Field(default=1, ge=0)
    max_queued_jobs: int = Field(default=5, ge=0)
    max_datasets: int = Field(default=100, ge=0)  # each version counts
    max_models: int = Field(default=30, ge=0)
    max_disk_bytes: int = Field(default=2 * 2**30, ge=0)  # data and adapters of one person
    questions_per_minute: int = Field(default=10, ge=0)
    chats_per_minute: int = Field(default=20, ge=0)
    staff_times: int = Field(default=3, ge=1)  # how many times as much tutors and admins may use

    # How long things are kept, days; 0: for ever
    keep_unused_datasets_days: int = Field(default=365, ge=0)  # data that nobody trained on
    warn_days: int = Field(default=14, ge=1)  # before they go, their owner is told
    keep_chats_days: int = Field(default=180, ge=0)  # settings of conversations that nobody writes in
    keep_feedback_days: int = Field(default=365, ge=0)  # opinions on answers, votes, comparisons
    keep_events_days: int = Field(default=365, ge=0)  # what happened in trainings that are over
    keep_work_days: int = Field(default=14, ge=0)  # checkpoints of trainings that are over
    keep_backups_days: int = Field(default=30, ge=0)  # archives that `afina backup` finds in its folder
    departure_days: int = Field(default=30, ge=0)  # who left, or whose server threw Afina out, is erased then

    # Times, seconds
    job_timeout: int = Field(default=6 * 3600, gt=0)
    reconcile_every: float = Field(default=30.0, gt=0)
    lease_seconds: float = Field(default=15.0, gt=0)  # without an event for so long a running attempt counts as dead
    max_attempts: int = Field(default=3, ge=1)
    card_edit_every: float = Field(default=5.0, ge=0)  # least time between edits of one progress card
    stream_edit_every: float = Field(default=1.0, ge=0)  # the same for a streamed answer

    # Figures for Prometheus (GET /metrics, GET /health); None: not shown
    metrics_port: int | None = Field(default=None, ge=0, le=65535)  # 0: any free port
    metrics_host: str = "127.0.0.1"  # nothing personal is shown, but it is nobody else's business either

    # Trackers of experiments that a worker fills too; what each needs besides is in docs/entrenamiento.md
    trackers: Annotated[tuple[Literal["tensorboard", "wandb", "trackio"], ...], NoDecode] = ()

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"  # one line an entry, or one JSON object

    @field_validator("trackers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("discord_token", mode="before")
    @classmethod
    def _a_token(cls, value: object) -> object:
        if isinstance(value, str) and not (value.isascii() and value.isprintable() and " " not in value.strip()):
            raise ValueError("lleva espacios o letras que ningún token tiene; cópialo otra vez")
        return value.strip() if isinstance(value, str) else value

    @field_validator("redis_url", "engine_url", "llm_url", "embeddings_url", "moderation_url", "course_url")
    @classmethod
    def _an_address(cls, value: str | None, about: ValidationInfo) -> str | None:
        beginnings = REDIS if about.field_name == "redis_url" else WEB
        if value is not None and not value.startswith(beginnings):
            raise ValueError(f"tiene que empezar por {' o '.join(beginnings)}")
        return value

    @property
    def database(self) -> Path:
        return self.data_dir / "afina.sqlite3"

    @property
    def artifacts(self) -> str:
        """Root of datasets and adapters, as fsspec wants it."""
        return self.artifacts_url or str(self.data_dir)


def explain(error: ValidationError) -> str:
    """Every setting that is not understood, by its name in the environment and never with its value, in Spanish."""
    lines = ["Hay ajustes que no entiendo (entorno o .env):"]
    for problem in error.errors(include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else "?"
        known = f"AFINA_{name}".upper() if name in Settings.model_fields else name
        context = {key: str(value).replace(" or ", " o ") for key, value in problem.get("ctx", {}).items()}
        said = _WORDS[problem["type"]].format(**context) if problem["type"] in _WORDS else problem["msg"]
        lines.append(f"  {known}: {context.get('error', said)}")
    lines.append("En .env.example está explicado cada uno.")
    return "\n".join(lines)
