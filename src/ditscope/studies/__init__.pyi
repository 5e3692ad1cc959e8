# Written by `python -m ditscope._discovery`.
from .first_look import FirstLook as FirstLook
from .study import Measured as Measured
from .study import Progress as Progress
from .study import Result as Result
from .study import Study as Study
