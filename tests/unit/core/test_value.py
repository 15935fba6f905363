import pytest

from mulligan.core.value import value


@value
class Point:
    x: int
    y: int = 0


def test_value_compares_and_hashes_by_its_fields():
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_value_refuses_a_field_that_it_does_not_have():
    point = Point(1)

    with pytest.raises(AttributeError, match="z"):
        point.z = 3  # type: ignore[attr-defined] # the point of the test
