"""What a person attests when they bring data, and under which licence the data are.

Rule of this file: texts with a version each, never changed and never reused: what somebody agreed to is looked up by
the version that their row carries. Command descriptions in Discord take 100 characters.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1"  # of the text that is shown now
CONSENTS: Final = {
    "1": "Tengo derecho a usar estos datos y acepto que se guarden para entrenar",
}

LICENCES: Final = {
    "propios": "Son míos",
    "permiso": "De otra persona, con su permiso",
    "cc0": "Dominio público o CC0",
    "cc-by": "CC BY (citar a quien los hizo)",
    "cc-by-sa": "CC BY-SA (citar, y compartir igual)",
    "cc-by-nc": "CC BY-NC (citar, sin uso comercial)",
    "codigo-abierto": "Licencia de código abierto (MIT, Apache…)",
    "otra": "Otra licencia",
}
SEVERAL: Final = "varias"  # of data joined from others


def licence_name(licence: str | None) -> str:
    """For people."""
    if licence is None:
        return "sin indicar"
    return "varias" if licence == SEVERAL else LICENCES.get(licence, "otra licencia")


def joined(*licences: str | None) -> str | None:
    """Of data made from several: theirs when they agree."""
    return licences[0] if len(set(licences)) == 1 else SEVERAL
