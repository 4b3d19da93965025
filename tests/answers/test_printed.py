"""What answers, figures and attempts look like in a REPL and in a notebook."""

from __future__ import annotations

from array import array
from decimal import Decimal

import pytest

from llm_router.answers.answer import Answer, Attempt
from llm_router.answers.completion import Completion, ParsedCompletion, ToolCall
from llm_router.answers.embeddings import Embeddings
from llm_router.errors import ProviderUnavailableError
from llm_router.usage import Cost, Usage

BILL = Cost.from_report(Decimal("0.0000039"))
USAGE = Usage(input_tokens=1200, output_tokens=9)
TRIED = Attempt(
    number=1, deployment="openrouter/a/b", provider="openrouter", model="a/b", status="failed",
    error=ProviderUnavailableError("No."), status_code=503, latency_ms=12.4,
)  # fmt: skip


def kinds(cls: type[Answer] = Answer) -> list[type[Answer]]:
    found = [kind for sub in cls.__subclasses__() for kind in kinds(sub)]
    return [cls, *found]


def test_a_completion_is_a_line_and_money_is_plain() -> None:
    reply = Completion(
        requested_model="openrouter/a/b", upstream_provider="OpenAI", request_id="01a2",
        usage=USAGE, cost=BILL, latency_ms=12.4, attempts=(TRIED, TRIED), text="The sky\nis blue",
    )  # fmt: skip
    assert repr(reply) == (
        "<Completion 'The sky\\nis blue' (openrouter/a/b, via OpenAI, 1,200 + 9 tokens, "
        "0.0000039 USD, 12 ms, 2 attempts, request 01a2)>"
    )


def test_what_nobody_knows_is_said_to_be_unknown() -> None:
    assert repr(Completion(model="b")) == "<Completion '' (b, ? + ? tokens, cost unknown)>"
    assert repr(Usage()) == "Usage()"
    assert repr(Cost(total=Decimal("3.9E-6"))) == "Cost(total=0.0000039, source=unknown)"


def test_an_attempt_says_how_it_ended() -> None:
    assert repr(TRIED) == "<Attempt 1 openrouter/a/b: failed, ProviderUnavailableError, 503, 12 ms>"


def test_tool_calls_objects_and_vectors_are_named() -> None:
    call = ToolCall(name="weather", raw_arguments="{}")
    assert repr(Completion(tool_calls=(call,))).startswith("<Completion weather(…) (")
    parsed = ParsedCompletion(parsed={"x": 1}, mode_used="tool")
    assert repr(parsed).startswith("<ParsedCompletion {'x': 1} (")
    vectors = Embeddings(vectors=(array("f", [1, 2, 3]),) * 2)
    assert repr(vectors).startswith("<Embeddings 2 of 3 (")


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_no_answer_prints_a_wall(kind: type[Answer]) -> None:
    assert kind.__repr__ is Answer.__repr__, "decorate it with repr=False and say its gist()"


def test_a_long_text_is_cut_and_markup_is_shown_as_text_in_a_notebook() -> None:
    reply = Completion(text="<script>alert(1)</script>" * 900, model="<b>")
    assert len(repr(reply)) < 200
    shown = reply._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown and "<th>model</th>" in shown
