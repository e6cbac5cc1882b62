"""`afina doctor`: what is wrong on this machine and how to mend it.

Rule of this file: every check is a function that returns one `Finding` and changes nothing. A check that cannot be made
here (no token, no network) says so instead of guessing.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import httpx
from rich.console import Console
from rich.text import Text

from bot.console.findings import Check, Finding
from bot.console.outside import artifacts, classifier, meaning, wording
from bot.console.up import NO_TOKEN
from bot.settings import Settings
from jobs.catalog import is_downloaded, load_catalog
from jobs.errors import AfinaError
from jobs.queue import Queue
from jobs.redis_server import find_binary

_DISCORD_API = "https://discord.com/api/v10"
_CONTENT_FLAGS = (1 << 18) | (1 << 19)  # GATEWAY_MESSAGE_CONTENT, and its limited form for small bots
_FREE_DISK = 10 * 2**30  # bytes; a small base and some adapters
# What the invitation in docs/alojamiento.md asks for: bits of Discord's permissions.
# https://docs.discord.com/developers/topics/permissions
_PERMISSIONS = {
    "ver canales": 1 << 10,
    "enviar mensajes": 1 << 11,
    "insertar enlaces": 1 << 14,
    "adjuntar archivos": 1 << 15,
    "leer el historial": 1 << 16,
    "crear hilos públicos": 1 << 35,
    "crear hilos privados": 1 << 36,
    "enviar mensajes en hilos": 1 << 38,
}
_ADMINISTRATOR = 1 << 3
_NOBODY = "afina-doctor"  # an adapter that no engine has
_MARK = {"good": ("✓", "green"), "warning": ("⚠", "yellow"), "bad": ("✗", "red")}


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    findings = asyncio.run(examine(settings))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        say = Console(soft_wrap=True)
        for finding in findings:
            mark, colour = _MARK[finding.state]
            say.print(Text.assemble((f"{mark} ", colour), (f"{finding.name}: ", "bold"), finding.text))
            if finding.fix:
                say.print(Text("    " + finding.fix.replace("\n", "\n    "), style="dim"))
    return 1 if any(finding.state == "bad" for finding in findings) else 0


async def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which things are needed."""
    return [await check(settings) for check in CHECKS]


async def _python(settings: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding(name="Python", state="good", text=version)
    fix = "Instala Python 3.11 o 3.12 y ejecuta AFINA_PYTHON=/ruta/python3.12 scripts/install"
    return Finding(name="Python", state="bad", text=f"{version} no sirve", fix=fix)


async def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        fix = "Dale permiso de escritura a quien ejecuta Afina, o elige otra carpeta con AFINA_DATA_DIR."
        return Finding(name="Disco", state="bad", text=f"no puedo escribir en {folder}: {error.strerror}", fix=fix)
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.0f} GB libres en {folder}"
    if free < _FREE_DISK:
        fix = "Una base pequeña ocupa 2 GB y una de 8 B unos 16 GB. Haz sitio o cambia AFINA_DATA_DIR."
        return Finding(name="Disco", state="warning", text=text, fix=fix)
    return Finding(name="Disco", state="good", text=text)


async def _token(settings: Settings) -> Finding:
    if settings.discord_token is None:
        return Finding(name="Discord", state="bad", text="falta el token", fix=NO_TOKEN)
    try:
        answer = await _ask_discord(settings, "oauth2/applications/@me")
    except httpx.HTTPError as error:
        fix = "Comprueba la conexión a internet de esta máquina y su cortafuegos (HTTPS de salida)."
        return Finding(name="Discord", state="bad", text=f"no responde ({type(error).__name__})", fix=fix)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        fix = "Pide otro con «Reset Token» en discord.com/developers → tu aplicación → Bot, y ponlo en .env."
        return Finding(name="Discord", state="bad", text="el token no vale", fix=fix)
    if answer.is_error:
        fix = "Vuelve a probar en unos minutos."
        return Finding(name="Discord", state="bad", text=f"contesta con el error {answer.status_code}", fix=fix)
    application = answer.json()
    if settings.message_content and not application.get("flags", 0) & _CONTENT_FLAGS:
        fix = (
            "Activa «Message Content Intent» en discord.com/developers → tu aplicación → Bot,\n"
            "o pon AFINA_MESSAGE_CONTENT=false: el bot contestará solo a menciones."
        )
        text = f"el token vale ({application['name']}), pero falta una intención"
        return Finding(name="Discord", state="bad", text=text, fix=fix)
    return Finding(name="Discord", state="good", text=f"el token vale ({application['name']})")


async def _permissions(settings: Settings) -> Finding:
    """In each server, by the roles of the bot; a channel may still say otherwise."""
    try:
        guilds = (await _ask_discord(settings, "users/@me/guilds")).raise_for_status().json()
    except httpx.HTTPError:
        return Finding(name="Permisos", state="warning", text="no se pueden mirar sin Discord")
    if not guilds:
        fix = "Invítalo: discord.com/developers → tu aplicación → OAuth2, ámbitos bot y applications.commands."
        return Finding(name="Permisos", state="bad", text="el bot no está en ningún servidor", fix=fix)
    lacking = []
    for guild in guilds:
        held = int(guild["permissions"])
        if missing := [name for name, bit in _PERMISSIONS.items() if not held & (bit | _ADMINISTRATOR)]:
            lacking.append(f"en «{guild['name']}» falta {', '.join(missing)}")
    if lacking:
        fix = "Dáselos al rol del bot en los ajustes del servidor, o invítalo otra vez con ellos."
        return Finding(name="Permisos", state="bad", text="; ".join(lacking), fix=fix)
    return Finding(name="Permisos", state="good", text="los necesarios en cada servidor")


