"""Standing texts: what the bot can do, and what it keeps.

Rule of this file: words only; numbers and names come in as arguments.
"""

from __future__ import annotations

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


def privacy_texts(settings: Settings) -> list[str]:
    """What is kept, for how long, who sees it. Says plainly when a question leaves this machine."""
    blocks = [
        "## Qué guardo de ti",
        "**Tus archivos**, sus informes y cuándo dijiste que tenías derecho a usarlos; **tus entrenamientos** con sus "
        "ajustes y curvas; **tus modelos**; la configuración de **tus hilos**; tus votos 👍/👎 y, si opinas de una "
        "respuesta del curso, esa pregunta y esa respuesta.",
        "**Lo que no guardo**  los mensajes de tus charlas: se quedan en Discord y los leo de ahí cada vez. Nada de lo "
        "que escribes en Discord se usa para entrenar; los datos solo entran como archivos que alguien sube a "
        "propósito.",
        "**Hasta cuándo**  hasta que lo borres: una cosa con `/datos borrar` o `/modelos borrar`, todo con "
        "`/misdatos borrar`. Cuántos minutos de entrenamiento gastaste se queda una semana, sin tu nombre.",
        "**Quién lo ve**  solo tú, y quien administra la máquina donde funciono. Un modelo que compartes lo puede usar "
        "el servidor, pero nunca ve tus datos. Tu taller también lo ve quien modera los hilos del servidor.",
    ]
    if settings.llm and not settings.llm.startswith(("engine", "ollama")):
        provider = settings.llm.partition(":")[0]
        blocks.append(f"**Fuera de aquí**  las preguntas al curso se mandan a {provider} para redactar la respuesta.")
    else:
        blocks.append("**Fuera de aquí**  nada: preguntas, entrenamientos y charlas se quedan en las máquinas del bot.")
    blocks.append("Llévate todo con `/misdatos descargar`.")
    return blocks
