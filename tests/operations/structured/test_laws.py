"""The laws of structured output, over random schemas, with a second validator as the judge.

Whatever an instance of the strict form is read into is an instance of the original; what is read
at all is valid, and nothing in it was not said; drafts mean here what they mean elsewhere.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from llm_router.errors import ConfigurationError
from llm_router.operations.structured.reading import read_text
from llm_router.operations.structured.schema import MismatchError, Schema
from tests.operations.structured.cases import CASES, Case
from tests.operations.structured.generated import (
    JSON,
    any_document,
    plain_document,
    strict_instance,
)

judge = pytest.importorskip("jsonschema_rs")

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
MANY = settings(max_examples=60, deadline=None, suppress_health_check=QUIET)


def is_valid(schema: Any, data: Any, *, formats: bool = True) -> bool:
    return bool(judge.validator_for(schema, validate_formats=formats).is_valid(data))


def is_said(read: Any, said: Any) -> bool:
    """Return whether *read* is what was *said*, but for nulls that were left out."""
    if isinstance(read, dict):
        if not isinstance(said, dict) or not read.keys() <= said.keys():
            return False
        left_out = [said[name] for name in said.keys() - read.keys()]
        return left_out == [None] * len(left_out) and all(is_said(read[n], said[n]) for n in read)
    if isinstance(read, list):
        return (
            isinstance(said, list)
            and len(read) == len(said)
            and all(is_said(*pair) for pair in zip(read, said, strict=True))
        )
    return bool(read == said) and type(read) is type(said)


@MANY
@given(plain_document(), st.data())
def test_an_instance_of_the_strict_form_is_read_into_one_of_the_original(
    document: Any, data: st.DataObject
) -> None:
    schema = served(document)
    assume(schema.strict is not None)
    written = data.draw(strict_instance(schema.strict, schema.strict))
    assume(is_valid(schema.strict, written))
    read = schema.validate_strict(json.dumps(written))
    assert is_valid(document, read)
    assert is_said(read, written)


@pytest.mark.parametrize("case", [c for c in CASES if c.strict], ids=lambda case: case.name)
@settings(max_examples=15, deadline=None, suppress_health_check=QUIET)
@given(data=st.data())
def test_what_a_type_reads_was_said_and_is_valid(case: Case, data: st.DataObject) -> None:
    schema: Schema[Any] = Schema.of(case.schema)
    assert schema.strict is not None
    written = data.draw(strict_instance(schema.strict, schema.strict))
    try:
        read = schema.validate_strict(json.dumps(written))
    except MismatchError:
        return  # formats, lengths and the like are said in words only
    if isinstance(case.schema, dict):
        assert is_valid(case.schema, read, formats=False)  # `uri` is an annotation here
        assert is_said(read, written["value"] if schema.wrapped else written)
        return
    dumped = TypeAdapter(case.schema).dump_python(
        read, mode="json", by_alias=True, exclude_unset=True
    )
    said = written["value"] if schema.wrapped else written
    assert keys_of(dumped) <= keys_of(said)


def keys_of(data: Any) -> set[str]:
    """Return every key in *data*, at whatever depth."""
    if isinstance(data, dict):
        return set(data) | {key for value in data.values() for key in keys_of(value)}
    return {key for item in data for key in keys_of(item)} if isinstance(data, list) else set()


def served(document: Any) -> Schema[Any]:
    """Return the Schema of *document*; one that never ends is refused, and not meant here."""
    try:
        return Schema.of(document)
    except ValueError as error:
        assert "leads back" in str(error) or "not a valid JSON Schema" in str(error)
        assume(False)
        raise


@pytest.mark.parametrize("new", [True, False], ids=["2020-12", "draft 7"])
@MANY
@given(data=st.data())
def test_what_is_valid_and_what_is_not_is_so_for_another_validator(
    new: bool, data: st.DataObject
) -> None:
    document = data.draw(any_document(new))
    schema = served(document)
    for it in data.draw(st.lists(JSON, min_size=1, max_size=6)):
        said = {"it": it}
        try:
            read = read_text(json.dumps(said), schema).value
        except MismatchError as error:
            assert "too deeply" in str(error) or not is_valid(document, said)
        else:
            assert is_valid(document, read)
            assert is_said(read, said)


@pytest.mark.parametrize("new", [True, False], ids=["2020-12", "draft 7"])
@MANY
@given(data=st.data())
def test_every_schema_is_served_or_refused_in_words(new: bool, data: st.DataObject) -> None:
    document = data.draw(any_document(new))
    try:
        for root in (
            document,
            {**document, **document["$defs"]["A"]}
            if isinstance(document["$defs"]["A"], dict)
            else document,
        ):
            schema = Schema.of(root)
            assert schema.strict is None or is_valid(schema.strict, {}) in (True, False)
            assert judge.validator_for(schema.json_schema)
            for it in data.draw(st.lists(JSON, min_size=1, max_size=3)):
                read_any(schema, it)
    except (ValueError, ConfigurationError):
        return


def read_any(schema: Schema[Any], said: Any) -> None:
    for strict in (True, False):
        try:
            read_text(json.dumps(said), schema, strict=strict)
        except MismatchError:
            continue
