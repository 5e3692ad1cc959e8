"""Is the model still what it was? Asked after every run, before anything of the run counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ditscope.cache.manifest import differences, listed
from ditscope.errors import ConfigMismatchError
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.models.live_state import live_state
from ditscope.models.offload import in_pipeline, members_by_network

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


def model_state(dit: DiT) -> dict[str, Any]:
    """What makes the numbers beside the call, as a manifest has it: ``weights_fingerprint``, and the ``live`` state.

    Raises:
        UnsupportedError: a parameter is on the meta device and its values are not found.
    """
    members = members_by_network(dit.diffusers_pipeline)
    return {
        "weights_fingerprint": weights_fingerprint(dit, in_pipeline(members)),
        "live": live_state(dit, members),
    }


def require_unchanged(dit: DiT, before: Mapping[str, Any]) -> None:
    """Refuse what a run made of a model that is not in the state of before; see :func:`model_state`.

    What was changed and put back within the run is not seen.

    Raises:
        ConfigMismatchError: it is not; the message names the fields that differ, with both values.
    """
    now = model_state(dit)
    if now != before:
        raise ConfigMismatchError(
            f"a model that was changed meanwhile ({listed(differences(now, before))})",
            "the model in one state for all samples",
            "Leave it alone while it runs, in callbacks and other threads too; what was committed is unharmed.",
        )
