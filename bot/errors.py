"""Refusals that a person may read, on the Discord side; one tree with `jobs.errors`.

    jobs.errors.AfinaError
    ├── NotAllowed          the person may not do this
    ├── LimitReached        the person may, but has used up a limit
    ├── NotFound            no such dataset, job, model or thread for this person in this server
    ├── WrongState          the thing exists, but not in a state where this makes sense
    └── BadInput            what the person wrote cannot be used

`bot/client.py` is the one place that turns them into replies. Somebody else's private thing is NotFound, never
NotAllowed: its existence is private too.
"""

from __future__ import annotations

from jobs.errors import AfinaError


class NotAllowed(AfinaError):
    code = "not_allowed"
    default = "No tienes permiso para hacer esto."
    default_hint = "Pregunta a quien administra el servidor."


class LimitReached(AfinaError):
    code = "limit_reached"
    default = "Has llegado a un límite."
    default_hint = "Mira lo que te queda con /limites."


class NotFound(AfinaError):
    code = "not_found"
    default = "No lo encuentro."
    default_hint = "Revisa el nombre; las listas muestran lo que tienes."


class WrongState(AfinaError):
    code = "wrong_state"
    default = "Ahora no se puede hacer eso."
    default_hint = ""


class BadInput(AfinaError):
    code = "bad_input"
    default = "No entiendo lo que me has dado."
    default_hint = "Revísalo e inténtalo otra vez."
