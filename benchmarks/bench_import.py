"""How long a large profile takes to import, and how much memory."""

import gzip
import sys
import tempfile
from pathlib import Path

from benchmarks.rows import Row, measure

SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "profiles" / "alexnet_kineto.json.gz"
BYTES = 100_000_000


def large_profile(path: Path) -> None:
    """Write a Kineto file of 100 MB: the events of a real one again and again, host and device, each time 100 s later."""
    text = gzip.decompress(SAMPLE.read_bytes()).decode()
    begin = text.index("[", text.index('"traceEvents"')) + 1
    end = text.index("\n  ]", begin)
    events = text[begin:end]
    with path.open("w") as stream:
        stream.write(text[:begin] + events)
        for repeat in range(1, BYTES // len(events) + 1):
            stream.write("," + events.replace('"ts": 16958', f'"ts": {16958 + repeat}'))
        stream.write(text[end:])


def rows() -> list[Row]:
    """Return seconds and peak memory of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "large.json"
        large_profile(profile)
        command = [sys.executable, "-m", "codesign", "import", str(profile), "-o", str(Path(folder) / "large.trace"), "--json"]
        used = measure("command", *command)
        size = profile.stat().st_size / 1e6
    return [
        Row(f"import a Kineto profile of {size:,.0f} MB", used["seconds"], "s", 10, "lower"),
        Row("its peak memory", used["peak_bytes"] / 1e9, "GB", 1, "lower"),
    ]
