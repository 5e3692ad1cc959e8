from .export import export as export
from .stores import opened as opened
from .widget import ExplorerWidget as ExplorerWidget
from .widget import view as view
