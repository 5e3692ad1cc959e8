"""Interventions on hidden states, with a scope, and the record of what they did."""

from ditscope.edits.applying import EditedVisit, Firings
from ditscope.edits.channel_edits import Edit, mean, scale, zero
from ditscope.edits.scope import Scope

__all__ = ["Edit", "EditedVisit", "Firings", "Scope", "mean", "scale", "zero"]
