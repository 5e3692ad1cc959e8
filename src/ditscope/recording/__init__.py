"""From a run into a store: what is kept, what is read at a visit, what it will take."""

from ditscope.recording.record import Recording, record

__all__ = ["Recording", "record"]
