"""Discord on loopback: the server behind the end-to-end tests and behind the demo.

It speaks Discord's REST and gateway to an unmodified discord.py client and lets scripted people act as in the app.
It imports nothing of the bot; they meet over HTTP and WebSocket.
"""

from playground.answers import Answer, Field, Modal
from playground.faults import Faults
from playground.forms import Impossible
from playground.limits import Limits, Rate
from playground.people import Channel, Person
from playground.permissions import Permission
from playground.remote import RemotePlayground
from playground.server import TOKEN, Playground
from playground.views import Button, File, Message, NoAnswer, Select

__all__ = [
    "TOKEN",
    "Answer",
    "Button",
    "Channel",
    "Faults",
    "Field",
    "File",
    "Impossible",
    "Limits",
    "Message",
    "Modal",
    "NoAnswer",
    "Permission",
    "Person",
    "Playground",
    "Rate",
    "RemotePlayground",
    "Select",
]
