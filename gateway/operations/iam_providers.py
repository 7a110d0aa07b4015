"""IAM's verbs about OpenID Connect providers. Parameters in, result fields out; one view each."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.identity.providers import (
    create_provider,
    delete_provider,
    find_provider_by_arn,
    list_providers,
    parse_issuer,
    provider_arn,
    save_provider,
)
from gateway.operations.iam_requests import (
    Action,
    IamRequest,
    read_tags,
    show_page,
    shown_tags,
    shown_time,
    without_tags,
)
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.identity_format import ProviderRecord
from gateway.store.ports import ReadView, WriteView

_ARN: Final = re.compile(r"arn:aws:iam::[0-9]{12}:oidc-provider/[\x21-\x7e]+", re.ASCII)


def _find(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> ProviderRecord:
    parameters.text("OpenIDConnectProviderArn", size_min=20, size_max=2048)
    arn = parameters.matching("OpenIDConnectProviderArn", _ARN, 2048)
    request.authorize(action, arn)
    return find_provider_by_arn(view, request.account, arn)


def create(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreateOpenIDConnectProvider. Nothing is fetched: whether the issuer answers is told by the first token."""
    scheme, url = parse_issuer(parameters.text("Url", size_max=255))
    provider = ProviderRecord(
        account=request.account,
        url=url,
        scheme=scheme,
        created_ms=view.now_ms,
        client_ids=tuple(dict.fromkeys(parameters.members("ClientIDList"))),
        thumbprints=tuple(dict.fromkeys(parameters.members("ThumbprintList"))),
        tags=read_tags(parameters),
    )
    request.authorize("iam:CreateOpenIDConnectProvider", provider_arn(provider))
    create_provider(view, provider)
    return {
        "OpenIDConnectProviderArn": provider_arn(provider),
        "Tags": shown_tags(provider.tags) if provider.tags else None,
    }


def get(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetOpenIDConnectProvider."""
    provider = _find(request, view, parameters, "iam:GetOpenIDConnectProvider")
    return {
        "Url": provider.url,
        "ClientIDList": list(provider.client_ids),
        "ThumbprintList": list(provider.thumbprints),
        "CreateDate": shown_time(provider.created_ms),
        "Tags": shown_tags(provider.tags) if provider.tags else None,
    }


def list_all(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListOpenIDConnectProviders."""
    request.authorize("iam:ListOpenIDConnectProviders", request.arn("oidc-provider/*"))
    providers = list_providers(view, request.account)
    return {"OpenIDConnectProviderList": [{"Arn": provider_arn(provider)} for provider in providers]}


def delete(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteOpenIDConnectProvider."""
    delete_provider(view, _find(request, view, parameters, "iam:DeleteOpenIDConnectProvider"))


def update_thumbprint(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UpdateOpenIDConnectProviderThumbprint: the whole list anew."""
    provider = _find(request, view, parameters, "iam:UpdateOpenIDConnectProviderThumbprint")
    prints = tuple(dict.fromkeys(parameters.members("ThumbprintList")))
    save_provider(view, msgspec.structs.replace(provider, thumbprints=prints))


def add_client_id(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """AddClientIDToOpenIDConnectProvider; again is no error."""
    provider = _find(request, view, parameters, "iam:AddClientIDToOpenIDConnectProvider")
    clients = tuple(dict.fromkeys((*provider.client_ids, parameters.text("ClientID", size_max=255))))
    save_provider(view, msgspec.structs.replace(provider, client_ids=clients))


def remove_client_id(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """RemoveClientIDFromOpenIDConnectProvider; one that is not there is no error."""
    provider = _find(request, view, parameters, "iam:RemoveClientIDFromOpenIDConnectProvider")
    gone = parameters.text("ClientID", size_max=255)
    clients = tuple([client for client in provider.client_ids if client != gone])
    save_provider(view, msgspec.structs.replace(provider, client_ids=clients))


def tag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """TagOpenIDConnectProvider."""
    provider = _find(request, view, parameters, "iam:TagOpenIDConnectProvider")
    save_provider(view, msgspec.structs.replace(provider, tags=read_tags(parameters, provider.tags)))


def untag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UntagOpenIDConnectProvider."""
    provider = _find(request, view, parameters, "iam:UntagOpenIDConnectProvider")
    save_provider(view, msgspec.structs.replace(provider, tags=without_tags(provider.tags, parameters)))


def list_tags(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListOpenIDConnectProviderTags."""
    provider = _find(request, view, parameters, "iam:ListOpenIDConnectProviderTags")
    tags = list(provider.tags.items())
    return show_page(parameters, "Tags", tags, lambda tag: tag[0], lambda tag: {"Key": tag[0], "Value": tag[1]})


ACTIONS: Final[dict[str, Action]] = {
    "AddClientIDToOpenIDConnectProvider": Action(add_client_id, True),
    "CreateOpenIDConnectProvider": Action(create, True),
    "DeleteOpenIDConnectProvider": Action(delete, True),
    "GetOpenIDConnectProvider": Action(get, False),
    "ListOpenIDConnectProviders": Action(list_all, False),
    "ListOpenIDConnectProviderTags": Action(list_tags, False),
    "RemoveClientIDFromOpenIDConnectProvider": Action(remove_client_id, True),
    "TagOpenIDConnectProvider": Action(tag, True),
    "UntagOpenIDConnectProvider": Action(untag, True),
    "UpdateOpenIDConnectProviderThumbprint": Action(update_thumbprint, True),
}
"""What this file does."""
