"""The zarr v3 data type ``bfloat16``, so that hidden states are stored in the model's own dtype.

zarr-python has no bfloat16 of its own. The name is a registered zarr extension, TensorStore writes it
natively, and numpy holds it as ``ml_dtypes.bfloat16``. Importing this module registers the type with
zarr, and the package's entry points import it, so that plain ``zarr.open`` and ``xarray.open_datatree``
read a cache wherever ditscope is installed.

Two entry points name :class:`BFloat16`. ``zarr.data_type`` is the documented one, but zarr 3.1 collects
that group without ever loading it. ``zarr.buffer`` is loaded whenever a group is opened; the class lands
in a registry that is only searched by configured name, so it is inert there. With zarr 3.1, whoever opens
a bare array by its own path (``zarr.open_array``) imports this module first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from zarr.dtype import Float16, data_type_registry

DTYPE: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
"""The numpy dtype that holds bfloat16 in memory."""

_QUIET_NAN = 0x7FC0


@dataclass(frozen=True, kw_only=True)
class BFloat16(Float16):
    """Zarr data type of ``ml_dtypes.bfloat16``; of ``Float16`` it keeps size, endianness and JSON numbers."""

    dtype_cls = type(DTYPE)  # type: ignore[assignment]
    _zarr_v3_name = "bfloat16"
    # zarr v2 has no name for bfloat16, and must not take half floats for it.
    _zarr_v2_names: ClassVar[tuple[str, ...]] = ()  # type: ignore[assignment]

    def to_native_dtype(self) -> Any:
        """The numpy dtype in this data type's byte order."""
        return DTYPE.newbyteorder("<" if self.endianness == "little" else ">")

    def from_json_scalar(self, data: Any, *, zarr_format: Any) -> Any:
        """Read a fill value; a hexadecimal string is the bit pattern (``0x7fc0`` is NaN)."""
        if isinstance(data, str) and data.startswith("0x"):
            if len(data) != 6:
                raise ValueError(f"found fill value {data!r}; expected 0x and four hexadecimal digits.")
            return np.frombuffer(struct.pack("=H", int(data, 16)), DTYPE)[0]
        return super().from_json_scalar(data, zarr_format=zarr_format)

    def to_json_scalar(self, data: object, *, zarr_format: Any) -> float | str:
        """Write a fill value; NaNs other than the canonical one keep their bits as a hexadecimal string."""
        scalar = np.asarray(self.cast_scalar(data), dtype=DTYPE)
        bits = int(scalar.view(np.uint16))
        if np.isnan(scalar) and bits != _QUIET_NAN:
            return f"0x{bits:04x}"
        return super().to_json_scalar(scalar[()], zarr_format=zarr_format)


def register() -> None:
    """Tell zarr about bfloat16. Safe to call again; a type registered by someone else is left alone."""
    if "bfloat16" not in data_type_registry.contents:
        data_type_registry.register("bfloat16", BFloat16)


register()
