"""The routes of the contract, by noun. A route reads a `Call`, asks the rules, changes the world, returns JSON."""

from __future__ import annotations

from playground.rest import Route
from playground.routes import accounts, messages, threads, webhooks


def table() -> list[Route]:
    """Every route; whatever is not here is unhandled."""
    return [*accounts.ROUTES, *messages.ROUTES, *threads.ROUTES, *webhooks.ROUTES]
