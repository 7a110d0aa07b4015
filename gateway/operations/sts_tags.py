"""Tags and source identity of sessions: what a request or an ID token gives them, and what they inherit. Pure.

Session tags are the session's aws:PrincipalTag values, over those of its role or user. Transitive ones go on to the
sessions that the session takes on, which cannot give them another value. Giving any needs sts:TagSession, of the role's
trust policy too; a source identity needs sts:SetSourceIdentity, and goes on always.
Source: IAM User Guide, "Pass session tags in AWS STS" and "Monitor and control actions taken with assumed roles".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.identity.principals import Principal
from gateway.operations.iam_requests import request_tag_values
from gateway.s3.query_errors import InvalidIdentityToken, QueryAccessDenied, ValidationError
from gateway.s3.query_protocol import Parameters

TAGS_MAX: Final = 50
TAG_SESSION: Final = "sts:TagSession"
SET_SOURCE_IDENTITY: Final = "sts:SetSourceIdentity"
_TAG_TEXT: Final = re.compile(r"[\w\s.:/=+\-@]*")
_SOURCE_IDENTITY: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_PRINCIPAL_TAG: Final = "aws:principaltag/"
_SOURCE: Final = "aws:sourceidentity"
_CLAIM: Final = "https://aws.amazon.com/tags"
_SOURCE_CLAIM: Final = "https://aws.amazon.com/source_identity"


class SessionTags(NamedTuple):
    """What is asked for: tags by name, which of them (lower case) are transitive, a source identity or empty."""

    tags: Mapping[str, str] = {}
    transitive: tuple[str, ...] = ()
    source: str = ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The actions that a trust policy must allow for it."""
        asked = ((TAG_SESSION, bool(self.tags or self.transitive)), (SET_SOURCE_IDENTITY, bool(self.source)))
        return tuple([action for action, is_asked in asked if is_asked])

    @property
    def request_values(self) -> dict[str, tuple[str, ...]]:
        """What conditions may ask of the request."""
        found = request_tag_values(self.tags)
        if self.transitive:
            found["sts:transitivetagkeys"] = self.transitive
        if self.source:
            found["sts:sourceidentity"] = (self.source,)
        return found

    @property
    def session_values(self) -> dict[str, str]:
        """Condition keys that the session brings along."""
        found = {_PRINCIPAL_TAG + name.lower(): value for name, value in self.tags.items()}
        return {**found, _SOURCE: self.source} if self.source else found


def read_session_tags(parameters: Parameters) -> SessionTags:
    """Tags, TransitiveTagKeys and SourceIdentity of a request; ``ValidationError``."""
    pairs = [(fields.get("Key", ""), fields.get("Value", "")) for fields in parameters.structures("Tags")]
    source = parameters.text("SourceIdentity", default="")
    return _check(pairs, parameters.members("TransitiveTagKeys"), source)


def tags_of_token(claims: Mapping[str, Any]) -> SessionTags:
    """The same of an ID token's claims, nested or written as paths; ``InvalidIdentityToken``."""
    nested = claims.get(_CLAIM, {})
    if not isinstance(nested, dict):
        raise InvalidIdentityToken("The token's tags are not an object")
    listed = nested.get("principal_tags", {})
    found = dict(listed) if isinstance(listed, dict) else {}
    prefix = f"{_CLAIM}/principal_tags/"
    found |= {name.removeprefix(prefix): value for name, value in claims.items() if name.startswith(prefix)}
    pairs = [
        (name, value[0] if isinstance(value, list) and len(value) == 1 else value) for name, value in found.items()
    ]
    transitive = nested.get("transitive_tag_keys", claims.get(f"{_CLAIM}/transitive_tag_keys", []))
    source = claims.get(_SOURCE_CLAIM, "")
    if not isinstance(listed, dict) or not isinstance(transitive, list) or not isinstance(source, str):
        raise InvalidIdentityToken("The token's tags are not well-formed")
    if not all(isinstance(text, str) for text in [*transitive, *(value for _, value in pairs)]):
        raise InvalidIdentityToken("The token's tags are not well-formed")
    return _check(pairs, transitive, source)


def inherit(asked: SessionTags, caller: Principal) -> SessionTags:
    """What a session of ``caller`` that takes on a role has: what is asked for, and what goes on from the caller's.

    ``ValidationError`` for a tag that goes on and is given again, ``AccessDenied`` for another source identity.
    """
    source = caller.values.get(_SOURCE, ("",))[0]
    if source and asked.source not in ("", source):
        raise QueryAccessDenied("The source identity of a session cannot be changed")
    given = {name.lower() for name in asked.tags}
    for name in caller.transitive:
        if name in given:
            raise ValidationError(f"The session tag {name} is inherited and cannot be given another value")
    passed = {name: caller.values[_PRINCIPAL_TAG + name][0] for name in caller.transitive}
    return SessionTags({**passed, **asked.tags}, (*caller.transitive, *asked.transitive), source or asked.source)


def _check(pairs: list[tuple[str, Any]], transitive: list[str], source: str) -> SessionTags:
    tags: dict[str, str] = {}
    for name, value in pairs:
        if not 1 <= len(name) <= 128 or len(value) > 256 or not _TAG_TEXT.fullmatch(name + value):
            raise ValidationError("1 validation error detected: a tag's key has 1 to 128 characters, its value to 256")
        if name.lower().startswith("aws:"):
            raise ValidationError("Tag keys cannot begin with aws:")
        if name.lower() in {other.lower() for other in tags}:
            raise ValidationError("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        tags[name] = value
    if len(tags) > TAGS_MAX or len(transitive) > TAGS_MAX:
        raise ValidationError(f"A session has at most {TAGS_MAX} tags")
    lowered = tuple(dict.fromkeys(name.lower() for name in transitive))
    if not set(lowered) <= {name.lower() for name in tags}:
        raise ValidationError("Transitive tag keys must be among the session tags")
    if source and not _SOURCE_IDENTITY.fullmatch(source):
        raise ValidationError("1 validation error detected: sourceIdentity has 2 to 64 characters of [\\w+=,.@-]")
    return SessionTags(tags, lowered, source)
