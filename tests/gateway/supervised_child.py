"""A child for the supervisor's tests: does what its orders (one JSON object on standard input) say, and notes it."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main():
    size = int.from_bytes(os.read(0, 4), "little")
    orders = json.loads(os.read(0, size))
    notes = Path(orders["notes"])

    def note(word):
        with notes.open("a") as file:
            file.write(f"{word} {os.getpid()}\n")

    def finish(*_):
        note("term")
        if not orders.get("stubborn"):
            sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGHUP, lambda *_: note("hup"))
    note("started")
    if "exit" in orders and len(notes.read_text().splitlines()) <= orders.get("exits", 1 << 30):
        sys.exit(orders["exit"])
    os.write(1, b"ready\n")
    note("ready")
    while os.read(0, 1):
        pass
    note("end of input")
    while orders.get("stubborn"):
        time.sleep(60)


main()
