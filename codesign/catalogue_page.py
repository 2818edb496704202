"""The page of the catalogue, docs/catalogue.md: ``python -m codesign.catalogue_page > docs/catalogue.md``."""

import sys

from arch.entry import Entry
from arch.examples import example_of
from arch.registered import find, names
from arch.rows import KINDS

_HEAD = """# The catalogue

Every device, memory, link and host that a machine's name may have, each with a machine that has it: `codesign machines NAME` prints its
numbers with units and sources and what is not modelled, `-o FILE.png` draws it. Hypothetical ones are in italics. This page is made by
`python -m codesign.catalogue_page`.
"""


def page() -> str:
    """Return the page: a table for each kind."""
    entries = [find(name) for name in names()]
    captions = dict.fromkeys(KINDS.values())
    parts = [_HEAD]
    for caption in captions:
        here = [entry for entry in entries if KINDS[entry.kind] == caption]
        if here:
            parts += [f"\n## {caption}\n\n| name | also | what it is | in a machine |\n| --- | --- | --- | --- |\n", *map(_row, here)]
    return "".join(parts)


def _row(entry: Entry) -> str:
    name = f"*`{entry.id}`*" if entry.hypothetical else f"`{entry.id}`"
    also = ", ".join(f"`{alias}`" for alias in entry.aliases)
    example = example_of(entry)
    return f"| {name} | {also} | {entry.description} | {f'`{example}`' if example else 'none: `codesign predict` uses it'} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
