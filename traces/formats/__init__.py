"""Profiles of other tools as traces, and traces for other tools: one module a format, registered as ``codesign.formats``."""
