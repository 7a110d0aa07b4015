"""RequestPaymentConfiguration: who pays for a bucket's requests. Pure.

Source: Amazon S3 User Guide, "Using Requester Pays buckets".
"""

from __future__ import annotations

from typing import Final

from gateway.s3.documents import fields_of, parse_document
from gateway.s3.errors import MalformedXML

PAYERS: Final = ("Requester", "BucketOwner")


def parse_request_payment(body: bytes) -> str:
    """``Requester`` or ``BucketOwner``; ``MalformedXML`` for anything else."""
    payer = fields_of(parse_document(body, "RequestPaymentConfiguration"), "Payer").get("Payer", "").strip()
    if payer not in PAYERS:
        raise MalformedXML
    return payer


def render_request_payment(payer: str) -> bytes:
    """RequestPaymentConfiguration."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<RequestPaymentConfiguration '
        f'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>{payer}</Payer></RequestPaymentConfiguration>'
    ).encode()
