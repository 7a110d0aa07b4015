"""Root keys that Vault or AWS KMS unwraps: one suite over both protocols, and what each can go wrong with."""

import ssl

import boto3
import pytest
from moto.server import ThreadedMotoServer

from replication.keys import create_realm, open_realm
from replication.root_keys import RootKeyUnusable
from replication.wrapped_root_keys import AwsKms, VaultTransit, WrappedRootKey
from tests.support.authority import make_authority
from tests.support.vault import TOKEN, FakeVault

REGION = "eu-central-1"


@pytest.fixture
def vault():
    with FakeVault() as running:
        yield running


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def kms_endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(kms_endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("kms", region_name=REGION, endpoint_url=kms_endpoint)
    key = client.create_key()["KeyMetadata"]["KeyId"]
    return AwsKms(key, REGION, kms_endpoint), client


@pytest.fixture(params=["vault", "aws-kms"])
def service(request):
    if request.param == "vault":
        return VaultTransit(request.getfixturevalue("vault").address, "skerry", request.getfixturevalue("token_file"))
    return request.getfixturevalue("kms")[0]


def test_what_is_wrapped_comes_back_and_is_not_in_the_ciphertext(service):
    wrapped = service.wrap(b"some secret text")
    assert wrapped.split() == [wrapped]
    assert "secret" not in wrapped
    assert service.wrap(b"some secret text") != wrapped
    assert service.unwrap(wrapped) == b"some secret text"


def test_a_realm_is_made_and_opened_with_it(service, tmp_path):
    root = WrappedRootKey(tmp_path / "wrapped", service)
    root.generate()
    with pytest.raises(FileExistsError):
        root.generate()
    assert (tmp_path / "wrapped").stat().st_mode & 0o777 == 0o600
    made = create_realm(root, 1)
    assert open_realm(root, made.objects).keyring.current == made.opened.keyring.current
    key = root.root_key(made.opened.realm)
    assert key.hex() not in (tmp_path / "wrapped").read_text()


def test_a_ciphertext_that_is_none_is_refused_without_being_repeated(service):
    for ciphertext in ("nonsense", "dmF1bHQ6djE6", "vault:v1:AAAA", "vault:v9:AAAA"):
        with pytest.raises(RootKeyUnusable) as refused:
            service.unwrap(ciphertext)
        assert ciphertext not in str(refused.value)


def test_a_service_that_is_not_there_is_said(tmp_path, token_file, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    nowhere = "http://127.0.0.1:9"
    for away in (VaultTransit(nowhere, "skerry", token_file), AwsKms("key", REGION, nowhere)):
        with pytest.raises(RootKeyUnusable, match=r"not answer|cannot be asked"):
            away.wrap(b"text")


def test_files_that_hold_no_wrapped_key(service, tmp_path):
    path = tmp_path / "wrapped"
    root = WrappedRootKey(path, service)
    realm = create_realm(_made(tmp_path, service), 1).opened.realm
    for text in (None, "", "skerry-realm-key-1 a b", f"skerry-wrapped-key-1 other {service.wrap(b'x')}"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(RootKeyUnusable):
            root.root_key(realm)
    path.write_text(f"skerry-wrapped-key-1 {service.name} {service.wrap(b'no key text')}")
    with pytest.raises(RootKeyUnusable, match="not a key text"):
        root.root_key(realm)


def _made(tmp_path, service):
    root = WrappedRootKey(tmp_path / "first", service)
    root.generate()
    return root


def test_vault_keys_may_be_rotated_there(vault, token_file):
    service = VaultTransit(vault.address, "skerry", token_file, namespace="team/one")
    old = service.wrap(b"text")
    vault.rotate("skerry")
    assert service.wrap(b"text").startswith("vault:v2:")
    assert service.unwrap(old) == b"text"
    assert set(vault.namespaces) == {"team/one"}


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda vault: setattr(vault, "sealed", True), "sealed; .*operator unseal"),
        (lambda vault: vault.keys.clear(), "not found; .*keys/skerry"),
        (lambda vault: setattr(vault, "mount", "elsewhere"), "no handler.*; .*vault_mount"),
        (
            lambda vault: setattr(vault, "answer", (400, b"Client sent an HTTP request to an HTTPS server.")),
            "vault_address",
        ),
        (lambda vault: setattr(vault, "answer", (200, b"<html>portal</html>")), "not Vault's"),
        (lambda vault: setattr(vault, "answer", (200, b'{"data": {}}')), "without plaintext"),
        (lambda vault: setattr(vault, "answer", (200, b'{"data": {"plaintext": "***"}}')), "not base64"),
        (lambda vault: setattr(vault, "answer", (500, b'{"errors": []}')), "no reason"),
        (lambda vault: setattr(vault, "answer", (307, b"")), "not Vault's"),
    ],
)
def test_what_vault_says_wrong_is_said(vault, token_file, harm, word):
    service = VaultTransit(vault.address, "skerry", token_file)
    wrapped = service.wrap(b"text")
    harm(vault)
    with pytest.raises(RootKeyUnusable, match=word):
        service.unwrap(wrapped)


def test_a_refusal_of_several_lines_is_told_in_one(vault, token_file):
    """As OpenBao 2.7 and Vault answer who holds a token without the policy."""
    vault.answer = (403, b'{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}\n')
    with pytest.raises(RootKeyUnusable, match=r"permission denied; .*transit/encrypt/skerry") as refused:
        VaultTransit(vault.address, "skerry", token_file).wrap(b"text")
    assert len(str(refused.value).splitlines()) == 1
    assert TOKEN not in str(refused.value)


def test_a_vault_with_an_authority_of_its_own(token_file, tmp_path):
    authority = make_authority(tmp_path / "ca", "vault.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain, authority.key)
    with FakeVault() as vault:
        vault.wrap_in(context)
        address = vault.address.replace("http:", "https:")
        with pytest.raises(RootKeyUnusable, match=r"not trusted here.*vault_ca_file"):
            VaultTransit(address, "skerry", token_file).wrap(b"text")
        service = VaultTransit(address, "skerry", token_file, ca_file=authority.root)
        assert service.unwrap(service.wrap(b"text")) == b"text"


def test_vaults_token_is_guarded(vault, token_file):
    token_file.write_text("hvs.another")
    with pytest.raises(RootKeyUnusable, match="permission denied") as refused:
        VaultTransit(vault.address, "skerry", token_file).wrap(b"text")
    assert "hvs.another" not in str(refused.value)
    token_file.chmod(0o644)
    with pytest.raises(RootKeyUnusable, match="only its owner"):
        VaultTransit(vault.address, "skerry", token_file).wrap(b"text")
    token_file.chmod(0o600)
    for address in ("vault:8200", "ftp://vault", "http://vault:port"):
        with pytest.raises(RootKeyUnusable, match="vault_address"):
            VaultTransit(address, "skerry", token_file).wrap(b"text")


def test_kms_refuses_a_key_that_is_not_there_and_anothers_ciphertext(kms):
    service, client = kms
    with pytest.raises(RootKeyUnusable, match="KMS refuses"):
        AwsKms("alias/nobody", REGION, service.endpoint_url).wrap(b"text")
    other = AwsKms(client.create_key()["KeyMetadata"]["KeyId"], REGION, service.endpoint_url)
    with pytest.raises(RootKeyUnusable, match="KMS refuses"):
        other.unwrap(service.wrap(b"text"))
