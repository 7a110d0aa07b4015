"""NotificationConfiguration: which events of a bucket go to which destinations, checked as AWS does. Pure.

Source: User Guide, "Supported notification event types", "Configuring notifications using object key name filtering";
API reference, PutBucketNotificationConfiguration. Destinations are named by ARNs of queues, topics or functions; a
realm has none of AWS's, so the last part of the ARN names a destination configured at the site (``[notifications]``).
Events that S3 has and nothing here ever causes (replication by rules, tiering) are accepted and never sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from itertools import combinations
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

import blake3

from gateway.s3.document_shapes import (
    XMLNS,
    Shape,
    Text,
    check_shape,
    find_all,
    find_text,
    many,
    maybe,
    one,
    some,
)
from gateway.s3.documents import parse_document, tag_of
from gateway.s3.errors import InvalidArgument, S3Error, S3NotImplemented, escape_text

ROOT: Final = "NotificationConfiguration"
RULES_MAX: Final = 100
TEST_EVENT: Final = "s3:TestEvent"
EVENTS: Final = frozenset(
    {
        "s3:ReducedRedundancyLostObject",
        *(f"s3:ObjectCreated:{kind}" for kind in ("*", "Put", "Post", "Copy", "CompleteMultipartUpload")),
        *(f"s3:ObjectRemoved:{kind}" for kind in ("*", "Delete", "DeleteMarkerCreated")),
        *(f"s3:ObjectRestore:{kind}" for kind in ("*", "Post", "Completed", "Delete")),
        *(
            f"s3:Replication:{kind}"
            for kind in (
                "*",
                "OperationFailedReplication",
                "OperationNotTracked",
                "OperationMissedThreshold",
                "OperationReplicatedAfterThreshold",
            )
        ),
        "s3:LifecycleTransition",
        "s3:IntelligentTiering",
        "s3:ObjectAcl:Put",
        *(f"s3:LifecycleExpiration:{kind}" for kind in ("*", "Delete", "DeleteMarkerCreated")),
        *(f"s3:ObjectTagging:{kind}" for kind in ("*", "Put", "Delete")),
    }
)
_FILTER: Final = Shape(
    {
        "S3Key": maybe(
            Shape({"FilterRule": many(Shape({"Name": one(Text(low=1, high=64)), "Value": one(Text(high=1024))}))})
        )
    }
)
# element: (the child that holds the ARN, the service in it)
_KINDS: Final = {
    "TopicConfiguration": ("Topic", "sns"),
    "QueueConfiguration": ("Queue", "sqs"),
    "CloudFunctionConfiguration": ("CloudFunction", "lambda"),
}
_SHAPE: Final = Shape(
    {
        **{
            element: many(
                Shape(
                    {
                        "Id": maybe(Text(high=255)),
                        child: one(Text(low=1, high=1600)),
                        "Event": some(Text(low=1, high=128)),
                        "Filter": maybe(_FILTER),
                    }
                )
            )
            for element, (child, _) in _KINDS.items()
        },
        "EventBridgeConfiguration": maybe(Shape({})),
    }
)
_ARN: Final = re.compile(r"arn:[\w-]+:(sns|sqs|lambda):[\w-]*:\w*:(?:function:)?([A-Za-z0-9_.-]+)(?::[A-Za-z0-9_$-]+)?")
_AMBIGUOUS: Final = (
    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
    "overlapping for the same event type."
)


class Rule(NamedTuple):
    """One configuration: its element's name, id, ARN, the destination's name, events, what keys begin and end with."""

    element: str
    id: str
    arn: str
    destination: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""
    filters: tuple[tuple[str, str], ...] = ()

    def matches(self, event: str, key: str) -> bool:
        """Whether it asks for an event (``s3:ObjectCreated:Put``) of a key."""
        family = event.rpartition(":")[0] + ":*"
        return (
            (event in self.events or family in self.events)
            and key.startswith(self.prefix)
            and key.endswith(self.suffix)
        )


def parse_notification(body: bytes, destinations: Collection[str] | None) -> list[Rule]:
    """The rules of a document. ``destinations``: names that are configured; None: they are not looked at.

    Raises ``MalformedXML``, or ``InvalidArgument`` for unknown events or destinations, ids that are not unique and
    filters that overlap.
    """
    document = parse_document(body, ROOT)
    check_shape(document, _SHAPE)
    if find_all(document, "EventBridgeConfiguration"):
        raise S3NotImplemented("Delivery of events to EventBridge is not implemented")
    rules = [_parse_rule(child) for element in _KINDS for child in find_all(document, element)]
    if len(rules) > RULES_MAX:
        raise InvalidArgument(f"Number of notification configurations exceeds the limit of {RULES_MAX}")
    if len({rule.id for rule in rules}) != len(rules):
        raise InvalidArgument("Same ID used for multiple configurations. IDs must be unique")
    for one_rule, other in combinations(rules, 2):
        if _overlap(one_rule, other):
            raise InvalidArgument(_AMBIGUOUS)
    if destinations is not None:
        unknown = [rule.arn for rule in rules if rule.destination not in destinations]
        if unknown:
            raise _unknown_destinations(unknown)
    return rules


def _unknown_destinations(arns: list[str]) -> S3Error:
    details: dict[str, Any] = {f"ArgumentName{n}": arn for n, arn in enumerate(arns, 1)}
    details |= {f"ArgumentValue{n}": "The destination does not exist" for n in range(1, len(arns) + 1)}
    error: S3Error = InvalidArgument("Unable to validate the following destination configurations", **details)
    return error


def _parse_rule(element: Element) -> Rule:
    name = tag_of(element)
    child, service = _KINDS[name]
    arn = find_text(element, child)
    found = _ARN.fullmatch(arn)
    if found is None or found[1] != service:
        raise InvalidArgument("The ARN is not well formed", ArgumentName=child, ArgumentValue=arn)
    events = tuple([(event.text or "").strip() for event in find_all(element, "Event")])
    for event in events:
        if event not in EVENTS:
            raise InvalidArgument(f"The event '{event}' is not supported for notifications", ArgumentName="Event")
    filters = _parse_filters(element)
    ident = find_text(element, "Id") or blake3.blake3(repr((arn, events, filters)).encode()).hexdigest()[:32]
    values = {kind.lower(): unquote_plus(value) for kind, value in filters}
    return Rule(name, ident, arn, found[2], events, values.get("prefix", ""), values.get("suffix", ""), tuple(filters))


def _parse_filters(element: Element) -> list[tuple[str, str]]:
    """(Name, Value) of the filter's rules, as given."""
    filters: list[tuple[str, str]] = []
    for outer in find_all(element, "Filter"):
        for key in find_all(outer, "S3Key"):
            for rule in find_all(key, "FilterRule"):
                value = next(child.text or "" for child in rule if tag_of(child) == "Value")
                filters.append((find_text(rule, "Name"), value))
    kinds = [kind.lower() for kind, _ in filters]
    for kind in kinds:
        if kind not in ("prefix", "suffix"):
            raise InvalidArgument("filter rule name must be either prefix or suffix", ArgumentName="FilterRule.Name")
        if kinds.count(kind) > 1:
            raise InvalidArgument(
                f"Cannot specify more than one {kind} rule in a filter.", ArgumentName=f"FilterRule.{kind}"
            )
    return filters


