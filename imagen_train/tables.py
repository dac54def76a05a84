"""How does a TOML file become settings? Every name and type is checked against dataclasses, and each mistake named."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says. FileNotFoundError; ValueError, with the line, for what is no TOML."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise ValueError("reading TOML with Python 3.10 needs: pip install tomli") from error
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error


def from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table of its settings, tables of dataclasses in it included. `where` names it in errors.

    ValueError: a setting that is unknown (and which is meant), missing, of another type, or refused by the dataclass.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in table:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, 1)
            meant = f"did you mean {close[0]}?" if close else f"it knows {', '.join(fields)}"
            raise ValueError(f"{where} has no setting {name!r}: {meant}")
    missing = [name for name, field in fields.items() if _is_required(field) and name not in table]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: write {missing[0]} = ...")
    hints = typing.get_type_hints(cls)
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`: one dataclass, tuple of scalars, mapping, path, scalar, or None beside it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_table(hint, value, where)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(hint)[0], item, where) for item in value)
    if typing.get_origin(hint) in (dict, Mapping) and isinstance(value, Mapping):
        return dict(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{where} is {value!r}, expected {_spoken(hint)}")


def _spoken(hint: Any) -> str:
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    if dataclasses.is_dataclass(hint) or typing.get_origin(hint) in (dict, Mapping):
        return "a table"
    if typing.get_origin(hint) is tuple:
        return f"a list, each {_spoken(typing.get_args(hint)[0])}"
    return words.get(hint, str(hint))
