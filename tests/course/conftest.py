"""A course of two pages for the tests."""

from pathlib import Path

import pytest

from bot.course import Course

LORA = """# LoRA en dos minutos

LoRA entrena unas matrices pequeñas y deja quieto el modelo base.

## Qué se entrena

En lugar de tocar todos los pesos se añaden dos matrices delgadas, A y B, en cada capa lineal.

```python
config = LoraConfig(r=16, lora_alpha=32)
```

## Cuándo elegir QLoRA

QLoRA guarda el modelo base en 4 bits, de modo que cabe en una tarjeta con menos memoria y va algo más despacio.

## Preguntas que responde esta página

- ¿Qué es LoRA?
- ¿Qué diferencia hay entre LoRA y QLoRA?
"""

OVERFITTING = """# Sobreajuste

## Cómo se reconoce

Hay sobreajuste cuando la pérdida de validación sube mientras la de entrenamiento baja.

## Qué hacer

Usa menos épocas, más datos variados o una tasa de aprendizaje más baja.

## Preguntas que responde esta página

- ¿Cómo sé si mi modelo memoriza?
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A course of two pages."""
    root = tmp_path / "course"
    root.mkdir()
    (root / "lora.md").write_text(LORA, encoding="utf-8")
    (root / "sobreajuste.md").write_text(OVERFITTING, encoding="utf-8")
    return root


@pytest.fixture
def course(folder: Path) -> Course:
    return Course.load(folder)
