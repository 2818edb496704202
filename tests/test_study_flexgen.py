"""What does FlexGen's offloading owe to each of its parts?"""

import pytest

from studies.flexgen import PUBLISHED, VARIANTS, setting, throughputs, varied


def test_a_variant_changes_one_thing() -> None:
    _, _, mapping = setting()
    assert mapping.offload is not None
    assert varied(mapping, {}) == mapping
    assert (setting(host=False)[2].device.max(), mapping.device.max()) == (0, 1)
    pageable = varied(mapping, VARIANTS["pageable memory"]).offload
    assert pageable is not None
    assert (pageable.pinned, pageable.distance) == (False, mapping.offload.distance)


@pytest.mark.slow
def test_pinned_memory_is_what_counts_and_conversions_cost_what_the_link_would() -> None:
    """Pageable copies take a fifth of the throughput, prefetching gives 1 %. All are within a quarter of the published."""
    found = throughputs()
    base = found["FlexGen (distance 1)"]
    assert all(0.75 < value / PUBLISHED < 1.25 for value in found.values())
    assert 1 < found["attention on the GPU"] / base < 1.1
    assert found["pageable memory"] < 0.85 * base
    assert 0.95 < found["distance 0"] / base <= 1
