"""How long a test waits for what is outside it: a process, a thread, a browser, a kernel.

It costs nothing where all is well. A test waits for a state, never for a time, and fails by this alone.
"""

SECONDS = 300
MILLISECONDS = 1000 * SECONDS
KERNEL = {"timeout": 4 * SECONDS, "startup_timeout": SECONDS, "iopub_timeout": SECONDS}
"""For a cell's work, for the kernel, and for what a cell said: nbclient goes on without that after 4 seconds."""
