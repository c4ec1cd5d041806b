from collections.abc import Iterator
from threading import Barrier

import pytest

from ftool.prepare.decide.threads import mapped


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_parts(workers: int) -> None:
    assert list(mapped(lambda part: part * part, range(40), workers)) == [n * n for n in range(40)]
    assert list(mapped(lambda part: part, [], workers)) == []


def test_parts_are_worked_on_beside_each_other() -> None:
    meeting = Barrier(2, timeout=20)  # broken where one waits for the other
    assert list(mapped(lambda part: meeting.wait() * 0 + part, range(6), 2)) == list(range(6))


@pytest.mark.parametrize("workers", [1, 2])
def test_few_parts_are_in_memory(workers: int) -> None:
    taken = 0

    def parts() -> Iterator[int]:
        nonlocal taken
        for number in range(1, 101):
            taken = number
            yield number

    for done, _ in enumerate(mapped(lambda part: part, parts(), workers), start=1):
        assert taken - done <= 2 * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_in_a_part_reaches_the_caller(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(mapped(lambda part: 1 // part, [1, 2, 0, 3], workers))
