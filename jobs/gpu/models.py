"""Base models: load one, attach an adapter, download one.

Rule of this file: only bases of the catalogue, only from the data folder, only safetensors, no remote code, offline;
`download` is the one networked step of the project's GPU side. It does not decide what fits (`jobs.recipe`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from jobs.catalog import MINI_ID, Base, base_folder, load_catalog
from jobs.errors import BaseNotAvailable, DoesNotFit

REVISION_FILE = "revision.json"  # {"repo", "revision"}: what the hub gave when the base was downloaded


def quiet_libraries() -> None:
    """No progress bars of libraries: a job's progress is told by its events."""
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the GPU has it; fp32 on a processor, where small models lose more to conversions than they win."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32


def available_folder(base_id: str, *, data: Path, on_progress: Callable[[float, str], None] | None = None) -> Path:
    """The folder of a base that can be loaded now; afina-mini is made when it is missing."""
    base = load_catalog().get(base_id)
    if base.id == MINI_ID:
        from jobs.gpu.mini import ensure_mini

        return ensure_mini(data, on_progress)
    folder = base_folder(data, base.id)
    if not (folder / "config.json").is_file():
        raise BaseNotAvailable(
            f"El modelo base «{base.name}» está en el catálogo, pero aún no se ha descargado en este equipo.",
            hint=f"Quien administra puede traerlo con «afina bases descargar {base.id}».",
        )
    return folder


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BaseNotAvailable(f"No puedo leer el vocabulario de ese modelo base ({type(error).__name__}).") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_base(
    base_id: str, *, data: Path, four_bit: bool = False, device: torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (in evaluation mode) and tokenizer of a base. Raises BaseNotAvailable, DoesNotFit."""
    folder = available_folder(base_id, data=data)
    return load_model(folder, four_bit=four_bit, device=device), load_tokenizer(folder)


def load_model(
    folder: Path,
    *,
    four_bit: bool = False,
    device: torch.device | None = None,
    dtype: str | None = None,
    attention: str = "sdpa",
) -> PreTrainedModel:
    """A base in evaluation mode. Raises BaseNotAvailable, DoesNotFit.

    `dtype`: "auto" for the precision it was published in; default what its device computes best in. `attention`: as
    transformers calls it; with a "flash" one the trainer lays each step into one row (`jobs.gpu.batches`).
    """
    device = device or best_device()
    options: dict[str, Any] = {"dtype": dtype or best_dtype(device), "attn_implementation": attention}
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=options["dtype"],
        )
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            device_map={"": device} if four_bit or device.type == "cuda" else None,
            **options,
        )
    except torch.cuda.OutOfMemoryError as error:
        raise DoesNotFit from error
    except (OSError, ValueError) as error:
        raise BaseNotAvailable(
            f"Los archivos de ese modelo base no se pueden leer ({type(error).__name__})."
        ) from error
    model.eval()
    return model


def attach_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool = False) -> PeftModel:
    """The model with the adapter of `folder` on it (safetensors only)."""
    return PeftModel.from_pretrained(
        model, folder, is_trainable=trainable, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
    )


def base_revision(folder: Path) -> str | None:
    """The pinned revision of a downloaded base; None for one that comes with Afina."""
    file = folder / REVISION_FILE
    return json.loads(file.read_text(encoding="utf-8"))["revision"] if file.is_file() else None


def download(base_id: str, data: Path, token: str | None = None) -> Path:
    """Fetch a base from the hub into the data folder and pin the revision it got. The only networked step."""
    base = load_catalog().get(base_id)
    if base.repo is None:
        return available_folder(base.id, data=data)
    target = base_folder(data, base.id)
    if (target / REVISION_FILE).is_file():
        return target
    arriving = target.with_name(f".{base.id}.partial")  # kept when it breaks off, so that the next try goes on
    arriving.mkdir(parents=True, exist_ok=True)
    revision = _fetch(base, arriving, token)
    (arriving / REVISION_FILE).write_text(json.dumps({"repo": base.repo, "revision": revision}), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    arriving.rename(target)
    return target


def _fetch(base: Base, folder: Path, token: str | None) -> str:
    """Download the files of a base; returns the commit. Hub errors become Spanish ones."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    assert base.repo is not None
    try:
        revision = HfApi(token=token).model_info(base.repo).sha
        snapshot_download(
            base.repo,
            revision=revision,
            token=token,
            local_dir=folder,
            allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", "LICENSE*"],
            ignore_patterns=["original/*", "onnx/*", "*.bin", "*.pth"],
        )
    except GatedRepoError as error:
        raise BaseNotAvailable(
            f"«{base.name}» pide aceptar su licencia antes de descargarlo.",
            hint=f"Acéptala en la página de {base.repo} y pon tu clave en HF_TOKEN.",
        ) from error
    except OfflineModeIsEnabled as error:
        raise BaseNotAvailable(
            "Las descargas están desactivadas en este equipo (HF_HUB_OFFLINE).", hint="Quita esa variable y repite."
        ) from error
    except Exception as error:  # whatever the network or the disk says; the hub's library has many ways to say it
        raise BaseNotAvailable(
            f"No he podido descargar «{base.name}» ({type(error).__name__}).",
            hint="Mira la conexión y el espacio en disco, y repite: sigue por donde iba.",
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return str(revision)
