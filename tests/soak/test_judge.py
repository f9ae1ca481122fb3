"""The judge of a soak finds a leak, and is not taken in by noise."""

import random

import pytest

from tests.soak.judge import LEAST_SAMPLES, Allowance, judge

MB = 2.0**20
RSS = Allowance(share=0.03, amount=2 * MB)
COUNT = 360


def noise(seed: int, around: float, width: float) -> list[float]:
    dice = random.Random(seed)
    return [around + dice.uniform(-width, width) for _ in range(COUNT)]


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int) -> None:
    assert not judge(noise(seed, 80 * MB, 3 * MB), RSS).grows


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_five_percent_is_found_in_noise_of_the_same_size(seed: int) -> None:
    leaking = [level + 5 * MB * i / COUNT for i, level in enumerate(noise(seed, 80 * MB, 3 * MB))]
    found = judge(leaking, RSS)
    assert found.grows
    assert 2.5 * MB < found.growth < 5 * MB


def test_a_leak_under_a_sawtooth_is_found_and_the_sawtooth_alone_is_none() -> None:
    sawtooth = [80 * MB + i % 20 * 0.5 * MB for i in range(COUNT)]
    assert not judge(sawtooth, RSS).grows
    assert judge([level + 6 * MB * i / COUNT for i, level in enumerate(sawtooth)], RSS).grows


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7])
def test_a_step_that_comes_once_is_no_leak(at: float) -> None:
    assert not judge([80 * MB + (5 * MB if i > COUNT * at else 0) for i in range(COUNT)], RSS).grows


def test_steps_that_keep_coming_are_a_leak() -> None:
    assert judge([80 * MB + i // 60 * MB for i in range(COUNT)], RSS).grows


def test_growth_that_comes_to_an_end_is_no_leak_and_a_rest_of_it_within_the_allowance_neither() -> None:
    assert not judge([80 * MB + min(i / 100, 1) * 5 * MB for i in range(COUNT)], RSS).grows
    assert not judge([80 * MB + 2 * MB * i / COUNT for i in range(COUNT)], RSS).grows


def test_a_few_outliers_and_a_fall_are_no_leak() -> None:
    assert not judge([80 * MB + (50 * MB if i % 40 == 7 or i > COUNT - 5 else 0) for i in range(COUNT)], RSS).grows
    assert not judge([80 * MB - 10 * MB * i / COUNT for i in range(COUNT)], RSS).grows


def test_one_descriptor_lost_now_and_then_is_found() -> None:
    few = Allowance(share=0.1, amount=3)
    assert judge([20 + i // 60 for i in range(COUNT)], few).grows
    assert not judge([20 + (i % 7 == 0) * 6 for i in range(COUNT)], few).grows


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="15 samples tell nothing"):
        judge([1.0] * (LEAST_SAMPLES - 1), RSS)
