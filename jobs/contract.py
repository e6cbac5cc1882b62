"""What the bot and the worker agree on: requests, events, results.

Rule of this file: everything is frozen, keyword-only and JSON-able (pydantic), and nothing here does any work. The
bot writes requests and reads events; the worker reads requests and writes events. RQ carries one request as a JSON
object under the id `<job>-<attempt>`; the function it names is `TRAIN_FUNCTION`, by dotted name, so that the bot
never imports torch.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TRAIN_FUNCTION = "jobs.gpu.train.run"
QUEUE_NAME = "afina-train"

JOB_ID_PATTERN = r"^[a-z0-9]{6,32}$"
# An engine name of an adapter: what the inference engine and the folder below `adapters/` are called.
ADAPTER_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,95}$"


def job_of(adapter_name: str) -> str | None:
    """The job that made an adapter, as its name tells (`<words>-<job>` or `<words>-<job>-<attempt>`), for logs."""
    found = re.search(r"-([a-z0-9]{12})(?:-\d+)?$", adapter_name)
    return found[1] if found else None


class Contract(BaseModel):
    """Base of the messages: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobState(StrEnum):
    """Where a job stands. SQLite holds the truth; RQ's status is a hint."""

    QUEUED = "queued"  # waits in SQLite for its turn
    DISPATCHED = "dispatched"  # handed to RQ, no worker has said a word yet
    RUNNING = "running"  # events of the current attempt arrive
    PAUSED = "paused"  # stopped by a person, checkpoint kept
    SUCCEEDED = "succeeded"  # adapter published and accepted
    FAILED = "failed"  # gave up; `error` says why
    CANCELLED = "cancelled"  # stopped by a person, work thrown away

    @property
    def terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)

    @property
    def active(self) -> bool:
        """A worker has it, or is about to."""
        return self in (JobState.DISPATCHED, JobState.RUNNING)


class Phase(StrEnum):
    """What a running job is doing, in this order; a card shows one at a time."""

    STARTING = "starting"  # the child process is up
    PREPARING = "preparing"  # reading and tokenising the data
    LOADING = "loading"  # loading the base model
    TRAINING = "training"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"


class Method(StrEnum):
    LORA = "lora"
    QLORA = "qlora"


class Objective(StrEnum):
    SFT = "sft"
    DPO = "dpo"
    KTO = "kto"


class Preset(StrEnum):
    FAST = "rapido"
    BALANCED = "equilibrado"
    CAREFUL = "cuidadoso"


class Recipe(Contract):
    """Hyperparameters of one job, complete: the same recipe, data and base give the same adapter on one device."""

    method: Method = Method.LORA
    objective: Objective = Objective.SFT
    rank: int = Field(default=16, ge=1, le=128)
    alpha: int = Field(default=32, ge=1, le=512)
    dropout: float = Field(default=0.0, ge=0.0, le=0.5)
    rslora: bool = False  # scale by alpha/sqrt(rank)
    dora: bool = False  # magnitude and direction apart; served merged
    target_modules: str = "all-linear"
    learning_rate: float = Field(default=2e-4, gt=0.0, le=0.1)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.05, ge=0.0, le=0.5)
    weight_decay: float = Field(default=0.0, ge=0.0, le=0.5)
    epochs: int = Field(default=3, ge=1, le=50)
    batch_size: int = Field(default=8, ge=1, le=256)  # examples a device step (micro-batch)
    gradient_accumulation: int = Field(default=1, ge=1, le=256)
    max_length: int = Field(default=1024, ge=16, le=131_072)  # tokens of one example
    packing: bool = True  # several examples a row, never mixed by attention
    gradient_checkpointing: bool = False
    beta: float = Field(default=0.1, gt=0.0, le=10.0)  # DPO and KTO
    early_stopping: int = Field(default=0, ge=0, le=20)  # evaluations without improvement; 0: off
    seed: int = Field(default=42, ge=0, le=2**31 - 1)

    @property
    def effective_batch(self) -> int:
        return self.batch_size * self.gradient_accumulation


class TrainRequest(Contract):
    """One attempt at one job, as the worker gets it."""

    job_id: str = Field(pattern=JOB_ID_PATTERN)
    attempt: int = Field(ge=1)  # the fencing token: only the current attempt may publish
    base_id: str  # id in the catalogue
    dataset_path: str  # path or URL inside the artifact root, e.g. "datasets/<id>/v1.jsonl"
    dataset_sha256: str
    validation_path: str | None = None  # None: split by the worker
    validation_fraction: float = Field(default=0.1, ge=0.0, le=0.5)
    adapter_name: str = Field(pattern=ADAPTER_NAME_PATTERN)
    parent_adapter: str | None = Field(default=None, pattern=ADAPTER_NAME_PATTERN)  # continue from this one
    resume: bool = False  # start from the newest complete checkpoint of an earlier attempt of the same job
    recipe: Recipe = Recipe()

    @property
    def rq_id(self) -> str:
        return f"{self.job_id}-{self.attempt}"


