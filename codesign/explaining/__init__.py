"""Why a replay took as long as it did, and what would shorten it."""

from codesign.explaining.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