async def _ask_discord(settings: Settings, path: str) -> httpx.Response:
    token = settings.discord_token.get_secret_value() if settings.discord_token else ""
    api = (settings.discord_api or _DISCORD_API).rstrip("/")
    async with httpx.AsyncClient(headers={"Authorization": f"Bot {token}"}, timeout=10) as http:
        return await http.get(f"{api}/{path}")


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        try:
            binary = find_binary()
        except AfinaError as error:
            return Finding(name="Redis", state="bad", text=error.message, fix=error.hint)
        return Finding(
            name="Redis", state="good", text=f"se arrancará {binary.name}, incluido en Afina o instalado aquí"
        )
    queue = Queue(settings.redis_url)
    if await asyncio.to_thread(queue.ping):
        if workers := await asyncio.to_thread(queue.workers):
            return Finding(name="Redis", state="good", text=f"responde; trabajadores: {len(workers)}")
        fix = "Sin trabajadores, lo que se pida espera. Con scripts/run arranca uno; en otra máquina: afina worker"
        return Finding(name="Redis", state="warning", text="responde, pero no hay ningún trabajador", fix=fix)
    fix = (
        "Comprueba que está en marcha y que REDIS_URL lleva bien la máquina, el puerto, la contraseña y el certificado."
    )
    return Finding(name="Redis", state="bad", text="no responde en REDIS_URL", fix=fix)


async def _torch(settings: Settings) -> Finding:
    missing = [name for name in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding(name="Entrenamiento", state="good", text="torch, transformers, peft y trl están instalados")
    fix = "Si otra máquina entrena, no hace falta. Si es esta: AFINA_TORCH=auto scripts/install"
    return Finding(name="Entrenamiento", state="warning", text=f"no está {', '.join(missing)}", fix=fix)


async def _gpu(settings: Settings) -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        fix = "Sin GPU se entrena en la CPU: sirve para afina-mini y para probar, no para modelos de verdad."
        return Finding(name="GPU", state="warning", text="no encuentro ninguna GPU de NVIDIA", fix=fix)
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    done = await asyncio.to_thread(subprocess.run, query, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 0:
        fix = "El controlador de NVIDIA no funciona: reinstálalo, o reinicia si acaba de actualizarse."
        return Finding(name="GPU", state="bad", text="nvidia-smi falla", fix=fix)
    return Finding(name="GPU", state="good", text="; ".join(done.stdout.strip().splitlines()))


async def _bases(settings: Settings) -> Finding:
    wanted = settings.default_base
    try:
        base = load_catalog().get(wanted)
    except AfinaError as error:
        return Finding(name="Modelo base", state="bad", text=error.message, fix=error.hint)
    if is_downloaded(settings.data_dir, base):
        return Finding(name="Modelo base", state="good", text=f"{wanted} está listo")
    fix = f"afina bases descargar {wanted}"
    if base.gated:
        fix += f"\nPide permiso: acéptalo en la página de {base.repo} y pon HF_TOKEN."
    return Finding(name="Modelo base", state="bad", text=f"{wanted} no está descargado", fix=fix)


async def _engine(settings: Settings) -> Finding:
    if settings.engine_url is None:
        return Finding(name="Motor", state="good", text="se arrancará el incluido")
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(base_url=settings.engine_url.rstrip("/"), headers=headers, timeout=10) as http:
            health = await http.get("/health")
            models = await http.get("/v1/models")
            # Unloading what is not there tells whether adapters may be loaded at all, and changes nothing.
            unloading = await http.post("/v1/unload_lora_adapter", json={"lora_name": _NOBODY})
    except httpx.HTTPError as error:
        fix = "Arráncalo, o corrige AFINA_ENGINE_URL."
        return Finding(name="Motor", state="bad", text=f"no responde ({type(error).__name__})", fix=fix)
    if health.is_error:
        fix = "Mira su registro: puede que aún esté cargando el modelo."
        return Finding(name="Motor", state="warning", text=f"contesta con {health.status_code}", fix=fix)
    if models.status_code == httpx.codes.UNAUTHORIZED:
        fix = "Pon en AFINA_ENGINE_KEY la misma clave que su --api-key."
        return Finding(name="Motor", state="bad", text="no acepta la clave", fix=fix)
    served = [model.get("id") for model in models.json().get("data", [])] if models.is_success else []
    if settings.default_base not in served:
        fix = f"Arráncalo con ella (vLLM: --served-model-name={settings.default_base}), o cambia AFINA_DEFAULT_BASE."
        text = f"no sirve {settings.default_base}, sino {', '.join(map(str, served)) or 'nada'}"
        return Finding(name="Motor", state="bad", text=text, fix=fix)
    if _NOBODY not in unloading.text:
        fix = "Arranca vLLM con --enable-lora y VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
        return Finding(name="Motor", state="bad", text="responde, pero no deja cargar modelos afinados", fix=fix)
    return Finding(name="Motor", state="good", text=f"responde y sirve {settings.default_base}")


async def _course(settings: Settings) -> Finding:
    pages = [path for path in settings.course_dir.rglob("*") if path.is_file()] if settings.course_dir.is_dir() else []
    if pages:
        return Finding(name="Curso", state="good", text=f"{len(pages)} archivos")
    fix = "Comprueba AFINA_COURSE_DIR, o déjalo vacío para usar el curso incluido."
    return Finding(name="Curso", state="warning", text=f"no hay nada en {settings.course_dir}", fix=fix)


CHECKS: tuple[Check, ...] = (
    _python,
    _disk,
    _token,
    _permissions,
    _redis,
    artifacts,
    _torch,
    _gpu,
    _bases,
    _engine,
    _course,
    meaning,
    wording,
    classifier,
)
