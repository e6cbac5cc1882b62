"""What the routes work on, in one place.

Rule: a bundle of references, without behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playground.limits import Limits
from playground.model import Json
from playground.payloads import Payloads
from playground.world import World

if TYPE_CHECKING:
    from playground.commands import Commands
    from playground.faults import Faults
    from playground.interactions import Interactions


@dataclass(kw_only=True)
class Api:
    world: World
    payloads: Payloads
    commands: Commands
    interactions: Interactions
    faults: Faults
    limits: Limits
    message_content: bool = True  # whether the application holds that privilege: governs what REST shows
    nonces: dict[str, Json] = field(default_factory=dict)
