"""How long a large profile takes to import, and how much memory."""

import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import Row

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
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            _, status, usage = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if running.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {running.returncode}")
        size = profile.stat().st_size / 1e6
    return [
        Row(f"import a Kineto profile of {size:,.0f} MB", seconds, "s", 10, "lower"),
        Row("its peak memory", usage.ru_maxrss * 1024 / 1e9, "GB", 1, "lower"),
    ]
