"""IAM's verbs about what there is none of here: passwords, MFA devices, certificates, instance profiles, SAML.

Scripts and infrastructure tools ask for these before they delete a user or a role. The answer is true: there are none,
and none can be made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.operations.iam_requests import Action, IamRequest, Verb
from gateway.operations.iam_roles import find_named_role
from gateway.operations.iam_users import find_user
from gateway.s3.query_errors import NoSuchEntity
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.ports import ReadView

Find = Callable[[IamRequest, ReadView, Parameters, str], object]
_OF_USERS: Final = {
    "ListMFADevices": "MFADevices",
    "ListServiceSpecificCredentials": "ServiceSpecificCredentials",
    "ListSigningCertificates": "Certificates",
    "ListSSHPublicKeys": "SSHPublicKeys",
}
_OF_ACCOUNTS: Final = {
    "ListInstanceProfiles": "InstanceProfiles",
    "ListSAMLProviders": "SAMLProviderList",
    "ListServerCertificates": "ServerCertificateMetadataList",
    "ListVirtualMFADevices": "VirtualMFADevices",
}


def get_login_profile(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetLoginProfile: no user has a password."""
    user = find_user(request, view, parameters, "iam:GetLoginProfile")
    raise NoSuchEntity(f"Login Profile for User {user.name} cannot be found.")


def delete_login_profile(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """DeleteLoginProfile: as clean-up scripts ask before they delete a user."""
    user = find_user(request, view, parameters, "iam:DeleteLoginProfile")
    raise NoSuchEntity(f"Login Profile for User {user.name} cannot be found.")


def get_password_policy(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetAccountPasswordPolicy: nobody has a password."""
    request.authorize("iam:GetAccountPasswordPolicy", "*")
    raise NoSuchEntity("The Password Policy with domain name cannot be found.")


def _make_empty_list(action: str, element: str, find: Find) -> Action:
    def run(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
        find(request, view, parameters, f"iam:{action}")
        return {element: [], "IsTruncated": False}

    verb: Verb = run
    return Action(verb, False)


def _find_account(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> None:
    request.authorize(action, "*")


ACTIONS: Final[dict[str, Action]] = {
    "DeleteLoginProfile": Action(delete_login_profile, False),
    "GetAccountPasswordPolicy": Action(get_password_policy, False),
    "GetLoginProfile": Action(get_login_profile, False),
    "ListInstanceProfilesForRole": _make_empty_list("ListInstanceProfilesForRole", "InstanceProfiles", find_named_role),
    **{action: _make_empty_list(action, element, find_user) for action, element in _OF_USERS.items()},
    **{action: _make_empty_list(action, element, _find_account) for action, element in _OF_ACCOUNTS.items()},
}
"""What this file answers."""
