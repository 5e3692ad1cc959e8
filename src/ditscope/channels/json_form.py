"""Plain forms: a set of channels, a scope or an edit as JSON, and the equal object back."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from ditscope.errors import InputError, unknown_name
from ditscope.paths import local_path

_TEXT, _NUMBERS = "str", "biuf"


@dataclass(frozen=True, eq=False)
class JsonForm:
    """A frozen dataclass that can be written as JSON and made again; two of one plain form are equal.

    Fields may be None, bool, whole and finite numbers, text, tuples, DataArrays, and other plain forms. Every
    subclass is found by its class name once its module is imported; nothing else is ever made of JSON.
    """

    _kinds: ClassVar[dict[str, type[JsonForm]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = JsonForm._kinds.get(cls.__name__, cls).__module__
        # A class that is defined again, as in a notebook, takes the place of the older one of its own package.
        if known.split(".")[0] != cls.__module__.split(".")[0] or (
            known.startswith("ditscope.") and known != cls.__module__
        ):
            raise InputError(
                f"a second {cls.__name__}, in {cls.__module__}", f"only {known}'s", "Rename the class."
            )
        JsonForm._kinds[cls.__name__] = cls

    def to_json(self) -> dict[str, Any]:
        """The plain form: dicts, lists, text and numbers that :func:`json.dumps` writes.

        Raises:
            InputError: a field has no plain form.
        """
        values = {field.name: _plain(field.name, getattr(self, field.name)) for field in fields(self)}
        return {"kind": type(self).__name__, **values}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The object of a plain form, equal to the one that it was written from.

        Raises:
            InputError: it is the plain form of something else, of a kind that is not there, or damaged.
        """
        made = _made(data)
        if not isinstance(made, cls):
            raise InputError(
                f"the plain form of a {type(made).__name__}",
                f"that of a {cls.__name__}",
                "Pass what to_json gave.",
            )
        return made

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the plain form to a JSON file.

        Raises:
            InputError: a field has no plain form, or the path cannot be used.

        Examples:
            >>> massive.to_file("massive.json")
            >>> ds.ChannelSet.from_file("massive.json") == massive
            True
        """
        local_path(path).write_text(json.dumps(self.to_json()), encoding="utf-8")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """What :meth:`to_file` wrote, equal to the object that it was written from.

        Raises:
            InputError: the file is no JSON, or as of :meth:`from_json`.
        """
        try:
            data = json.loads(local_path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path}, which is no JSON ({error})", "a file that to_file wrote", "Pass another file."
            ) from error
        return cls.from_json(data)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._text() == other._text()

    def __hash__(self) -> int:
        return hash(self._text())

    def _text(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if (
        value is None
        or isinstance(value, bool | int | str)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    if isinstance(value, JsonForm):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(name, entry) for entry in value]
    if isinstance(value, xr.DataArray):
        coords = {str(key): _array(name, coord) for key, coord in value.coords.items()}
        return {"kind": "DataArray", **_array(name, value), "coords": coords}
    raise InputError(
        f"{name}={value!r} of type {type(value).__name__}",
        "None, a bool, a finite number, text, a tuple, a DataArray, or a class with to_json",
        "Keep arrays as xarray DataArrays.",
    )


def _array(name: str, array: xr.DataArray) -> dict[str, Any]:
    """Dims, dtype and values; a double holds every narrower number, so nothing is rounded."""
    values = array.values
    text = values.dtype.kind in "OU" and all(isinstance(entry, str) for entry in values.ravel().tolist())
    if not text and values.dtype.kind not in _NUMBERS:
        raise InputError(
            f"{name} with values of {values.dtype}", "numbers or text", "Drop it, or convert it."
        )
    dtype = _TEXT if text else str(values.dtype)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values.astype(object), values.astype(str))  # JSON has no NaN
    return {"dims": [str(dim) for dim in array.dims], "dtype": dtype, "values": values.tolist()}


def _made(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(map(_made, data))
    if not isinstance(data, dict):
        return data
    known = JsonForm._kinds
    kind, values = data.get("kind"), {str(name): entry for name, entry in data.items() if name != "kind"}
    try:
        if kind == "DataArray":
            coords = {name: _variable(coord) for name, coord in values.pop("coords").items()}
            return xr.DataArray(_variable(values), coords=coords)
        if kind not in known:
            raise unknown_name("kind", kind, sorted(known))
        return known[kind](**{name: _made(entry) for name, entry in values.items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"a plain form of {kind} that cannot be read ({error})",
            "what to_json of this version writes",
            "Write it again with the installed version.",
        ) from error


def _variable(data: dict[str, Any]) -> xr.Variable:
    dtype = np.dtype(data["dtype"])
    if data["dtype"] != _TEXT and dtype.kind not in _NUMBERS:
        raise ValueError(f"dtype {dtype}")
    return xr.Variable(tuple(data["dims"]), np.array(data["values"], dtype=dtype))
