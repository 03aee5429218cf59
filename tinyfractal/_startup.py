"""Imported first, before NumPy: Ctrl-C while the command line still loads ends it without a word.

There is nothing yet to put away, and a traceback from the middle of NumPy would help nobody.
`cli.main` then brings Python's own way back. Only the command line is meant: `python -m
tinyfractal`, or the program `tinyfractal`.
"""

import os
import signal
import sys

words = [os.path.basename(word) for word in sys.orig_argv[1:]]
is_module = sys.argv[:1] == ["-m"] and "tinyfractal" in words
if (is_module or words[:1] == ["tinyfractal"]) and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
