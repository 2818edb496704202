"""Does a message about an unknown name help to find the right one?"""

from traces.errors import MOST_LISTED, nearest


def test_near_names_come_first_and_at_most_three() -> None:
    assert nearest("a500", ["a100", "a5000", "t4"]) == "did you mean 'a5000' or 'a100'?"
    assert nearest("A5000", ["a5000", "cpu"]) == "did you mean 'a5000'?"
    assert nearest("a", ["a1", "a2", "a3", "a4"]).count(" or ") == 2


def test_names_that_are_not_near_are_all_listed_unless_they_are_many() -> None:
    few = [f"{number:03}" for number in range(MOST_LISTED)]
    assert nearest("zzz", few) == "known: " + ", ".join(few)
    assert nearest("zzz", [*few, "999", "998"]) == "known: " + ", ".join(few) + " and 2 more"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
