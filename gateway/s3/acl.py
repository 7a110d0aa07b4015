"""Access control lists on the wire: for now the one that everything has, full control for its owner. Pure."""

from __future__ import annotations

from gateway.s3.errors import escape_text

_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'


def render_default_acl(owner_id: str, owner_name: str) -> bytes:
    """AccessControlPolicy with one grant: FULL_CONTROL to the owner."""
    who = f"<ID>{escape_text(owner_id)}</ID><DisplayName>{escape_text(owner_name)}</DisplayName>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<AccessControlPolicy {_XMLNS}><Owner>{who}</Owner>'
        f"<AccessControlList><Grant><Grantee {_XSI}>{who}</Grantee><Permission>FULL_CONTROL</Permission></Grant>"
        "</AccessControlList></AccessControlPolicy>"
    ).encode()
