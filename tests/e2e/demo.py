"""``python -m tests.e2e.demo [--small]``: the island's story at full size, narrated with figures (``make demo``)."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.story import CI, FULL, Story
from tests.support.clouds import start_cloud
from tests.support.fault_proxy import FaultProxy


def main() -> None:
    """Tell the story; a failed assertion is the end of it, and a non-zero exit."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.demo", description=__doc__)
    parser.add_argument("--small", action="store_true", help="the size that the tests use")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what was started is stopped

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    say("starting a cloud")
    cloud = start_cloud()
    directory = Path(tempfile.mkdtemp(prefix="skerry-demo-"))
    try:
        with FaultProxy(cloud.port) as proxy:
            scale = CI if arguments.small else FULL
            story = Story(cloud, directory, scale, say, proxy, random.Random(arguments.seed))
            try:
                story.reach(Story.STAGES[-1])
            finally:
                story.close()
    finally:
        cloud.stop()
        shutil.rmtree(directory, ignore_errors=True)
    say("the end: nothing was lost")


if __name__ == "__main__":
    main()
