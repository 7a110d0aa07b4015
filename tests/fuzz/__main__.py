"""``python -m tests.fuzz [--seconds S] [TARGET …]``: coverage-guided fuzzing of every parser (see ``targets``).

Needs atheris (``make fuzz`` installs it, locked). Each target runs in a process of its own for S seconds (default 10),
with a limit of 5 s and 1 GiB for any one input, and prints how many inputs were tried and what they covered. Exit code
1 if any failed; the input is kept in ``tests/fuzz/findings/`` and ``--replay FILE TARGET`` runs it again. The corpus
grows in ``tests/fuzz/corpus/`` (not committed).
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def fuzz_one(name: str, seconds: int) -> None:
    """In a child: never returns."""
    import atheris

    with atheris.instrument_imports(include=["gateway", "replication"]):
        from tests.fuzz.targets import find_targets

        target = find_targets()[name]
    corpus, findings = HERE / "corpus" / name, HERE / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", suffix=".dict", delete=False) as words:
        for word in target.words:
            words.write(b'"%s"\n' % b"".join(b"\\x%02x" % byte for byte in word))
    options = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", f"-dict={words.name}"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={findings}/{name}-", str(corpus)], target.run)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    parser.add_argument("--replay", type=Path, help="run one input again")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("target", nargs="*", help="names or parts of names; default: all")
    options = parser.parse_args()
    if options.child:
        fuzz_one(options.target[0], options.seconds)
    from tests.fuzz.targets import find_targets

    targets = find_targets()
    chosen = [name for name in targets if not options.target or any(part in name for part in options.target)]
    if options.replay:
        targets[chosen[0]].run(options.replay.read_bytes())
        return 0
    failed, inputs = [], 0
    for name in chosen:
        command = [sys.executable, "-m", "tests.fuzz", "--child", "--seconds", str(options.seconds), name]
        child = subprocess.run(command, capture_output=True, text=True, errors="replace")
        runs = re.findall(r"#(\d+)\s+DONE\s+cov: (\d+)", child.stderr)
        count, covered = map(int, runs[-1]) if runs else (0, 0)
        inputs += count
        print(
            f"{name:60} {count:>9} inputs {covered:>6} edges  {'ok' if child.returncode == 0 else 'FAILED'}", flush=True
        )
        if child.returncode:
            failed.append(name)
            print(child.stderr[-3000:])
    print(f"{len(chosen)} parsers, {inputs} inputs, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
