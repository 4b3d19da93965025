"""Partial: what is certain of an object that is still coming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
_UNREAD: Any = object()


class Partial(Generic[T]):
    """What has come of a T, as JSON data; what has not come whole is absent, never a default.

    `partial.title` and `partial["title"]` are the same; AttributeError or KeyError while the field
    is not complete. `"title" in partial` and `partial.get("title")` ask. A number, a word or a
    text appears when it is complete (a text may grow where that was asked for), an object or a
    list with the first that is complete in it: inside it is a Partial again. It never changes.
    """

    __slots__ = ("_known", "_open", "_read")

    def __init__(self, read: Callable[[], Any], open_levels: int) -> None:
        """*read* builds the data when it is first looked at; *open_levels* are not closed yet."""
        self._read = read
        self._open = open_levels
        self._known = _UNREAD

    @property
    def data(self) -> Any:
        """The plain dict, list or value. Do not change it: parts of it are shared."""
        if self._known is _UNREAD:
            self._known = self._read()
        return self._known

    @property
    def complete(self) -> bool:
        """Whether this object or list has ended (and not only what is inside it)."""
        return self._open == 0

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field *name*, *default* while it is not there."""
        return self[name] if isinstance(self.data, dict) and name in self.data else default

    def __getitem__(self, key: Any) -> Any:
        data = self.data
        if isinstance(key, slice):
            return [self[at] for at in range(len(data))[key]]
        value = data[key]
        if not isinstance(value, dict | list):
            return value
        last = next(reversed(data)) if isinstance(data, dict) else len(data) - 1
        inside = self._open - 1 if key in (last, -1) and self._open else 0
        return Partial[Any](lambda: value, inside)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and isinstance(self.data, dict) and name in self.data:
            return self[name]
        raise AttributeError(f"{name!r} has not come yet, or is no field of the object", name=name)

    def __contains__(self, key: object) -> bool:
        return key in self.data

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data) if isinstance(self.data, dict) else iter(self[:])

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        return bool(self.data == (other.data if isinstance(other, Partial) else other))

    __hash__ = None  # type: ignore[assignment]  # it is compared by data that has no hash

    def __repr__(self) -> str:
        return f"Partial({self.data!r}{'' if self.complete else ', …'})"