class EventType(StrEnum):
    MESSAGE = "message"  # something to tell a person, in Spanish
    PHASE = "phase"  # data: {"phase": Phase}
    METRICS = "metrics"  # data: Metrics
    CHECKPOINT = "checkpoint"  # data: {"step": int, "epoch": float, "path": str}
    HEARTBEAT = "heartbeat"  # renews the lease, says nothing
    RESULT = "result"  # last of a successful attempt; data: TrainResult
    # Last of an attempt that a person or a SIGTERM stopped; data: {"kind": "cancelled|paused|interrupted", "step": int}
    STOPPED = "stopped"
    FAILED = "failed"  # last of a failed attempt; data: {"code", "message", "hint"} of an AfinaError


class Event(Contract):
    """One line of a job's history, shaped like the events of the OpenAI fine-tuning API.

    `(job_id, attempt, seq)` is unique; `seq` starts at 1 and has no holes within an attempt.
    """

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    job_id: str = Field(pattern=JOB_ID_PATTERN)
    attempt: int = Field(ge=1)
    seq: int = Field(ge=1)
    created_at: float  # Unix seconds of the worker's clock
    level: Literal["info", "warn", "error"] = "info"
    type: EventType
    message: str = ""  # Spanish, for people
    data: dict[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"ftevent-{self.job_id}-{self.attempt}-{self.seq}"


class Metrics(Contract):
    """Numbers of one logged step; absent means not measured at this step."""

    step: int = Field(ge=0)
    total_steps: int = Field(ge=0)
    epoch: float = 0.0
    loss: float | None = None  # mean over learnt tokens, nats
    eval_loss: float | None = None  # same, on the validation rows
    accuracy: float | None = None  # share of learnt tokens predicted right, 0..1
    eval_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None  # useful (non-padding) tokens
    memory_bytes: int | None = None  # of the GPU, the most that training has held so far
    eta_seconds: float | None = None  # to the end of training


class Interval(Contract):
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Score(Contract):
    """How one side did on the held-out rows. `None`: does not apply to this data."""

    loss: float | None = None  # nats a token
    perplexity: float | None = None
    token_accuracy: float | None = None
    exact_match: Interval | None = None
    accuracy: Interval | None = None  # only where the answers are labels
    macro_f1: float | None = None
    chrf: Interval | None = None  # 0..100
    bleu: float | None = None
    rouge_l: float | None = None  # 0..1
    prompt_tokens: float | None = None  # mean tokens of a request


class Comparison(Contract):
    """One held-out example with the three answers, for people to look at."""

    prompt: str
    expected: str
    base: str
    few_shot: str | None = None
    tuned: str


class Verdict(StrEnum):
    BETTER = "better"
    NO_DIFFERENCE = "no_difference"
    WORSE = "worse"
    NOT_MEASURED = "not_measured"  # too few held-out rows to say anything


class Evaluation(Contract):
    """Base, base with a few-shot prompt, and tuned, on rows that were never trained on."""

    examples: int = Field(ge=0)  # held-out rows
    labels: tuple[str, ...] = ()  # empty: the answers are free text
    majority: float | None = None  # accuracy of always answering the most frequent label
    few_shot_examples: int = 0
    base: Score
    few_shot: Score | None = None
    tuned: Score
    verdict: Verdict
    summary: str  # one or two Spanish sentences
    samples: tuple[Comparison, ...] = ()  # five at most


class TrainResult(Contract):
    """What a successful attempt leaves behind."""

    adapter_name: str = Field(pattern=ADAPTER_NAME_PATTERN)
    adapter_path: str  # inside the artifact root, e.g. "adapters/<name>"
    adapter_sha256: str  # of adapter_model.safetensors, as in the manifest
    adapter_bytes: int
    base_revision: str | None = None
    trained_tokens: int  # learnt or not, all epochs
    seconds: float
    evaluation: Evaluation | None = None
    files: tuple[str, ...] = ()  # results.csv, events.jsonl, recipe.yaml, README.md …, inside adapter_path


class WorkerInfo(Contract):
    """What a worker says about itself when it starts."""

    name: str
    hostname: str
    device: Literal["cpu", "cuda", "mps"]
    device_name: str
    memory_bytes: int  # of the device that trains
    labels: tuple[str, ...] = ()
    current_job: str | None = None  # rq id
    paused: bool = False
