"""An adapter and its base → one complete model, for engines that serve no adapters, or not this kind (DoRA in vLLM).

Rule of this file: a folder that engines and converters take as it is, tried with one token, whole or not there. The
base is merged in the precision it was published in, also where the adapter was trained over 4 bits. It serves nothing
and converts nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import yaml
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jobs.artifacts import Artifacts
from jobs.catalog import Base, Catalog, load_catalog
from jobs.errors import AfinaError, BaseNotAvailable, DiskFull, for_want_of_room
from jobs.gpu import models
from jobs.gpu.chat import ChatEncoder
from jobs.gpu.lora import quiet_peft

SHARD = "4GB"  # of one file of weights
CARD = "README.md"
TRIED_WITH = [{"role": "user", "content": "Hola, ¿qué sabes hacer?"}]


def merge(adapter: str, out: Path, *, data: Path, artifacts: Artifacts) -> Path:
    """Write the merged model into `out`, a folder that is new or empty. Needs memory for the whole base.

    Raises ModelNotFound, BaseNotAvailable (its base is not here), DiskFull, AfinaError (`out` is taken, or the merged
    model answers differently; then nothing is left).
    """
    source = artifacts.adapter(adapter)
    base = base_of(source, load_catalog())
    folder = models.available_folder(base.id, data=data)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AfinaError(f"{out} ya existe y no está vacía.", hint="Elige otra carpeta.")
    check_room(out, folder)
    draft = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _write(draft, adapter, source, base, folder)
        draft.replace(out)
    except Exception as error:
        if for_want_of_room(error):
            raise DiskFull from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def base_of(adapter: Path, catalog: Catalog) -> Base:
    """The base that an adapter was trained on, as its recipe.yaml says. Raises BaseNotAvailable."""
    try:
        said = yaml.safe_load((adapter / "recipe.yaml").read_text(encoding="utf-8"))["base"]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError) as error:
        raise BaseNotAvailable("Este adaptador no dice sobre qué base se entrenó.", hint="") from error
    return catalog.get(str(said))


def check_room(out: Path, base: Path) -> None:
    """Raises DiskFull unless the disk of `out` has room for the weights of `base`, and a tenth more."""
    needed = int(1.1 * sum(file.stat().st_size for file in base.glob("*.safetensors")))
    free = _room(out)
    if free < needed:
        raise DiskFull(
            f"El modelo fusionado necesita unos {_gigabytes(needed)} y en ese disco quedan {_gigabytes(free)}.",
            hint="Libera espacio o elige una carpeta de otro disco.",
        )


def _room(out: Path) -> int:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _write(draft: Path, name: str, adapter: Path, base: Base, folder: Path) -> None:
    tokenizer = models.load_tokenizer(adapter)  # with the chat template that the adapter was trained with
    with quiet_peft(), torch.inference_mode():
        adapted = models.attach_adapter(
            models.load_model(folder, device=torch.device("cpu"), dtype="auto"), adapter
        ).eval()
        before = _next_token(adapted, tokenizer)
        merged = adapted.merge_and_unload(safe_merge=True)
        merged.config._name_or_path = ""  # no path of this machine
        merged.save_pretrained(draft, max_shard_size=SHARD)
        for weights in draft.glob("*.safetensors"):
            weights.chmod(0o644)  # the engine may be another user's
        tokenizer.save_pretrained(draft)
        for licence in folder.glob("LICENSE*"):
            shutil.copyfile(licence, draft / licence.name)
        (draft / CARD).write_text(card(name, base, models.base_revision(folder)), encoding="utf-8")
        del adapted, merged
        check_same(before, _next_token(models.load_model(draft, device=torch.device("cpu"), dtype="auto"), tokenizer))


def _next_token(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Logits (vocabulary) of the first token of an answer."""
    ids = torch.tensor([ChatEncoder(tokenizer).prompt(TRIED_WITH)])
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[0, -1].float()


def check_same(before: torch.Tensor, after: torch.Tensor) -> None:
    """The likeliest token of the one is among the likeliest of the other: more would measure rounding."""
    if not torch.isfinite(after).all() or before.argmax() not in after.topk(3).indices:
        raise AfinaError(
            "El modelo fusionado no responde como el adaptador, así que no lo he guardado.",
            hint="Puede que la base haya cambiado desde que se entrenó: descárgala otra vez.",
        )


def card(name: str, base: Base, revision: str | None) -> str:
    """README.md: front matter as model hubs read it, then what it is and how to use it."""
    front = {
        "language": ["es"],
        "license": "other" if " " in base.licence else base.licence.lower(),
        "base_model": base.repo or base.id,
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["afina", "merge"],
    }
    said = yaml.safe_dump(front, allow_unicode=True, sort_keys=False)
    pinned = f", revisión `{revision}`" if revision else ""
    return f"""---
{said}---

# {name}

Modelo completo: el adaptador `{name}`, hecho con Afina, fusionado con su base **{base.name}**. No necesita nada más.

- Base: `{base.repo or base.id}`{pinned}
- Licencia: la de la base ({base.licence}). Si publicas este modelo, respétala y nombra la base.

## Servirlo con vLLM

```
vllm serve . --served-model-name {name}
```

## Convertirlo a GGUF (llama.cpp, Ollama)

Con una copia de llama.cpp y los paquetes de su `requirements.txt`:

```
python convert_hf_to_gguf.py . --outfile {name}.gguf
llama-quantize {name}.gguf {name}-Q4_K_M.gguf Q4_K_M
```

La plantilla de chat va dentro. Prueba unas respuestas después de convertirlo: cuantizar cambia un poco el modelo.
"""


def _gigabytes(value: int) -> str:
    return f"{value / 1e9:.1f} GB".replace(".", ",")
