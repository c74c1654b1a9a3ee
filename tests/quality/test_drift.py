"""The data contract: every change of the source has one decision, and freezing says why."""

from __future__ import annotations

import pytest

from apps.quality.contracts import ContractField, DataContract
from apps.quality.exceptions import ContractBroken
from apps.quality.services.drift import compare_schema, ensure_contract, is_widening

AGREED = (ContractField("id", "BIGINT"), ContractField("total", "DECIMAL(10,2)"), ContractField("note", "VARCHAR"))


def fields(*pairs: str) -> list[ContractField]:
    return [ContractField(*pair.split(":")) for pair in pairs]


def test_an_unchanged_source_has_no_decisions():
    report = compare_schema(DataContract(fields=AGREED), list(reversed(AGREED)))
    assert report.decisions == ()
    assert report.fields == AGREED


def test_without_agreed_fields_nothing_can_differ():
    report = compare_schema(DataContract(new_column="freeze"), fields("a:BIGINT"))
    assert report.decisions == ()
    assert [item.name for item in report.fields] == ["a"]


@pytest.mark.parametrize(
    ("mode", "used", "action", "kept"),
    [
        ("freeze", False, "stop", True),
        ("null", True, "fill_null", True),
        ("evolve", True, "fill_null", False),  # the contract forgets it
        ("quarantine", True, "quarantine_all", True),
        ("quarantine", False, "skip", True),
        ("ignore", False, "skip", True),
        ("ignore", True, "stop", True),  # nothing can be computed from nothing
    ],
)
def test_missing_column(mode, used, action, kept):
    contract = DataContract(missing_column=mode, fields=AGREED)
    report = compare_schema(contract, AGREED[:2], used={"note"} if used else ())
    (decision,) = report.decisions
    assert (decision.column, decision.action, decision.used) == ("note", action, used)
    assert ("note" in {item.name for item in report.fields}) is kept


@pytest.mark.parametrize(
    ("mode", "action", "type_after"),
    [
        ("freeze", "stop", "DECIMAL(10,2)"),
        ("evolve", "accept", "DECIMAL(18,2)"),
        ("quarantine", "cast", "DECIMAL(10,2)"),
        ("ignore", "accept", "DECIMAL(10,2)"),
    ],
)
def test_changed_type(mode, action, type_after):
    actual = [AGREED[0], ContractField("total", "DECIMAL(18,2)"), AGREED[2]]
    report = compare_schema(DataContract(type_change=mode, fields=AGREED), actual)
    (decision,) = report.decisions
    assert (decision.change, decision.action) == ("type_change", action)
    assert "(wider)" in decision.message
    assert report.fields[1].type == type_after


@pytest.mark.parametrize(
    ("mode", "action", "joins"),
    [
        ("freeze", "stop", False),
        ("evolve", "accept", True),
        ("quarantine", "quarantine_rows", False),
        ("ignore", "skip", False),
    ],
)
def test_new_column(mode, action, joins):
    report = compare_schema(DataContract(new_column=mode, fields=AGREED), [*AGREED, ContractField("vat", "DOUBLE")])
    (decision,) = report.decisions
    assert (decision.column, decision.action) == ("vat", action)
    assert ("vat" in {item.name for item in report.fields}) is joins


def test_a_frozen_contract_names_every_change():
    contract = DataContract("freeze", "freeze", "freeze", AGREED)
    report = compare_schema(contract, fields("id:VARCHAR", "total:DECIMAL(10,2)", "vat:DOUBLE"))
    with pytest.raises(ContractBroken) as broken:
        ensure_contract(report)
    assert broken.value.code == "quality.contract_broken"
    assert [problem.code for problem in broken.value.problems] == [
        "quality.type_change",
        "quality.missing_column",
        "quality.new_column",
    ]
    assert "'id' was BIGINT and is now VARCHAR" in broken.value.message
    assert broken.value.remedy


def test_harmless_changes_do_not_stop():
    ensure_contract(compare_schema(DataContract(fields=AGREED), [*AGREED, ContractField("vat", "DOUBLE")]))


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ("INTEGER", "BIGINT", True),
        ("BIGINT", "INTEGER", False),
        ("DECIMAL(10,2)", "DECIMAL(18,2)", True),
        ("DECIMAL(10,2)", "DECIMAL(10,4)", False),  # fewer digits before the point
        ("INTEGER", "DECIMAL(12,2)", True),
        ("DECIMAL(18,2)", "DOUBLE", False),  # money never becomes a binary float quietly
        ("BIGINT", "VARCHAR", True),
        ("VARCHAR", "BIGINT", False),
        ("DATE", "TIMESTAMP", True),
    ],
)
def test_widening(before, after, wider):
    assert is_widening(before, after) is wider
