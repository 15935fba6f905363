from dataclasses import field, replace

import pytest

from mulligan.core.value import value


@value
class Point:
    x: int
    y: int = 0


@value
class Place(Point):
    name: str = field(default="", repr=False)


@value
class Alone:
    items: dict[str, int]


@value
class Nothing:
    pass


@value
class Odd:
    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and self.number % 2 == other.number % 2

    def __hash__(self) -> int:
        return self.number % 2


def test_value_compares_and_hashes_by_its_fields():
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_value_refuses_a_field_that_it_does_not_have():
    point = Point(1)

    with pytest.raises(AttributeError, match="z"):
        point.z = 3  # type: ignore[attr-defined] # the point of the test


def test_value_is_another_one_when_its_class_is_another():
    assert Point(1, 2) != Place(1, 2)
    assert Place(1, 2, "here") != Place(1, 2, "there")
    assert replace(Place(1, 2), name="there") == Place(1, 2, "there")
    assert Nothing() == Nothing()
    assert Point(1) != 1


def test_value_shows_its_fields_but_those_that_are_not_to_be_seen():
    assert repr(Place(1, 2, "secret")) == "Place(x=1, y=2)"
    assert (repr(Alone({"a": 1})), repr(Nothing())) == ("Alone(items={'a': 1})", "Nothing()")


def test_value_can_not_be_hashed_when_a_field_can_not():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Alone({}))


def test_value_keeps_the_comparison_that_its_class_has_itself():
    assert Odd(1) == Odd(3)
    assert len({Odd(1), Odd(3), Odd(2)}) == 2


def test_value_can_be_taken_apart_by_a_pattern():
    match Place(1, 2, "here"):
        case Place(x, y, name):
            assert (x, y, name) == (1, 2, "here")
