"""What ``skerry serve`` says to a person: once at the first start, and the ready lines at every one.

On standard output, for a terminal or a journal; secrets appear only when they were made just now.
"""

from __future__ import annotations

from gateway.cli.credentials import ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, credentials_path
from gateway.cli.site import FirstStart
from gateway.config import Config
from gateway.store.document_format import AccessKeyRecord


def describe_first_start(config: Config, first: FirstStart) -> str:
    """The recovery kit, and where the root key lies."""
    lines = [f"A new site was made in {config.data}."]
    if first.key_place:
        lines.append(f"Its realm's root key was generated: {first.key_place}. Other sites of the realm need a copy.")
    if first.kit:
        lines += ["", first.kit.rstrip()]
    else:
        lines.append("It joined the realm in the bucket.")
    return "\n".join(lines) + "\n"


def describe_ready(config: Config, endpoint: str, admin: str, made: AccessKeyRecord | None, *, given: bool) -> str:
    """Where the site answers, and lines to paste. ``made``: a generated key to show, once; ``given``: not generated."""
    kept = credentials_path(config.data)
    cloud = f"cloud bucket {config.cloud.bucket}" if config.cloud else "no cloud: this site alone holds its data"
    lines = [
        f"Skerry is ready on {endpoint}: site {config.site_name!r}, {config.workers} workers, data in {config.data}",
        f"  {cloud}" + (f"; health and metrics on {admin}" if admin else ""),
    ]
    region = config.server.region
    shell = [f"export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={region}"]
    keys = ""
    if given:
        lines += ["", f"Root credentials: those given in {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE}."]
        shell.append(
            f'export AWS_ACCESS_KEY_ID="${ACCESS_KEY_VARIABLE}" AWS_SECRET_ACCESS_KEY="${SECRET_KEY_VARIABLE}"'
        )
    elif made is not None:
        lines += [
            "",
            f"Root credentials, shown this once and kept in {kept} (0600):",
            f"  access key  {made.id}",
            f"  secret key  {made.secret}",
        ]
        shell.append(f"export AWS_ACCESS_KEY_ID={made.id} AWS_SECRET_ACCESS_KEY={made.secret}")
        keys = f', aws_access_key_id="{made.id}", aws_secret_access_key="{made.secret}"'
    else:
        lines += ["", "Root credentials: shown at the first start" + (f", kept in {kept}." if kept.exists() else ".")]
        if kept.exists():
            shell.append(f"export AWS_SHARED_CREDENTIALS_FILE={kept}")
    signing = 'config=boto3.session.Config(signature_version="s3v4")'  # boto3 presigns with version 2 otherwise
    boto3 = f'boto3.client("s3", endpoint_url="{endpoint}", region_name="{region}"{keys}, {signing})'
    lines += ["", "aws:", *(f"  {line}" for line in shell), "  aws s3 mb s3://first", "  aws s3 cp FILE s3://first/"]
    lines += ["boto3:", f"  {boto3}"]
    return "\n".join(lines) + "\n"
