"""Secrets and personal data: what is told, and the look-alikes that are left alone."""

from __future__ import annotations

import pytest

from jobs.dataset.private import cover, find_private

TOLD = {
    "a password in a setting": ("DB_PASSWORD=Sup3rS3creta!9", "DB_PASSWORD=[contraseña]"),
    "a password in JSON": ('{"password": "Qw3rty!2024x"}', '{"password": "[contraseña]"}'),
    "a password in a sentence": ("Mi contraseña es Xk9!tR42pLq.", "Mi contraseña es [contraseña]."),
    "a key in a setting": ("MY_API_KEY=a8f5c2e19b7d4036be52f1c7", "MY_API_KEY=[clave de una API]"),
    "a key of Google": ("AIzaSyD4x8Qw2LmNpRtVbHjKcFgYzUoEaS17i9W", "[clave de Google]"),
    "a card beside its expiry": ("Cobra 4111111111111111, vence hoy", "Cobra [una tarjeta bancaria], vence hoy"),
    "a key with a name is told once": ("OPENAI_API_KEY=sk-a1B2c3D4e5F6g7H8i9J0k1", "OPENAI_API_KEY=[clave de OpenAI]"),
    "a CURP": ("Mi CURP es GOML850312MDFMRR09.", "Mi CURP es [una CURP]."),
    "a CPF": ("CPF 529.982.247-25", "CPF [un CPF]"),
    "a RUT": ("RUT 12.345.678-5", "RUT [un RUT]"),
    "a phone of Brazil": ("Meu celular é (11) 98765-4321.", "Meu celular é [un teléfono]."),
}  # fmt: skip

LEFT_ALONE = [
    "El código 529.982.247-26 y el 12.345.678-9",
    "password = hash256(x)",
    "user.password = request.form2['password']",
    "if password == entrada123:",
    "password=$PASSWORD2024",
    "password=valor_de_prueba_2",
    "pwd=/home/ana/datos2024",
    "api_key=os.environ['OPENAI_API_KEY1']",
    "La clave: 3 huevos y 200g de harina",
    "El artículo 4111111111111111 no existe",
    "El pedido 20241105-0098 costó 1.234,56 €",
    "Entre 1936 y 1939, unos 500 000",
    "La época 1700000000 cae en noviembre de 2023",
]


@pytest.mark.parametrize("case", TOLD)
def test_a_secret_is_found_and_covered_whole(case: str) -> None:
    text, covered = TOLD[case]
    assert cover(text) == covered
    assert len(find_private(text)) == 1


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert find_private(text) == []
