"""Tokens and money: unknown is never zero, sums are exact, and text is plain decimal."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.usage import Cost, Usage, format_usd

MONEY = st.decimals(min_value=0, max_value=1000, places=12)
TOKENS = st.none() | st.integers(0, 10**9)
COUNTS = [field.name for field in fields(Usage) if field.name != "unit"]
USAGES = st.builds(Usage, unit=st.just("second"), **dict.fromkeys(COUNTS, TOKENS))


@given(st.lists(USAGES, min_size=1, max_size=5))
def test_a_sum_of_usage_knows_a_field_only_when_every_part_does(usages: list[Usage]) -> None:
    total = Usage.sum(usages)
    for name in COUNTS:
        parts = [getattr(usage, name) for usage in usages]
        assert getattr(total, name) == (None if None in parts else sum(parts))
    assert total.unit == "second"


def test_units_of_two_kinds_are_not_added() -> None:
    two = [Usage(input_tokens=1, units=2, unit="image"), Usage(input_tokens=1, units=3.5)]
    assert Usage.sum(two) == Usage(input_tokens=2)


def test_a_sum_of_nothing_is_unknown() -> None:
    assert Usage.sum([]) == Usage()
    assert Cost.sum([]) == Cost()


@given(MONEY)
def test_what_the_provider_reports_is_the_total(amount: Decimal) -> None:
    cost = Cost.from_report(amount, is_byok=False, upstream=amount)
    assert (cost.total, cost.reported, cost.upstream) == (amount, amount, None)
    assert (cost.source, cost.is_byok) == ("provider", False)


def test_a_free_answer_costs_zero_and_an_unreported_one_is_unknown() -> None:
    assert Cost.from_report(Decimal(0)).total == 0
    assert Cost.from_report(Decimal(0)).source == "provider"
    unknown = Cost.from_report(None, computed=Decimal("0.1"))
    assert (unknown.total, unknown.source, unknown.computed) == (None, "unknown", Decimal("0.1"))


@given(MONEY, MONEY)
def test_ones_own_key_pays_the_fee_and_the_upstream(fee: Decimal, bill: Decimal) -> None:
    cost = Cost.from_report(fee, is_byok=True, upstream=bill)
    assert (cost.total, cost.upstream) == (fee + bill, bill)
    assert Cost.from_report(fee, is_byok=True).total is None
    assert Cost.from_report(fee, is_byok=True).source == "unknown"
    assert Cost.from_report(None, is_byok=True, upstream=bill).total is None


@given(st.lists(MONEY, min_size=1, max_size=6))
def test_a_sum_of_costs_is_exact(amounts: list[Decimal]) -> None:
    total = Cost.sum(Cost.from_report(amount) for amount in amounts)
    assert total.total == total.reported == sum(amounts)
    assert total.source == "provider"


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    total = Cost.sum([Cost.from_report(Decimal(1)), Cost()])
    assert (total.total, total.source) == (None, "unknown")


def test_a_sum_with_and_without_ones_own_key_adds_the_upstream_of_those_that_have_one() -> None:
    own = Cost.from_report(Decimal("0.1"), is_byok=True, upstream=Decimal("2"))
    theirs = Cost.from_report(Decimal("0.5"), is_byok=False)
    total = Cost.sum([own, theirs])
    assert (total.total, total.reported, total.upstream) == (
        Decimal("2.6"),
        Decimal("0.6"),
        Decimal("2"),
    )
    assert total.is_byok is True


@pytest.mark.parametrize(
    ("flags", "joint"),
    [((False, False), False), ((None, False), None), ((None, None), None)],
)
def test_a_sum_says_whose_key_paid_only_when_all_parts_agree(
    flags: tuple[bool | None, ...], joint: bool | None
) -> None:
    assert Cost.sum(Cost.from_report(Decimal(1), is_byok=flag) for flag in flags).is_byok is joint


def test_a_sum_is_local_as_soon_as_a_part_was_priced_locally() -> None:
    local = Cost(total=Decimal(1), computed=Decimal(1), source="local")
    assert Cost.sum([local, Cost.from_report(Decimal(1))]).source == "local"
    assert Cost.sum([local]) is local


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("3.9E-6", "0.0000039"),
        ("0", "0"),
        ("1E+2", "100"),
        ("0.10", "0.10"),
        ("1E-12", "0.000000000001"),
    ],
)
def test_money_is_plain_decimal_text(amount: str, text: str) -> None:
    assert format_usd(Decimal(amount)) == text


@given(MONEY)
def test_money_as_text_reads_back_exactly(amount: Decimal) -> None:
    shown = Cost.from_report(amount).to_dict()
    assert Decimal(shown["total"]) == amount
    assert "E" not in shown["total"]
    assert shown["upstream"] is None


def test_usage_as_data_keeps_what_is_unknown() -> None:
    assert Usage(input_tokens=3).to_dict() == {
        "input_tokens": 3,
        "output_tokens": None,
        "total_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "units": None,
        "unit": None,
    }
