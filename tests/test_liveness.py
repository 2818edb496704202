"""How much memory is taken at each launch?"""

from tests.toys import Toy
from traces.liveness import live_bytes


def test_parameters_count_throughout_and_temporaries_while_they_live():
    toy = Toy()
    toy.tensor("x", 100, "parameter")
    toy.tensor("t", 10)
    toy.tensor("y", 1, "output")
    toy.kernel("a", ["x"], ["t"])
    toy.kernel("b", ["t"], ["y"])
    toy.kernel("c", ["x"], [])
    assert list(live_bytes(toy.build())) == [110, 111, 101]


def test_tensors_of_one_alias_set_are_one_allocation_as_large_as_the_largest():
    toy = Toy()
    toy.tensor("x", 100, "parameter")
    toy.tensor("t", 10)
    toy.tensor("u", 30, alias="t")
    toy.kernel("a", ["x"], ["t"])
    toy.kernel("b", ["t"], ["u"])
    assert list(live_bytes(toy.build())) == [130, 130]


def test_what_a_loop_reads_lives_to_the_loops_end():
    toy = Toy()
    toy.tensor("t", 10)
    toy.kernel("before", [], ["t"])
    with toy.loop(5):
        toy.kernel("reads", ["t"], [])
        toy.kernel("rest", [], [])
    toy.kernel("after", [], [])
    assert list(live_bytes(toy.build())) == [10, 10, 10, 0]


def test_a_trace_without_launches_takes_nothing():
    assert list(live_bytes(Toy().build())) == []
