"""How long a test waits for what is outside it: a process, a thread, a browser, a kernel.

It costs nothing where all is well. A test waits for a state, never for a time, and fails by this alone.
"""

SECONDS = 600
MILLISECONDS = 1000 * SECONDS
KERNEL = {"timeout": SECONDS, "startup_timeout": SECONDS, "iopub_timeout": SECONDS}
"""For a cell, for the kernel, and for what a cell said: nbclient goes on without that after 4 seconds."""
