"""What the project knows of its own accuracy: every published number beside ours, in one table."""

from codesign.validation.validating import PARTS, Validation, validate

__all__ = ["PARTS", "Validation", "validate"]
