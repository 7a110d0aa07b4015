"""What every test of the suite has: processes that start as an installed Skerry's do, from compiled modules.

Where the environment forbids Python to keep what it compiled (``PYTHONDONTWRITEBYTECODE``, as many images of Python
do), each of the suite's hundreds of processes would compile two hundred modules anew, half of its start.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
