"""The command line. Nothing heavy is imported before a command needs it."""


def main() -> None:
    """Run the command line; the entry point ``codesign``."""
    from codesign.cli.app import app

    app()