def _overlap(one_rule: Rule, other: Rule) -> bool:
    """Whether an event could be asked for by both: AWS has it that then neither is taken."""

    def meet(one_event: str, other_event: str) -> bool:
        if one_event == other_event:
            return True
        for wide, narrow in ((one_event, other_event), (other_event, one_event)):
            if wide.endswith(":*") and narrow.startswith(wide[:-1]):
                return True
        return False

    if not any(meet(mine, theirs) for mine in one_rule.events for theirs in other.events):
        return False
    begins = one_rule.prefix.startswith(other.prefix) or other.prefix.startswith(one_rule.prefix)
    ends = one_rule.suffix.endswith(other.suffix) or other.suffix.endswith(one_rule.suffix)
    return begins and ends


@lru_cache(maxsize=1024)
def decode_notification(body: bytes) -> tuple[Rule, ...]:
    """The rules of a stored document (``render_notification``'s, checked when it was put)."""
    return tuple(parse_notification(body, None))


def render_notification(rules: list[Rule] | tuple[Rule, ...]) -> bytes:
    """The document as it is stored and answered."""
    inner = "".join(_render_rule(rule) for rule in rules)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{ROOT} xmlns="{XMLNS}">{inner}</{ROOT}>'.encode()


def _render_rule(rule: Rule) -> str:
    child, _ = _KINDS[rule.element]
    events = "".join(f"<Event>{event}</Event>" for event in rule.events)
    filters = "".join(
        f"<FilterRule><Name>{escape_text(kind)}</Name><Value>{escape_text(value)}</Value></FilterRule>"
        for kind, value in rule.filters
    )
    filters = f"<Filter><S3Key>{filters}</S3Key></Filter>" if filters else ""
    head = f"<Id>{escape_text(rule.id)}</Id><{child}>{escape_text(rule.arn)}</{child}>"
    return f"<{rule.element}>{head}{events}{filters}</{rule.element}>"
