"""Standing texts: what the bot can do, and what it keeps.

Rule of this file: words only; numbers and names come in as arguments.
"""

from __future__ import annotations

from bot.render.numbers import count
from bot.settings import Settings

HELP = [
    "## Qué puedes hacer aquí\nAfina te enseña a ajustar modelos de lenguaje y los entrena contigo.",
    "**1 · Pregunta al curso**\n"
    "`/preguntar` ¿qué diferencia hay entre LoRA y QLoRA?\n"
    "-# También puedes mencionarme en un canal, o contestar a una respuesta mía.",
    "**2 · Trae tus datos**\n"
    "`/datos subir` y adjunta un archivo JSONL. Te digo línea por línea qué falla y lo reparo.\n"
    "-# ¿No sabes por dónde empezar? `/datos plantilla` te da un ejemplo de cada formato.",
    "**3 · Afina un modelo**\n"
    "Pulsa *Afinar un modelo* bajo tus datos, o escribe `/afinar`. Verás cuánto tarda antes de confirmar.\n"
    "-# `/entrenamientos lista`, `ver`, `pausar`, `reanudar`, `cancelar`, `repetir`",
    "**4 · Charla con él**\n"
    "`/charlar` abre un hilo con tu modelo; `/comparar` lo enfrenta a la base sin decirte cuál es cuál.\n"
    "-# `/modelos lista`, `ver`, `compartir`, `renombrar`, `borrar`, `exportar`",
    "**Tuyo**\n`/limites` lo que te queda · `/privacidad` lo que guardo · `/misdatos` llévatelo o bórralo",
]


def _periods(settings: Settings) -> str:
    """What goes by itself, in the numbers of this machine."""
    warned = f"datos con los que nunca entrenaste (te aviso {settings.warn_days} días antes)"
    periods = [
        (settings.keep_unused_datasets_days, warned),
        (settings.keep_chats_days, "la configuración de un hilo donde nadie escribe"),
        (settings.keep_feedback_days, "votos, opiniones y comparaciones"),
        (settings.keep_events_days, "las curvas y los mensajes de un entrenamiento terminado"),
        (settings.keep_work_days, "sus archivos de trabajo"),
    ]
    told = [f"{what}, a los {count(days, 'día', 'días')}" for days, what in periods if days]
    return f"**Lo que se borra solo**  {'; '.join(told) or 'nada'}. Tus modelos, nunca."


def _leaving(settings: Settings) -> str:
    """After leaving, and in backups."""
    days, copies = settings.departure_days, settings.keep_backups_days
    erased = f"todo lo tuyo se borra a los {count(days, 'día', 'días')}; si vuelves antes, sigue ahí"
    leave = erased if days else "lo tuyo se queda hasta que alguien lo borre"
    old = f"Se guardan {count(copies, 'día', 'días')} como mucho. " if copies else ""
    return (
        f"**Si te vas del servidor, o el servidor me echa**  tus entrenamientos se detienen y {leave}.\n"
        f"**Copias de seguridad**  {old}Lo que borras sigue en las que ya estaban hechas; si se restaura una, quien se "
        "borró no vuelve."
    )


def judged_outside(settings: Settings) -> bool:
    """Whether the content filter asks somebody else."""
    if settings.moderation_url:
        return True
    return bool(settings.moderation_llm) and not str(settings.moderation_llm).startswith(("engine", "ollama"))


def privacy_texts(settings: Settings) -> list[str]:
    """What is kept, for how long, who sees it. Says plainly when a question leaves this machine."""
    blocks = [
        "## Qué guardo de ti",
        "**Tus archivos**, sus informes, su licencia y cuándo y con qué texto dijiste que tenías derecho a usarlos; "
        "**tus entrenamientos** con sus "
        "ajustes y curvas; **tus modelos**; la configuración de **tus hilos**; tus votos 👍/👎 y, si opinas de una "
        "respuesta del curso, esa pregunta y esa respuesta.",
        "**Lo que no guardo**  los mensajes de tus charlas: se quedan en Discord y los leo de ahí cada vez. Nada de lo "
        "que escribes en Discord se usa para entrenar; los datos solo entran como archivos que alguien sube a "
        "propósito.",
        "**Hasta cuándo**  hasta que lo borres: una cosa con `/datos borrar` o `/modelos borrar`, todo con "
        "`/misdatos borrar`. Cuántos minutos de entrenamiento gastaste se queda una semana, sin tu nombre.",
        _periods(settings),
        _leaving(settings),
        "**Quién lo ve**  solo tú, y quien administra la máquina donde funciono. Un modelo que compartes lo puede usar "
        "el servidor, pero nunca ve tus datos. Tu taller también lo ve quien modera los hilos del servidor.",
    ]
    if settings.llm and not settings.llm.startswith(("engine", "ollama")):
        provider = settings.llm.partition(":")[0]
        blocks.append(f"**Fuera de aquí**  las preguntas al curso se mandan a {provider} para redactar la respuesta.")
    elif not judged_outside(settings) and not settings.embeddings and "wandb" not in settings.trackers:
        blocks.append("**Fuera de aquí**  nada: preguntas, entrenamientos y charlas se quedan en las máquinas del bot.")
    if judged_outside(settings):
        blocks.append(
            "**Fuera de aquí, por el filtro**  lo que escribes en una charla o al curso, y lo que se te contesta, pasa "
            "por un filtro de contenido externo. No guardo nada de ello."
        )
    if settings.embeddings:
        blocks.append(
            "**Fuera de aquí, para buscar**  tu pregunta al curso va a un servicio que la compara con sus páginas."
        )
    if "wandb" in settings.trackers:
        blocks.append(
            "**Fuera de aquí, al entrenar**  el nombre, las curvas y los ajustes van a Weights & Biases; los ejemplos "
            "no."
        )
    blocks.append("Llévate todo con `/misdatos descargar`.")
    return blocks
