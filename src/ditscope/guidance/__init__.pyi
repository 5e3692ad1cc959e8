# Written by `python -m ditscope._discovery`.
from .detail import detail as detail
from .from_edits import Guidance as Guidance
from .from_edits import from_edits as from_edits
from .guided_visit import GuidedVisit as GuidedVisit
from .perturbed_attention import perturbed_attention as perturbed_attention
