from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bhavcast.domain.price import (
    FINE,
    PAISE,
    band_limits,
    ceil_to_tick,
    default_band,
    default_tick,
    divide_half_up,
    floor_to_tick,
    format_price,
    nearest_tick,
    parse_price,
    percent_hundredths,
    rescale,
)

prices = st.integers(min_value=1, max_value=10**9)
ticks = st.sampled_from([1, 5, 25, 100])
scales = st.sampled_from([PAISE, FINE])


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("1931.30", 2, 193130),
        ("1352.4", 2, 135240),
        ("3132", 2, 313200),
        ("0.01", 2, 1),
        ("-12.50", 2, -1250),
        ("-0.00", 2, 0),
        ("007.5", 2, 750),
        ("99.8312", 4, 998312),
        ("1.50000000", 2, 150),
    ],
)
def test_a_decimal_is_read_exactly(text, scale, value):
    assert parse_price(text, scale) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "inf",
        "1e3",
        "1,931.30",
        "36,35,743.00/242.10",
        ".5",
        "5.",
        "+1.20",
        "--1",
        "1 2",
        " 1.20",
        "१२",
        "0x10",
        "1" * 14,
    ],
)
def test_what_is_not_a_plain_decimal_is_refused_with_what_came(text):
    with pytest.raises(ValueError, match="expected a decimal number, got"):
        parse_price(text)


def test_a_price_finer_than_its_scale_is_refused_and_not_rounded():
    with pytest.raises(ValueError, match=r"expected at most 2 decimals, got '1\.005'"):
        parse_price("1.005")


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [(193130, 2, "1931.30"), (0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (998312, 4, "99.8312"), (7, 0, "7")],
)
def test_a_price_is_written_with_all_its_decimals(value, scale, text):
    assert format_price(value, scale) == text


@given(st.integers(min_value=-(10**15), max_value=10**15 - 1), scales)
def test_what_is_written_is_read_back(value, scale):
    if abs(value) < 10 ** (13 + scale):
        assert parse_price(format_price(value, scale), scale) == value


def read(text):
    try:
        return parse_price(text)
    except ValueError as error:
        return str(error)


@given(st.text(max_size=20) | st.text(alphabet="0123456789.-+,eE ", max_size=20))
def test_any_text_is_a_number_or_its_own_error(text):
    result = read(text)
    assert isinstance(result, int) or result.startswith("expected")


@given(st.integers())
def test_a_finer_scale_and_back_loses_nothing(value):
    assert rescale(rescale(value, PAISE, FINE), FINE, PAISE) == value


def test_a_coarser_scale_is_refused_where_it_would_lose_digits():
    assert rescale(998300, FINE, PAISE) == 9983
    assert rescale(-998300, FINE, PAISE) == -9983
    with pytest.raises(ValueError, match=r"99\.8312 is finer than 2 decimals"):
        rescale(998312, FINE, PAISE)


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"),
    [(5, 2, 3), (-5, 2, -3), (5, -2, -3), (-5, -2, 3), (4, 3, 1), (5, 3, 2), (0, -7, 0), (1, 3, 0), (-1, 3, 0)],
)
def test_halves_are_rounded_away_from_zero(numerator, denominator, result):
    assert divide_half_up(numerator, denominator) == result


@given(st.integers(), st.integers().filter(bool))
def test_division_is_never_off_by_more_than_a_half(numerator, denominator):
    result = divide_half_up(numerator, denominator)
    assert abs(Fraction(numerator, denominator) - result) <= Fraction(1, 2)
    assert divide_half_up(-numerator, denominator) == -result


@pytest.mark.parametrize(("price", "tick"), [(1, 1), (9403, 1), (9999, 1), (10000, 5), (10603, 5), (3256505, 5)])
def test_the_usual_tick_is_a_paisa_below_a_hundred_rupees_and_five_from_there(price, tick):
    assert default_tick(price) == tick


@given(prices, ticks)
def test_floor_and_ceiling_are_the_valid_prices_around(price, tick):
    below, above, nearest = floor_to_tick(price, tick), ceil_to_tick(price, tick), nearest_tick(price, tick)
    assert below % tick == above % tick == 0
    assert below <= price <= above < below + 2 * tick
    assert (above - below) in (0, tick)
    assert nearest in (below, above)
    assert abs(nearest - price) * 2 <= tick


def test_the_nearest_price_is_the_higher_of_two():
    assert nearest_tick(50, 100) == 100
    assert nearest_tick(102, 5) == 100
    assert nearest_tick(103, 5) == 105


@pytest.mark.parametrize(
    ("previous_close", "percent", "tick", "limits"),
    [
        (100_00, 20, 5, (80_00, 120_00)),
        (193130, 10, 5, (173820, 212440)),  # 1738.17 and 2124.43: inward to the tick
        (9403, 5, 1, (8933, 9873)),  # 89.3285 and 98.7315
        (53, 2, 5, (50, 55)),  # 0.5194 to 0.5406 holds no multiple of 0.05
        (103, 2, 5, (105, 105)),
        (1, 5, 1, (1, 1)),
        (1, 5, 5, (5, 5)),
        (100_00, 100, 5, (5, 200_00)),
    ],
)
def test_circuit_limits_lie_inside_the_band_on_the_tick(previous_close, percent, tick, limits):
    assert band_limits(previous_close, percent, tick) == limits


@given(prices, st.sampled_from([2, 5, 10, 20]), ticks)
def test_circuit_limits_never_cross_and_are_valid_prices(previous_close, percent, tick):
    lower, upper = band_limits(previous_close, percent, tick)
    assert tick <= lower <= upper
    assert lower % tick == upper % tick == 0


@given(prices, st.sampled_from([2, 5, 10, 20]), ticks)
def test_a_close_on_the_tick_has_limits_around_it_and_inside_the_band(steps, percent, tick):
    previous_close = steps * tick
    lower, upper = band_limits(previous_close, percent, tick)
    assert lower <= previous_close <= upper
    assert lower * 100 >= previous_close * (100 - percent)
    assert upper * 100 <= previous_close * (100 + percent)
    assert (lower - tick) * 100 < previous_close * (100 - percent)
    assert (upper + tick) * 100 > previous_close * (100 + percent)


@pytest.mark.parametrize(
    ("group", "kind", "derivative", "band"),
    [
        ("A", "EQ", True, None),
        ("A", "EQ", False, 20),
        ("B", "EQ", False, 20),
        ("T", "EQ", False, 5),
        ("XT", "EQ", False, 5),
        ("Z", "EQ", False, 5),
        ("ZP", "EQ", False, 5),
        ("MT", "EQ", False, 5),
        ("TS", "EQ", False, 5),
        ("X", "EQ", False, 10),
        ("M", "EQ", False, 10),
        ("MS", "EQ", False, 10),
        ("E", "MF", False, None),
        ("F", "DB", False, None),
        ("G", "GS", False, None),
        ("", "IDX", False, None),
        ("R", "EQ", False, 20),
        ("", "EQ", False, 20),
    ],
)
def test_the_usual_band_follows_the_group(group, kind, derivative, band):
    assert default_band(group, kind, derivative) == band


@pytest.mark.parametrize(
    ("change", "previous_close", "hundredths"),
    [
        (1930, 193000, 100),
        (-1, 3, -3333),
        (5, 100_000, 1),
        (4, 100_000, 0),
        (-5, 100_000, -1),
        (10, 0, None),
        (10, -5, None),
    ],
)
def test_a_percentage_is_in_hundredths_of_the_previous_close(change, previous_close, hundredths):
    assert percent_hundredths(change, previous_close) == hundredths
