"""`embed`, `rerank`, `image`, `speak`, `transcribe` and `search`: files and lines in and out."""

from __future__ import annotations

import asyncio
import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from llm_router.cli.ask import router_for, summary
from llm_router.cli.terminal import config_option, json_option, on_one_line, say, say_json
from llm_router.options.questions import ImageQuality, SpeechFormat, Timestamps

if TYPE_CHECKING:
    from llm_router.answers.answer import Answer

_model = click.argument("model", metavar="ALIAS|PROVIDER/MODEL")


def _answer(method: str, model: str, config: str | None, *args: Any, **options: Any) -> Any:
    """Ask, say on standard error who answered and for how much, and return the answer."""
    given = {name: value for name, value in options.items() if value is not None}

    async def ask() -> Answer:
        async with router_for(model, config) as router:
            answer: Answer = await getattr(router, method)(model, *args, **given)
            return answer

    try:
        answer = asyncio.run(ask())
    except ValueError as error:  # an input that no operation takes, before anything was sent
        raise click.UsageError(str(error)) from None
    say(on_one_line(summary(answer)), err=True)
    return answer


def _lines(file: Any) -> list[str]:
    return [line for line in file.read().splitlines() if line.strip()]


@click.command()
@_model
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@config_option
@click.option("--dimensions", type=click.IntRange(min=1), help="Shorten the vectors to so many.")
@click.option("--input-type", help="search_query, search_document, …")
def embed(model: str, file: Any, config: str | None, **options: Any) -> None:
    """Print a vector as JSON for each line of FILE (standard input when it is "-")."""
    for vector in _answer("embed", model, config, _lines(file), **options).vectors:
        say_json(vector.tolist(), indent=None)


@click.command()
@_model
@click.argument("query")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@config_option
@click.option("--top-n", type=click.IntRange(min=1), help="The best so many only.")
def rerank(model: str, query: str, file: Any, config: str | None, **options: Any) -> None:
    """Print the lines of FILE with their scores, those first that answer QUERY best."""
    for one in _answer("rerank", model, config, query, _lines(file), **options).results:
        say(f"{one.score:.4f}\t{on_one_line(one.document)}")


@click.command()
@_model
@click.argument("prompt")
@config_option
@click.option("--output", "-o", default="image", help="The beginning of the files' names.")
@click.option("-n", type=click.IntRange(1, 10), help="At most so many.")
@click.option("--size", help="1024x1024 or 2K.")
@click.option("--aspect-ratio", help="16:9.")
@click.option("--quality", type=click.Choice(get_args(ImageQuality)))
@click.option("--reference", "references", multiple=True, type=click.Path(), help="To go by.")
def image(model: str, prompt: str, config: str | None, output: str, **options: Any) -> None:
    """Make pictures of PROMPT, and print the names of their files."""
    for number, made in enumerate(
        _answer("generate_image", model, config, prompt, **options).images, 1
    ):
        suffix = mimetypes.guess_extension(made.media_type or "") or ".bin"
        place = Path(f"{output}-{number}{suffix}")
        place.write_bytes(made.data())
        say(str(place))


@click.command()
@_model
@click.argument("text", default="-")
@config_option
@click.option("--output", "-o", type=click.Path(), help="The file; speech.mp3 by default.")
@click.option("--voice", help="One of the model's voices.")
@click.option("--format", type=click.Choice(get_args(SpeechFormat)), default="mp3")
def speak(model: str, text: str, config: str | None, output: str | None, **options: Any) -> None:
    """Speak TEXT (standard input when it is "-") into a file, and print its name."""
    said = sys.stdin.read() if text == "-" else text
    place = Path(output or f"speech.{options['format']}")
    place.write_bytes(_answer("speak", model, config, said, **options).data)
    say(str(place))


@click.command()
@_model
@click.argument("file", type=click.Path())
@config_option
@click.option("--language", help="ISO 639-1, such as en.")
@click.option("--timestamps", type=click.Choice(get_args(Timestamps)), help="Implies --json.")
@json_option
def transcribe(model: str, file: str, config: str | None, as_json: bool, **options: Any) -> None:
    """Print what is said in FILE."""
    answer = _answer("transcribe", model, config, Path(file), **options)
    if as_json or options["timestamps"]:
        say_json(answer.to_dict())
    else:
        say(answer.text)


@click.command()
@_model
@click.argument("query")
@config_option
@click.option("--max-results", type=click.IntRange(1, 25))
@json_option
def search(model: str, query: str, config: str | None, as_json: bool, **options: Any) -> None:
    """Print what the web says of QUERY, and the sources."""
    answer = _answer("search", model, config, query, **options)
    if as_json:
        say_json(answer.to_dict())
        return
    say(answer.text)
    for url in dict.fromkeys(source.url for source in answer.citations):
        say(on_one_line(url))
