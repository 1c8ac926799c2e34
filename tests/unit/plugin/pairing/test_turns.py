"""The order of turns."""

from __future__ import annotations

from itertools import islice

from pytest_llmperf.plugin.pairing.turns import MOST_SEED, draw_orders, draw_seed


def draw(seed: int, nodeid: str) -> list[bool]:
    return list(islice(draw_orders(seed, nodeid), 24))


def test_a_seed_gives_each_test_an_order_of_its_own_and_the_same_one_again() -> None:
    orders = {(seed, test): draw(seed, test) for seed in (1, 2) for test in ("test_a", "test_b")}
    assert orders[1, "test_a"] == draw(1, "test_a")
    assert len({tuple(order) for order in orders.values()}) == 4


def test_each_two_pairs_have_both_orders() -> None:
    for seed in range(20):
        order = draw(seed, "test_a")
        assert all({first, second} == {True, False} for first, second in zip(order[::2], order[1::2], strict=True))


def test_a_run_that_was_given_no_seed_draws_one() -> None:
    assert all(0 <= draw_seed() < MOST_SEED for _ in range(20))
