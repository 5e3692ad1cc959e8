"""From a run of a model into a store: what is kept, read at each visit, and what it will take."""

from ditscope.recording.capture import Capture
from ditscope.recording.forecast import describe_recording, forecast_recording, recording_schema
from ditscope.recording.record import Recording

__all__ = ["Capture", "Recording", "describe_recording", "forecast_recording", "recording_schema"]
