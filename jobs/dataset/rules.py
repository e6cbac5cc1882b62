"""The table of everything that the dataset desk can say about a file.

Rule of this file: one entry a code; codes are stable, severities follow the project's decisions on data, sentences are
Spanish for students. `docs/problemas.md` is generated from here. Which code applies where is decided by the modules
that read and check, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"  # it cannot be trained on as it is
    WARNING = "warning"  # it trains, but look
    FIXED = "fixed"  # mended on reading, and said


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    severity: Severity
    message: str  # what is wrong; {blanks} are filled in
    fix: str  # what to do
    page: str  # of the course


FORMATS = "05-formatos-de-datos.md"
SYNTAX = "06-errores-de-jsonl.md"
DUPLICATES = "09-filtrado-y-duplicados.md"
PREFERENCES = "11-datos-de-preferencia.md"
PRIVACY = "12-privacidad-y-licencias-de-datos.md"
QUALITY = "07-calidad-de-datos.md"
TEMPLATES = "08-plantillas-de-chat.md"


def _error(message: str, fix: str, page: str = FORMATS) -> Rule:
    return Rule(severity=Severity.ERROR, message=message, fix=fix, page=page)


def _bad_text(message: str, fix: str) -> Rule:
    return _error(message, fix, SYNTAX)


def _warning(message: str, fix: str, page: str = QUALITY) -> Rule:
    return Rule(severity=Severity.WARNING, message=message, fix=fix, page=page)


def _fixed(message: str, fix: str, page: str = SYNTAX) -> Rule:
    return Rule(severity=Severity.FIXED, message=message, fix=fix, page=page)


_CONVERT = "«Reparar» lo convierte a JSONL; o guárdalo con un objeto JSON por línea."
_ONE_OBJECT = "Escribe en cada línea un objeto JSON completo, entre llaves."

FILE_RULES: dict[str, Rule] = {
    "empty_file": _bad_text("El archivo está vacío.", "Sube un archivo con un ejemplo por línea."),
    "only_blank_lines": _bad_text(
        "El archivo solo tiene líneas en blanco.", "Sube un archivo con un ejemplo por línea."
    ),
    "file_too_large": _bad_text(
        "El archivo ocupa {size} MiB y el límite es de {limit} MiB.",
        "Divídelo en partes o quédate con una muestra de los mejores ejemplos.",
    ),
    "too_many_lines": _bad_text(
        "El archivo tiene más de {limit} líneas.",
        "Divídelo en partes o quédate con una muestra de los mejores ejemplos.",
    ),
    "too_many_tokens": _bad_text(
        "El archivo tiene unos {tokens} tokens y el límite es de {limit}.",
        "Quédate con una muestra de los mejores ejemplos.",
    ),
    "container_array": _bad_text(
        "El archivo es una sola lista JSON, no JSONL: los ejemplos van entre corchetes y separados por comas.", _CONVERT
    ),
    "container_pretty": _bad_text("El archivo es JSON con sangrías: cada ejemplo ocupa varias líneas.", _CONVERT),
    "container_csv": _bad_text(
        "El archivo es una tabla CSV o TSV, no JSONL.",
        "«Reparar» la convierte a JSONL si sus columnas se llaman, por ejemplo, «pregunta» y «respuesta».",
    ),
    "container_html": _bad_text(
        "El archivo es una página web (HTML o XML), no JSONL.",
        "Descarga el archivo de datos en sí, no la página que lo muestra.",
    ),
    "container_compressed": _bad_text("El archivo está comprimido ({kind}).", "Descomprímelo, o usa «Reparar»."),
    "container_binary": _bad_text(
        "El archivo es binario ({kind}), no texto.", "Expórtalo como JSONL en UTF-8, con un objeto por línea."
    ),
    "container_office": _bad_text(
        "El archivo es una hoja de cálculo o un documento de Office, no texto.",
        "Guárdalo como CSV, con columnas como «pregunta» y «respuesta», y súbelo: «Reparar» lo convierte.",
    ),
    "container_utf16": _bad_text("El archivo está en {kind}, no en UTF-8.", "Usa «Reparar», o guárdalo como UTF-8."),
    "container_text": _bad_text(
        "El archivo no es JSONL: ninguna línea es un objeto JSON.",
        "Escribe un objeto JSON por línea; /datos plantilla te da un archivo de ejemplo.",
    ),
    "byte_order_mark": _fixed(
        "El archivo empieza por una marca de orden de bytes (BOM); se ignora al leer.",
        "No tienes que hacer nada; «Reparar» la quita.",
    ),
    "line_ends": _fixed(
        "Las líneas terminan en {kind}; se leen como saltos de línea normales.",
        "No tienes que hacer nada; «Reparar» los cambia.",
    ),
    "blank_line": _fixed("La línea está en blanco; se salta al leer.", "No tienes que hacer nada; «Reparar» la quita."),
    "few_examples": _warning(
        "El archivo tiene pocos ejemplos ({count}); con menos de {limit} apenas se aprende.",
        "Añade ejemplos variados: con 50 o 100 buenos ya se nota.",
    ),
}

SYNTAX_RULES: dict[str, Rule] = {
    "not_utf8": _bad_text(
        "La línea no es UTF-8: el byte {byte} (0x{value:02x}) no se puede leer.",
        "Guarda el archivo como UTF-8; si venía de Windows o Latin-1, «Reparar» puede convertirlo.",
    ),
    "raw_nul": _bad_text("La línea contiene un byte NUL en bruto (columna {column}).", "Borra ese carácter."),
    "lone_surrogate": _bad_text(
        "Hay medio carácter: un surrogate Unicode sin pareja (\\ud800–\\udfff).",
        "Vuelve a exportar el texto o borra ese carácter.",
    ),
    "line_too_long": _bad_text(
        "La línea ocupa {size} MiB y el límite es de {limit} MiB.", "Divide el ejemplo en otros más cortos."
    ),
    "too_deep": _bad_text(
        "El JSON tiene más de {limit} niveles de anidamiento.", "Aplana el objeto: bastan tres o cuatro niveles."
    ),
    "absurd_number": _bad_text("Hay un número fuera de rango.", "Corrígelo o escríbelo como texto, entre comillas."),
    "not_object": _bad_text("La línea es {kind}, no un objeto JSON.", _ONE_OBJECT),
    "json_truncated": _bad_text(
        "La línea está cortada: el JSON empieza y no termina.", "Complétala o bórrala; quizá la copia quedó a medias."
    ),
    "json_two_values": _bad_text(
        "Hay más de un valor JSON en la misma línea (columna {column}).", "Pon cada objeto en su propia línea."
    ),
    "json_trailing_comma": _bad_text(
        "Sobra una coma en la columna {column}.", "Borra la coma que va antes del cierre."
    ),
    "json_single_quotes": _bad_text(
        "Hay comillas simples en la columna {column}; JSON solo admite comillas dobles.",
        "Cámbialas por comillas dobles, o escribe el archivo con json.dumps.",
    ),
    "json_curly_quotes": _bad_text(
        "Hay comillas tipográficas en la columna {column}; JSON solo admite comillas dobles rectas.",
        "Cámbialas por comillas rectas; usa un editor de texto plano, que no las cambie solo.",
    ),
    "json_comment": _bad_text("Hay un comentario en la columna {column}; JSON no los admite.", "Borra el comentario."),
    "json_nan": _bad_text("Hay un valor {name}, que JSON no admite.", "Cámbialo por un número o por null."),
    "json_python_literal": _bad_text(
        "Hay un valor de Python ({name}) en la columna {column}.",
        "En JSON se escribe true, false o null; usa json.dumps para escribir el archivo.",
    ),
    "json_control_character": _bad_text(
        "Hay un carácter de control sin escapar dentro de un texto (columna {column}).",
        "Escríbelo como \\n, \\t o \\u00XX.",
    ),
    "json_bad_escape": _bad_text(
        "Hay una barra invertida que no inicia un escape válido (columna {column}).", "Escríbela doble: \\\\."
    ),
    "json_invalid": _bad_text(
        "La línea no es JSON válido (columna {column}).",
        'Revisa comas, comillas y llaves cerca de esa columna; unas comillas dentro de un texto se escriben \\".',
    ),
    "duplicate_key": _warning("La clave «{key}» aparece dos veces; solo cuenta la última.", "Deja una sola.", SYNTAX),
    "escaped_nul": _warning("El texto contiene un carácter NUL escapado (\\u0000).", "Bórralo: no significa nada."),
}

SHAPE_RULES: dict[str, Rule] = {
    "unknown_shape": _error(
        "No reconozco la forma del ejemplo (claves: {keys}).",
        "Usa messages, prompt y completion, instruction y output, conversations, chosen y rejected, o text.",
    ),
    "loose_message": _error(
        "La línea es un mensaje suelto, no una conversación entera.",
        "Junta los mensajes de cada conversación en una sola línea, dentro de «messages».",
    ),
    "other_program": _error(
        "El ejemplo está escrito como lo hace otro programa (claves: {keys}).",
        "«Reparar» lo escribe como Afina lo lee, sin cambiar ningún texto.",
    ),
    "ambiguous_shape": _error("El ejemplo mezcla dos formatos: {one} y {other}.", "Deja las claves de uno solo."),
    "mixed_formats": _error(
        "Este ejemplo está en formato {one} y casi todo el archivo en {other}.",
        "Usa un solo formato por archivo: convierte este ejemplo o llévalo a otro archivo.",
    ),
    "missing_field": _error("Falta «{name}».", "Añádelo o borra el ejemplo."),
    "empty_field": _error("«{name}» está vacío.", "Escribe el texto o borra el ejemplo."),
    "wrong_type": _error("«{name}» debe ser {expected} y es {kind}.", "Corrige el tipo del valor."),
    "unknown_key": _warning(
        "La clave «{key}» no se usa para entrenar.", "Bórrala si no la necesitas; al leer se ignora.", FORMATS
    ),
    "label_not_boolean": _error(
        "«label» debe ser true o false y es {kind}.",
        "Escribe true si la respuesta es buena y false si no.",
        PREFERENCES,
    ),
    "same_pair": _warning(
        "La respuesta preferida y la rechazada son iguales: no hay nada que comparar.",
        "Cambia una de las dos o borra el ejemplo.",
        PREFERENCES,
    ),
}

CHAT_RULES: dict[str, Rule] = {
    "missing_messages": _error("Falta la lista de mensajes.", "Añade «messages» con al menos una respuesta."),
    "empty_messages": _error("La lista de mensajes está vacía.", "Añade mensajes o borra el ejemplo."),
    "too_many_messages": _error(
        "El ejemplo tiene {count} mensajes y el límite es de {limit}.", "Divide la conversación en varias."
    ),
    "message_not_object": _error(
        "El mensaje es {kind}, no un objeto con «role» y «content».", "Escríbelo como un objeto JSON."
    ),
    "missing_role": _error("Al mensaje le falta el rol.", "Añade «role»: system, user, assistant o tool."),
    "missing_content": _error("Al mensaje le falta el contenido.", "Añade «content» con el texto."),
    "role_not_string": _error("El rol es {kind}, no un texto.", "Escribe system, user, assistant o tool."),
    "role_miscased": _error("El rol «{role}» está mal escrito.", "Escríbelo «{right}», en minúsculas y sin espacios."),
    "unknown_role": _error("El rol «{role}» no existe.", "Usa system, user, assistant o tool."),
    "null_content": _error(
        "El contenido es null y el mensaje no llama a ninguna herramienta.", "Escribe el texto o borra el ejemplo."
    ),
    "empty_content": _error("El contenido está vacío.", "Escribe el texto o borra el ejemplo."),
    "content_not_text": _error("El contenido es {kind}, no un texto.", "Escríbelo como texto, entre comillas."),
    "part_not_text": _error(
        "Esta parte del contenido no es texto ({kind}) y el modelo base no la lee.", "Deja solo las partes de texto."
    ),
    "no_assistant": _error(
        "No hay ningún mensaje del asistente: el modelo no aprendería nada.",
        "Añade la respuesta del asistente al final.",
    ),
    "last_not_assistant": _error(
        "El último mensaje es de «{role}» y debe ser del asistente.",
        "Añade la respuesta o quita lo que sobra al final.",
    ),
    "answer_not_assistant": _error(
        "Aquí solo van respuestas del asistente y hay un mensaje de «{role}».",
        "Quita ese mensaje o llévalo a la entrada.",
    ),
    "bad_weight": _error("«weight» debe ser 0 o 1.", "Escribe 0 (no se aprende) o 1 (se aprende)."),
    "nothing_to_learn": _error(
        "Todos los mensajes del asistente tienen «weight» 0: el modelo no aprendería nada.",
        "Pon «weight» 1 en alguno o borra el ejemplo.",
        TEMPLATES,
    ),
    "missing_tool_call_id": _error(
        "El resultado de la herramienta no dice a qué llamada responde.",
        "Añade «tool_call_id» con el id de la llamada.",
    ),
    "orphan_tool_call_id": _error(
        "El id «{id}» no es de ninguna llamada anterior.", "Copia el id de la llamada a la que responde."
    ),
    "bad_tool_call": _error(
        "La llamada a la herramienta está mal formada: {what}.",
        "Escríbela como una función con «name» y «arguments» (texto JSON).",
    ),
    "bad_tools": _error(
        "La lista de herramientas está mal formada: {what}.", "Cada una es un objeto con «function» y su «name»."
    ),
    "undeclared_tool": _warning(
        "Se llama a la herramienta «{name}», que no está declarada en «tools».",
        "Declárala o corrige el nombre.",
        FORMATS,
    ),
    "tool_arguments_not_json": _warning(
        "Los argumentos de la llamada no son JSON.", "Escríbelos como un objeto JSON dentro de un texto.", FORMATS
    ),
    "repeated_role": _warning(
        "Hay dos mensajes seguidos de «{role}».", "Únelos en uno o añade el turno que falta.", TEMPLATES
    ),
    "starts_with_assistant": _warning(
        "La conversación empieza por el asistente.", "Empieza por un mensaje de la persona.", TEMPLATES
    ),
    "late_system": _warning(
        "Hay instrucciones de sistema después del primer mensaje.", "Ponlas al principio.", TEMPLATES
    ),
    "developer_role": _warning(
        "El rol «developer» se lee como «system».", "Si es lo que quieres, no hagas nada.", TEMPLATES
    ),
}

CONTENT_RULES: dict[str, Rule] = {
    "control_token": _warning(
        "El texto contiene una marca de plantilla de chat ({token}); al entrenar se neutraliza.",
        "Quítala: Afina pone las marcas por ti.",
        TEMPLATES,
    ),
    "invisible_character": _warning(
        "El texto contiene caracteres invisibles ({name}).", "Bórralos: el modelo los lee aunque no se vean."
    ),
    "direction_character": _warning(
        "El texto contiene caracteres que cambian la dirección de lectura ({name}).", "Bórralos."
    ),
    "mojibake": _warning(
        "El texto parece mal codificado (como «Ã±» en vez de «ñ»).",
        "Vuelve a exportarlo en UTF-8, o usa «Reparar».",
    ),
    "personal_data": _warning(
        "Parece haber datos personales: {kind}.",
        "Bórralos o cámbialos por datos inventados; «Reparar» puede taparlos.",
        PRIVACY,
    ),
    "secret": _warning(
        "Parece haber un secreto: {kind}. No se muestra.",
        "Anúlalo donde se creó y bórralo de aquí; antes de entrenar hay que taparlo o confirmar que no lo es.",
        PRIVACY,
    ),
    "disallowed_content": _error(
        "El modelo aprendería a decir algo que aquí no se admite ({what}). No se muestra.",
        "Quita el ejemplo o cámbialo; «Reparar» puede quitarlo. Si es una falsa alarma, díselo a quien administra.",
    ),
    "delicate_content": _warning(
        "El texto contiene algo delicado ({what}). No se muestra.",
        "Comprueba que hace falta para lo que quieres enseñar.",
    ),
    "too_long": _warning(
        "El ejemplo tiene unos {tokens} tokens y el modelo lee {limit}: se cortarían {cut}.",
        "Acórtalo o divídelo en varios.",
    ),
}

SET_RULES: dict[str, Rule] = {
    "duplicate": _warning("El ejemplo es igual que el de la línea {other}.", "Borra uno de los dos.", DUPLICATES),
    "near_duplicate": _warning(
        "El ejemplo es casi igual que el de la línea {other}.",
        "Borra uno o cámbialo de verdad.",
        DUPLICATES,
    ),
    "contradiction": _warning(
        "La misma entrada tiene otra respuesta en la línea {other}.",
        "Decide cuál es la buena y borra la otra.",
        DUPLICATES,
    ),
    "short_answer": _warning(
        "La respuesta es muy corta al lado de las demás.", "Complétala o comprueba que es lo que quieres."
    ),
    "identical_answers": _warning(
        "El {percent} % de las respuestas son la misma: el modelo aprenderá a decir siempre eso.", "Añade variedad."
    ),
    "common_prefix": _warning(
        "Todas las respuestas empiezan igual: «{text}».", "Quita lo que se repite; ya lo pone tu programa."
    ),
    "common_suffix": _warning(
        "Todas las respuestas terminan igual: «{text}».", "Quita lo que se repite; ya lo pone tu programa."
    ),
    "class_imbalance": _warning(
        "Las clases están desequilibradas: «{label}» es el {percent} % de las respuestas.",
        "Añade ejemplos de las demás o quita de la que sobra.",
    ),
    "language_mix": _warning("Hay respuestas en varios idiomas: {languages}.", "Comprueba que es lo que quieres."),
    "split_overlap": _warning(
        "El ejemplo también está en el otro archivo (línea {other}).",
        "Quítalo de la validación: si el modelo ya lo ha visto, la nota no vale.",
        "34-evaluacion.md",
    ),
}

RULES: dict[str, Rule] = {**FILE_RULES, **SYNTAX_RULES, **SHAPE_RULES, **CHAT_RULES, **CONTENT_RULES, **SET_RULES}

# Nothing in such a file can be repaired: it has to be made anew.
BEYOND_REPAIR = frozenset(
    {
        "empty_file",
        "only_blank_lines",
        "file_too_large",
        "container_html",
        "container_binary",
        "container_office",
        "container_text",
    }
)
