"""How a command says that it cannot do what it was asked."""

from __future__ import annotations


class Failure(Exception):
    """Ends the command with status 1; the message is for the user."""
