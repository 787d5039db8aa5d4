"""python -m promptax."""

import os
import sys

# Python puts the working folder first on its path, where any file that is named like a library
# would be run in the library's place. What --plugin names is found there all the same.
try:
    folder = os.getcwd()
except OSError:  # somebody removed it
    folder = ""
if not sys.flags.safe_path and sys.path[:1] in ([folder], [""]):
    del sys.path[0]

from promptax.cli import main

main()
