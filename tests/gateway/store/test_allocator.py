"""What is free and kept by the C library goes back to the system."""

import subprocess
import sys

PROGRAM = """
from gateway.store.allocator import KEPT_BYTES, give_back_memory, tune_allocator

def read_anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

tune_allocator()
assert not give_back_memory()
kept, pieces = [], []
for number in range(200):
    pieces.append(bytearray(1 << 20))
    kept.append(bytearray(2000))  # between them, so that what is freed is not the heap's end
full = read_anonymous()
del pieces
assert full - read_anonymous() < 64 << 20, "glibc gives back by itself what it is tuned to keep"
assert give_back_memory()
assert full - read_anonymous() > 150 << 20
"""


def test_what_a_crowd_left_goes_back() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
