"""What a user asks to be drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arch.machine import Machine


@dataclass(frozen=True)
class Request:
    """What to draw, and how."""

    subject: Any
    machine: "Machine | str | None"
    title: str | None
    window: tuple[float, float] | None
    published: Sequence[tuple[str, Mapping[tuple[str, str], float]]]
    labels: tuple[str, ...] = ()
