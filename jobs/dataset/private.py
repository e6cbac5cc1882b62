"""Personal data and secrets in a text: what kind, never which.

Rule of this file: patterns with a check of their own (Luhn, mod 97, control letters) or a telling context, because
numbers, code and documentation are full of look-alikes. Nothing that was found is ever returned but its place, which
only `jobs.dataset.repair` reads, to cover it. It does not know names or addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    code: str  # personal_data or secret
    kind: str  # Spanish, for the report
    start: int
    end: int


_SECRETS: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("clave privada", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
        ("clave de OpenAI", r"\bsk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-|or-v1-)?[A-Za-z0-9_-]{20,}"),
        ("token de Hugging Face", r"\bhf_[A-Za-z0-9]{30,}\b"),
        ("token de GitHub", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})\b"),
        ("token de GitLab", r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("clave de AWS", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("clave de Google", r"\bAIza[A-Za-z0-9_-]{30,45}"),
        ("token de Slack", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
        ("clave de Stripe", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("webhook de Discord", r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{5,}/[\w-]{20,}"),
        ("webhook de Slack", r"hooks\.slack\.com/services/T\w+/B\w+/\w{16,}"),
        ("token de Discord", r"\b[MNO][A-Za-z\d_-]{22,30}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{25,110}"),
        ("token de Telegram", r"\b\d{8,10}:AA[A-Za-z0-9_-]{32,33}\b"),
        ("token JWT", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}"),
        ("token de npm o PyPI", r"\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,})"),
        ("clave de SendGrid", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}"),
    )
)
# One of these stands in every text with a secret (in lower case); the rest of the texts are not looked at again.
_SECRET_HINTS: Final = (
    *("-----begin", "sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "akia", "asia"),
    *("aiza", "xox", "k_live_", "k_test_", "webhooks/", "hooks.slack", ":aa", "eyj", "npm_", "pypi-", "sg.", "://"),
    *(
        "apikey",
        "api_key",
        "api-key",
        "secret",
        "token",
        "contraseña",
        "clave",
        "password",
        "passwd",
        "pwd",
        "passphrase",
    ),
)
PRIVATE_KEY: Final = 16_384  # characters that the longest key takes
_DOTTED: Final = re.compile(r"[\w-]{23}\.[\w-]{6}\.")
_URL_PASSWORD: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]*://(?P<user>[^\s:/@]+):(?!(?P=user)@|(?:postgres|root|admin|test|demo|guest|user|pass|clave|secreto)@)([^\s:/@]{4,})@[\w.-]+",
    re.IGNORECASE,
)
_SAID_PASSWORD: Final = re.compile(
    r"(?<![^\W_])(?:contraseña|clave|password|passwd|pwd|passphrase)\b"
    r"(?:[^.\n:=]{0,40}?\s(?:es|is|era|was)|[\"']?\s*:|[\"']?\s?=(?!=))\s*[\"'«`]?"
    r"((?=\S{0,64}\d)(?=\S{0,64}[A-Za-z])[^\s\"'»`,;<>(){}\[\]]{7,64}+)(?![(\[])",
    re.IGNORECASE,
)
_NAMED_KEY: Final = re.compile(
    r"(?<![^\W_])(?:api[_-]?key|apikey|secret[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|secret[_-]access[_-]key)\b[\"']?\s*[:=]\s*"
    r"[\"']?((?=[^\s\"']{0,64}\d)(?=[^\s\"']{0,64}[A-Za-z])[A-Za-z0-9_\-+/=.]{20,})",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(
    r"your|tu[_-]|example|ejemplo|xxx|\.\.\.|placeholder|changeme|password|contrase|secret|redacted|<|\*\*\*",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(
    r"[$/~%]|.*(?:://|\$\{)|[A-Za-z]:\\|[a-z][a-z0-9]*(?:_[a-z0-9]+)+\Z"
)  # names, paths, URLs

_EMAIL: Final = re.compile(r"(?<![\w.+%/:@-])([A-Za-z0-9][\w.+%-]*)@((?:[A-Za-z0-9-]+\.)+([A-Za-z]{2,24}))(?![\w@-])")
# Mailboxes of a role, not of a person; and what documentation writes instead of an address.
_ROLES: Final = re.compile(
    r"(?:info|soporte|support|admin|administracion|contacto?|hola|hello|ventas|sales|ayuda|help|no[-_]?reply|newsletter"
    r"|prensa|press|rrhh|jobs|empleo|facturacion|billing|webmaster|postmaster|security|seguridad|abuse|privacy|privacidad"
    r"|atencion(?:alcliente)?|clientes|pedidos|reservas|team|equipo|office|oficina|git|user(?:name)?\d?|usuario\d?|name"
    r"|nombre|e?mail|correo|test|prueba|foo|bar|you|tu|me|yo|example|ejemplo|someone|alguien|your-?email|tu-?correo|root"
    r"|devnull|bot|service|servicio|comercial|marketing|legal|feedback)\Z",
    re.IGNORECASE,
)
_FILE_ENDINGS: Final = re.compile(r"(?:png|jpe?g|gif|svg|webp|js|ts|py|css|html|json|md|[23]x)\Z", re.IGNORECASE)

AROUND: Final = 48  # characters beside a number that may say what it is
_DIGITS: Final = re.compile(r"\d[^\n]{5}")  # too little for any number below
_NUMBER: Final = re.compile(r"(?<![\w.,/=#&?%-])(?:\+|00)?\(?\d[\d \t\u00a0().-]{6,24}\d(?![\w%]|[.,-]\d)")
_PHONE_WORDS: Final = re.compile(
    r"(?:tel[eé]f|\btel\b|\btfn?o?\b|m[oó]vil|celular|whats?app|ll[aá]m|phone|\bcall\b|\bcell?\b|\bfijo\b|\bmobile\b|"
    r"\btext me\b|contact|tlf|marc[ao]\b|n[uú]mero es|number is|telegram|\bfax\b)",
    re.IGNORECASE,
)
_CARD_WORDS: Final = re.compile(
    r"tarjeta|card|visa\b|mastercard|amex|cr[eé]dito|d[eé]bito|credit|debit|\bpan\b|\bcv[vc]\b|caduc|vence|expir"
    r"|\bcobr|\bpag[aou]|\bpay\b|\bcharge",
    re.IGNORECASE,
)
_CARD_GROUPS: Final = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5}")
_CARD_START: Final = re.compile(r"4|5[1-5]|2(?:2[2-9]|[3-6]|7[01]|720)|3[47]|6(?:011|5)|35")
_US_PHONE: Final = re.compile(r"(?:\+?1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])[2-9]\d\d[.-]\d{4}")
# Lines of companies: nobody's own number.
_FREE: Final = re.compile(r"(?:\+|00)?(?:34|1)?(?:80[0-9]|88[0-9]|877|866|855|844|833|90[0-9])")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_DNI: Final = re.compile(r"\b(?:(\d{8})|([XYZ])[- ]?(\d{7}))[- ]?([A-HJ-NP-TV-Z])\b")
_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_CURP: Final = re.compile(r"\b[A-Z][AEIOUX][A-Z]{2}\d\d(?:0[1-9]|1[0-2])[0-3]\d[HMX][A-Z]{5}[A-Z0-9]\d\b")
_CPF: Final = re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d\d(?![\w-])")
_RUT: Final = re.compile(r"(?<![\w.-])(\d{1,2}\.\d{3}\.\d{3})-([\dkK])(?![\w-])")
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")


def find_private(text: str) -> list[Finding]:
    """Secrets first, then personal data outside them, each kind with its places."""
    secrets = list(find_secrets(text))
    return secrets + [
        finding
        for finding in find_personal(text)
        if not any(finding.start < secret.end and secret.start < finding.end for secret in secrets)
    ]


def find_secrets(text: str) -> Iterator[Finding]:
    """Keys, tokens and passwords that look real: long, varied, and no placeholder."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _SECRET_HINTS) and not _DOTTED.search(text):
        return
    known: list[range] = []
    for kind, pattern in _SECRETS:
        for match in pattern.finditer(text):
            if kind == "clave privada" or _looks_real(match[0]):
                known.append(range(*match.span()))
                yield Finding(code="secret", kind=kind, start=match.start(), end=_end_of(kind, text, match))
    for kind, pattern in (
        ("contraseña", _SAID_PASSWORD),
        ("contraseña en una dirección", _URL_PASSWORD),
        ("clave de una API", _NAMED_KEY),
    ):
        for match in pattern.finditer(text):
            if any(match.start(match.lastindex or 1) in place for place in known):
                continue
            value = match[match.lastindex or 1].rstrip(".:!?")
            if not _PLACEHOLDER.search(value) and not _VARIABLE.match(value) and len(set(value)) >= 4:
                yield Finding(
                    code="secret",
                    kind=kind,
                    start=match.start(match.lastindex or 1),
                    end=match.start(match.lastindex or 1) + len(value),
                )


