"""Checks of `afina doctor` for what belongs to others: an object store, embeddings, models that word or judge.

Rule of this file: what nobody configured is fine; what is configured is asked for the smallest thing it can do. Clients
of foreign services raise many things, so each check catches all of them and tells the kind, never the text: it may
hold a key.
"""

from __future__ import annotations

import asyncio
import importlib.util

from bot.console.findings import Finding
from bot.moderation import make_classifier
from bot.settings import Settings
from jobs.artifacts import Artifacts

_PATIENCE = 20.0  # seconds for one answer


async def artifacts(settings: Settings) -> Finding:
    if settings.artifacts_url is None:
        return Finding(name="Archivos", state="good", text="en la carpeta de datos")
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.to_thread(lambda: Artifacts(settings.artifacts).list_datasets())
    except ImportError:
        fix = "Instala su paquete: AFINA_EXTRAS=bot,gpu,s3 scripts/install"
        return Finding(name="Archivos", state="bad", text="falta el paquete de ese almacén", fix=fix)
    except Exception as error:
        fix = "Comprueba AFINA_ARTIFACTS_URL, AWS_ENDPOINT_URL y las claves (AWS_…), y que el cubo existe."
        text = f"no puedo leer en AFINA_ARTIFACTS_URL ({type(error).__name__})"
        return Finding(name="Archivos", state="bad", text=text, fix=fix)
    return Finding(name="Archivos", state="good", text="el almacén de AFINA_ARTIFACTS_URL responde")


async def meaning(settings: Settings) -> Finding:
    if not settings.embeddings:
        return Finding(name="Búsqueda por significado", state="good", text="sin configurar: se busca por palabras")
    from bot.llm import make_embeddings

    embeddings = make_embeddings(settings)
    try:
        size = len(await asyncio.to_thread(embeddings.embed_query, "hola")) if embeddings else 0
    except Exception as error:
        fix = "Comprueba AFINA_EMBEDDINGS, AFINA_EMBEDDINGS_URL y su clave. Mientras, el curso se busca por palabras."
        text = f"{settings.embeddings} no responde ({type(error).__name__})"
        return Finding(name="Búsqueda por significado", state="warning", text=text, fix=fix)
    place = "en Qdrant" if settings.qdrant_url else "en archivos"
    text = f"{settings.embeddings} responde; vectores de {size} números, {place}"
    if settings.qdrant_url and importlib.util.find_spec("langchain_qdrant") is None:
        fix = "Instala Afina con el extra «qdrant», o deja vacío AFINA_QDRANT_URL."
        return Finding(name="Búsqueda por significado", state="warning", text=f"{text}, pero falta su paquete", fix=fix)
    return Finding(name="Búsqueda por significado", state="good", text=text)


async def wording(settings: Settings) -> Finding:
    name = "Respuestas redactadas"
    if not settings.llm:
        return Finding(name=name, state="good", text="sin configurar: se cita el curso")
    if settings.llm == "engine" and settings.engine_url is None:
        return Finding(name=name, state="good", text="las redacta el motor incluido")
    try:
        await _speaks(settings)
    except Exception as error:
        fix = "Comprueba AFINA_LLM (engine, ollama:…, openai:…), AFINA_LLM_URL y AFINA_LLM_KEY."
        return Finding(name=name, state="bad", text=f"{settings.llm} no responde ({type(error).__name__})", fix=fix)
    return Finding(name=name, state="good", text=f"{settings.llm} responde")


async def classifier(settings: Settings) -> Finding:
    name = "Filtro de contenido"
    if not settings.moderation_url and (settings.moderation_llm or "engine") == "engine":
        text = "apagado" if settings.moderation == "off" else f"listas de palabras ({settings.moderation})"
        more = " y el motor" if settings.moderation_llm else ""
        return Finding(name=name, state="good", text=text + more)
    try:
        if settings.moderation_url and (judge := make_classifier(settings)):
            await judge.classify("hola")
        else:
            await _speaks(settings.model_copy(update={"llm": settings.moderation_llm}))
    except Exception as error:
        fix = "Comprueba AFINA_MODERATION_URL o AFINA_MODERATION_LLM y su clave."
        if settings.moderation_fail == "closed":
            return Finding(name=name, state="bad", text=f"no responde ({type(error).__name__}): nada pasa", fix=fix)
        text = f"el clasificador no responde ({type(error).__name__}): solo miran las listas"
        return Finding(name=name, state="warning", text=text, fix=fix)
    return Finding(name=name, state="good", text="el clasificador responde")


async def _speaks(settings: Settings) -> None:
    """Let the model of `AFINA_LLM` say a word. Raises whatever its client raises."""
    from bot.llm import make_model  # langchain is heavy

    model = make_model(settings)
    client = getattr(model, "http_async_client", None)
    try:
        async with asyncio.timeout(_PATIENCE):
            await model.ainvoke("Di solo: hola") if model else None
    finally:
        if client is not None:
            await client.aclose()
