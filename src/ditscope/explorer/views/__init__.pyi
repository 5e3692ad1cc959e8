# Written by `python -m ditscope._discovery`.
from collections.abc import Mapping

from ditscope.explorer.view import View

from .channel_map import channel_map as channel_map
from .channel_map import channel_scale as channel_scale
from .channel_ranking import channel_ranking as channel_ranking
from .comparison import comparison as comparison
from .edited import edited as edited
from .mask import mask as mask
from .prompt_search import prompt_search as prompt_search
from .recording import recording as recording
from .sample import sample as sample
from .scores import scores as scores
from .tokens import tokens as tokens

VIEWS: Mapping[str, View]
