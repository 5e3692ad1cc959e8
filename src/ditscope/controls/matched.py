"""The control that changes as much as the edit under test, by the same edit, in other channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ditscope.edits.edit import Edit
from ditscope.edits.matched_channels import MatchedChannels
from ditscope.errors import InputError

AnyEdit = TypeVar("AnyEdit", bound=Edit)


def matched(edit: AnyEdit, by: str = "moved", *, draws: int = 5, seed: int = 0, per: str = "run") -> AnyEdit:
    """The same edit on random other channels, as many as it changes by as much as the edit's own.

    A set of equal size has much less energy than massive channels, and channels that match their energy on a recording
    do not in a run that the edit has changed. Here the amounts are those at the very place, for each image: the edit's
    channels and the others are held against each other in the same hidden state. Channels in random order, without the
    edit's own, are taken while their sum comes closer. Where all of them together have less, all are taken.
    :class:`~ditscope.edits.firings.Firings` and :func:`ditscope.compare` say what was reached.

    Args:
        edit: the edit under test, with one draw.
        by: ``moved`` for the squared change (edit norm), ``removed`` for the energy before minus after, ``energy`` for
            the energy before.
        draws: number of random orders.
        seed: of them, from 0.
        per: ``run`` for one order of each image all the time, so that it is much the same channels everywhere;
            ``step`` or ``place`` for others in every step or at every place.

    Raises:
        InputError: an edit of all channels or of several draws; or an unknown ``by`` or ``per``. Before a run: an edit
            that mixes channels, such as a projection.

    Examples:
        >>> zero = ds.edits.zero(massive, blocks="single.1")
        >>> edits = {"massive": zero, "as much": ds.controls.matched(zero, draws=1)}
        >>> edits["as much"].label
        'zero random channels of the squared change of top 6 by mean_abs'
        >>> ds.compare(dit, prompts[0], 0, edits, ["psnr"], num_inference_steps=2)["match_ratio"].dims
        ('edit', 'draw', 'sample')
    """
    if edit.channels is None or edit.draws > 1:
        raise InputError(
            f"the edit '{edit.label}' of {'all channels' if edit.channels is None else f'{edit.draws} draws'}",
            "an edit of some channels, with one draw",
            "Pass edit.draw(0), say.",
        )
    channels = MatchedChannels(
        own=edit.channels, by=by, seed=seed, per=per, count=draws, stream=edit.channels.stream
    )
    return replace(edit, channels=channels, control=True)
