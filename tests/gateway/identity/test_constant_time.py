"""Secrets are compared in constant time: what compares one stands in a list, and nothing compares one otherwise.

Python's ``==`` ends at the first byte that differs, which tells a patient guesser how far a guess was right. The source
is read: a comparison by ``==`` with anything named like a secret is refused, but for those that compare none; and each
module that verifies something has as many calls of ``compare_digest`` as the list says.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORDS = "signature|secret|password|passphrase|mac|token|credential|check"
SECRET = re.compile(rf"({WORDS})s?$")
WORTH_A_LOOK = re.compile(rf"compare_digest|({WORDS}).*[=!]=|[=!]=.*({WORDS})", re.IGNORECASE)
NO_SECRETS = {
    ("gateway/identity/sessions.py", "urlsafe_b64encode(data).decode() != token"),  # whether it is well-formed base64
    ("gateway/s3/chunked.py", "name == _TRAILER_SIGNATURE"),  # a header's name
}
CALLS = {
    "gateway/http/body.py": 1,  # x-amz-content-sha256
    "gateway/http/iam_calls.py": 1,  # the key that asked, once more
    "gateway/identity/users.py": 1,  # root's secret against that of the configuration
    "gateway/operations/object_encryption.py": 2,  # customers' keys
    "gateway/s3/chunked.py": 2,  # signatures of chunks and trailer
    "gateway/s3/form_fields.py": 1,  # signature of a form's policy
    "gateway/s3/sigv2.py": 1,
    "gateway/s3/sigv4.py": 2,
    "gateway/s3/sse_customer.py": 2,
    "gateway/store/stretches.py": 1,  # tags of ciphertext
}


def name_of(node: ast.expr) -> str:
    """The last word of what is compared."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def list_nodes() -> list[tuple[str, ast.AST]]:
    """(file, node) of every file of the product in which anything may be compared."""
    paths = sorted(path for package in ("gateway", "replication") for path in (ROOT / package).rglob("*.py"))
    assert len(paths) > 200
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    return [
        (file, node) for file, text in texts.items() if WORTH_A_LOOK.search(text) for node in ast.walk(ast.parse(text))
    ]


def test_no_secret_is_compared_by_its_bytes_one_after_the_other() -> None:
    calls: Counter[str] = Counter()
    found = set()
    for file, node in list_nodes():
        if isinstance(node, ast.Call) and name_of(node.func) == "compare_digest":
            calls[file] += 1
        if not (isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops)):
            continue
        sides = [node.left, *node.comparators]
        is_of_secret = any(SECRET.search(name_of(side).lower()) for side in sides)
        if is_of_secret and not any(isinstance(side, ast.Constant) for side in sides):
            found.add((file, ast.unparse(node)))
    assert found == NO_SECRETS
    assert calls == CALLS
