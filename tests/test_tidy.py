"""House style as a test, and as a ratchet: what is allowed to be wrong is listed here by name and may only get less.

Reads every source file of the tree with ``ast`` and by lines; imports nothing of it. ``test_the_checks_can_fail`` feeds
each check a piece of source that breaks its rule.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
BANNED_NAMES = {"utils", "util", "helpers", "helper", "misc", "manager", "common"}
SOURCE_ROOTS = ("gateway", "replication", "tests", "benchmarks")
TEXT_ROOTS = (*SOURCE_ROOTS, "deploy", ".ci")
PURE = re.compile(
    r"gateway/s3/.*|replication/(crdt|clock|plan|cloud_names|\w+_format)\.py|gateway/store/\w+_format\.py"
)

# Names of the os module that read or change files; only the store's files module may use them, so that tests can
# record and fail every one. Others are listed with the reason.
OS_FILE_CALLS = {
    *(
        "open",
        "read",
        "pread",
        "preadv",
        "write",
        "pwrite",
        "pwritev",
        "fsync",
        "fdatasync",
        "sync",
        "truncate",
        "ftruncate",
    ),
    *(
        "rename",
        "renames",
        "replace",
        "unlink",
        "remove",
        "removedirs",
        "mkdir",
        "makedirs",
        "rmdir",
        "link",
        "symlink",
    ),
    *("listdir", "scandir"),
}
OS_FILES_ALLOWED = {
    "gateway/store/files.py": "their home",
    "gateway/cli/child.py": "reads its orders from the inherited pipe",
    "replication/small_files.py": "keys beside the store; replication must not import it",
    "replication/root_keys.py": "the root key's own file, likewise",
}
CLOCK_CALLS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
}
BANNED_MODULES = {
    "pickle": "never on disk",
    "marshal": "never on disk",
    "random": "use secrets, or a seed that is told",
}
BANNED_MODULES_ALLOWED: dict[str, set[str]] = {}

# The ratchets: (file, function) → lines. Shrink and remove; never add.
LONG_FUNCTIONS: dict[tuple[str, str], int] = {}
LONG_FILES: dict[str, int] = {}


def source_files(*roots):
    return sorted(path for root in roots for path in (ROOT / root).rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def find_long_functions(name, tree):
    for node in functions_of(tree):
        lines = node.end_lineno - node.lineno + 1
        if lines > LONG_FUNCTIONS.get((name, node.name), FUNCTION_LINES_MAX):
            yield f"{name}:{node.lineno}: {node.name} has {lines} lines (at most {FUNCTION_LINES_MAX})"


def find_missing_docstrings(name, tree):
    if not ast.get_docstring(tree):
        yield f"{name}:1: no module docstring"
    if name.startswith(("tests/", "benchmarks/")):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield f"{name}:{node.lineno}: class {node.name} has no docstring"
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if public and not ast.get_docstring(node):
            yield f"{name}:{node.lineno}: function {node.name} has no docstring"


def find_os_file_calls(name, tree):
    if name in OS_FILES_ALLOWED:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OS_FILE_CALLS:
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "os":
                yield f"{name}:{node.lineno}: os.{node.func.attr} is banned here, use gateway.store.files"


def find_clock_calls(name, tree):
    if not PURE.fullmatch(name):
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        if (node.value.id, node.attr) in CLOCK_CALLS:
            yield f"{name}:{node.lineno}: a pure module reads a clock; take the time as an argument"


def find_banned_imports(name, tree):
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        for module in modules:
            if module in BANNED_MODULES and module not in BANNED_MODULES_ALLOWED.get(name, set()):
                yield f"{name}:{node.lineno}: import of {module}: {BANNED_MODULES[module]}"


def find_machine_paths(name, text):
    places = "|".join(re.escape("/" + place) for place in ("work/", "root/", "opt/wheels", "home/"))
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(rf"(?<![\w.:/-])({places})[\w.-]+", line):
            yield f"{name}:{number}: {found[0]} is a path of one machine"


def complaints(check, *roots):
    return [line for path in source_files(*roots) for line in check(name_of(path), ast.parse(path.read_text()))]


@pytest.mark.parametrize("check", [find_long_functions, find_missing_docstrings])
def test_every_source_file(check):
    assert complaints(check, *SOURCE_ROOTS) == []


@pytest.mark.parametrize("check", [find_os_file_calls, find_clock_calls, find_banned_imports])
def test_the_packages(check):
    assert complaints(check, "gateway", "replication") == []


def test_files_stay_short():
    long = {name_of(path): len(path.read_text().splitlines()) for path in source_files(*SOURCE_ROOTS)}
    assert {name: lines for name, lines in long.items() if lines > LONG_FILES.get(name, FILE_LINES_MAX)} == {}


def test_ratchets_are_tight():
    """An exception that is no longer needed, or looser than needed, is taken back."""
    found = {
        (name_of(path), node.name): node.end_lineno - node.lineno + 1
        for path in source_files(*SOURCE_ROOTS)
        for node in functions_of(ast.parse(path.read_text()))
    }
    assert {entry: lines for entry, lines in LONG_FUNCTIONS.items() if found.get(entry) != lines} == {}
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in source_files(*SOURCE_ROOTS)}
    assert {name: lines for name, lines in LONG_FILES.items() if sizes.get(name) != lines} == {}


def test_files_are_named_after_things():
    wrong = [name_of(path) for path in source_files(*SOURCE_ROOTS) if BANNED_NAMES & set(path.stem.split("_"))]
    assert wrong == []


def test_no_path_of_a_machine():
    files = [path for root in TEXT_ROOTS for path in (ROOT / root).rglob("*") if path.is_file()]
    files += [
        path
        for path in ROOT.iterdir()
        if path.is_file() and path.name != ".git" and path.suffix in {".md", ".toml", ".lock", ""}
    ]
    found = []
    for path in files:
        if "__pycache__" in path.parts or path.stat().st_size > 1 << 20 or path.parent.name == "out":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += find_machine_paths(name_of(path), text)
    assert found == []


def test_the_checks_can_fail():
    long = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    assert list(find_long_functions("gateway/x.py", ast.parse(long)))
    assert len(list(find_missing_docstrings("gateway/x.py", ast.parse("class A: pass\ndef f(): pass\n")))) == 3
    assert list(find_os_file_calls("gateway/x.py", ast.parse("os.rename(a, b)")))
    assert not list(find_os_file_calls("gateway/store/files.py", ast.parse("os.rename(a, b)")))
    assert list(find_clock_calls("replication/crdt.py", ast.parse("time.time()")))
    assert not list(find_clock_calls("replication/shipper.py", ast.parse("time.time()")))
    assert list(find_banned_imports("gateway/x.py", ast.parse("import pickle")))
    assert list(find_machine_paths("x", "see " + "/work" + "/tree/file"))
    assert not list(find_machine_paths("x", "https://host/home/page and WORKDIR /srv/skerry"))


@pytest.mark.parametrize("page", ["README.md", "gateway/S3.md"])
def test_pages_name_tests_and_files_that_exist(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 5
    for path, function in named:
        source = (ROOT / path).read_text()
        assert not function or f"def {function}(" in source, f"{path}::{function}"
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert ((ROOT / page).parent / link).exists(), link