def _end_of(kind: str, text: str, match: re.Match[str]) -> int:
    """A private key ends with its last line."""
    if kind != "clave privada":
        return match.end()
    closing = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----").search(
        text, match.end(), match.end() + PRIVATE_KEY
    )
    return closing.end() if closing else min(len(text), match.end() + PRIVATE_KEY)


def _looks_real(token: str) -> bool:
    """Varied enough for a random token; documentation writes sk-xxxx, hf_your_token and the like."""
    body = token.rsplit("/", 1)[-1]
    if re.search(r"x{5}|\*{3}|\.{3}|your|tu_|_aqui|_here|-here|placeholder|redacted", body, re.IGNORECASE):
        return False
    if token.startswith("sk-") and not re.search(r"\d", body):
        return False
    return len(set(body)) >= 8


def find_personal(text: str) -> Iterator[Finding]:
    """E-mail addresses of persons, phones, cards, accounts and identity numbers."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _ROLES.match(match[1]) and not _FILE_ENDINGS.match(match[3]):
                yield _personal("una dirección de correo", match)
    if not _DIGITS.search(text):
        return
    for match in _IBAN.finditer(text):
        if _is_iban(match[0]):
            yield _personal("un IBAN", match)
    yield from _find_identity(text)
    for match in _NUMBER.finditer(text):
        if kind := _kind_of_number(text, match):
            yield _personal(kind, match)


def _find_identity(text: str) -> Iterator[Finding]:
    """Identity numbers of Spain, Mexico, Brazil, Chile and the United States."""
    for match in _DNI.finditer(text):
        number = match[1] or str("XYZ".index(match[2])) + match[3]
        if _DNI_LETTERS[int(number) % 23] == match[4] and len(set(number)) > 1:
            yield _personal("un DNI o NIE", match)
    for match in _CURP.finditer(text):
        yield _personal("una CURP", match)
    for match in _CPF.finditer(text):
        if _is_cpf(re.sub(r"\D", "", match[0])):
            yield _personal("un CPF", match)
    for match in _RUT.finditer(text):
        if _rut_digit(match[1].replace(".", "")) == match[2].upper():
            yield _personal("un RUT", match)
    for match in _SSN.finditer(text):
        yield _personal("un número de la Seguridad Social", match)


def _personal(kind: str, match: re.Match[str]) -> Finding:
    return Finding(code="personal_data", kind=kind, start=match.start(), end=match.end())


def _kind_of_number(text: str, match: re.Match[str]) -> str | None:
    shown = match[0]
    digits = re.sub(r"\D", "", shown)
    before = text[max(0, match.start() - AROUND) : match.start()]
    around = text[max(0, match.start() - AROUND) : match.end() + AROUND]
    is_card = 13 <= len(digits) <= 19 and _CARD_START.match(digits) and passes_luhn(digits) and len(set(digits)) > 1
    if is_card and (_CARD_GROUPS.fullmatch(shown) or (shown.isdigit() and _CARD_WORDS.search(around))):
        return "una tarjeta bancaria"
    return "un teléfono" if _is_phone(shown, digits, before) else None


def _is_phone(shown: str, digits: str, before: str) -> bool:
    """International form, the American form, or nine digits or more after a word that says so."""
    if len(digits) > 15 or len(set(digits)) <= 2 or (_FREE.match(digits) and len(digits) <= 11):
        return False
    if shown.startswith("+"):
        return 9 <= len(digits) <= 15 and (len(digits) >= 10 or bool(_PHONE_WORDS.search(before)))
    if _US_PHONE.fullmatch(shown):
        return True
    if not 9 <= len(digits) <= 13 or re.search(r"\d{4}-\d\d-\d\d|\d\d[./-]\d\d[./-]\d{4}", shown):
        return False
    return bool(_PHONE_WORDS.search(before)) and "." not in shown.strip(".")


def passes_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_iban(shown: str) -> bool:
    """ISO 13616: the number, letters as 10…35 and the first four characters last, leaves 1 modulo 97."""
    compact = shown.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _is_cpf(digits: str) -> bool:
    """Brazil's number: each of the last two digits is a weighted sum of those before it, modulo 11."""
    for length in (9, 10):
        total = sum(int(digit) * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return len(set(digits)) > 1


def _rut_digit(digits: str) -> str:
    """The control sign of a Chilean number: weights 2…7 from the right, modulo 11."""
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(digits)))
    return "0123456789K0"[11 - total % 11]


def cover(text: str) -> str:
    """The text with every finding replaced by what it was, in brackets."""
    parts: list[str] = []
    place = 0
    for finding in sorted(find_private(text), key=lambda finding: (finding.start, -finding.end)):
        if finding.start >= place:
            parts += [text[place : finding.start], f"[{finding.kind}]"]
        place = max(place, finding.end)
    return "".join([*parts, text[place:]])
