"""``python -m ditscope.cli``."""

from ditscope.cli import main

main()
