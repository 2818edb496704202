"""What hardware is called in tables and figures."""


def hypothetical_label(name: str, hypothetical: bool) -> str:
    """Return a device's or a machine's name, marked if nobody sells it."""
    return f"{name} (hypothetical)" if hypothetical else name
