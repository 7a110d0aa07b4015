"""The configuration: every way it can be wrong is told with place and reason, and the sample file holds every key."""

import dataclasses
import re
from pathlib import Path

import pytest

from gateway.cli.config_check import describe_config
from gateway.config import SECTIONS, Address, ConfigError, Overrides, load_config, parse_address
from gateway.config_reader import settable_fields

SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "skerry.toml"


def write(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return path


def problems_of(tmp_path, text, environment=None):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), environment or {})
    return [str(problem).replace(str(tmp_path) + "/", "") for problem in caught.value.problems]


def test_data_alone_is_a_configuration(tmp_path):
    config = load_config(None, {}, Overrides(data=tmp_path))
    assert config.data == tmp_path
    assert config.server.listen == "127.0.0.1:9000"
    assert config.cloud is None
    assert 1 <= config.workers <= 64


def test_nothing_is_no_configuration():
    with pytest.raises(ConfigError, match="data: is needed"):
        load_config(None, {})


def test_file_then_environment_then_options(tmp_path):
    path = write(tmp_path, '[site]\ndata = "d"\n[server]\nworkers = 2\nlisten = "0.0.0.0:1"\nregion = "eu-west-1"\n')
    environment = {"SKERRY_SERVER_WORKERS": "3", "SKERRY_SERVER_LISTEN": "0.0.0.0:2", "SKERRY_SERVER_ACCESS_LOG": "yes"}
    config = load_config(path, environment, Overrides(listen="0.0.0.0:3"))
    assert (config.server.region, config.workers, config.server.listen) == ("eu-west-1", 3, "0.0.0.0:3")
    assert config.server.access_log is True
    assert config.data == tmp_path / "d"


def test_paths_of_a_file_are_relative_to_it_those_of_variables_are_not(tmp_path):
    path = write(tmp_path, '[site]\ndata = "/d"\n[realm]\nkey_file = "k"\n')
    assert load_config(path, {}).realm.key_file == tmp_path / "k"
    assert load_config(path, {"SKERRY_REALM_KEY_FILE": "k"}).realm.key_file == Path("k")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[site]\ndata = "d"\n[server]\nlisten = 9000\n', "site.toml:4: [server] listen: must be a string, not int"),
        (
            '[site]\ndata = "d"\n[server]\nlisten = "9000"\n',
            "site.toml:4: [server] listen: must be HOST:PORT, not '9000'",
        ),
        (
            '[site]\ndata = "d"\n[server]\nworkers = 65\n',
            "site.toml:4: [server] workers: must be between 0 and 64, not 65",
        ),
        (
            '[site]\ndata = "d"\n[server]\nworkers = true\n',
            "site.toml:4: [server] workers: must be a whole number, not bool",
        ),
        (
            '[site]\ndata = "d"\n\n[server]\n\nlisen = "x"\n',
            "site.toml:6: [server] lisen: unknown key; did you mean listen?",
        ),
        ('[site]\ndata = "d"\n[sever]\n', "site.toml:3: [sever]: unknown section; did you mean server?"),
        ('data = "d"\n', "site.toml:1: [data]: unknown key outside a section"),
        ('[site]\ndata = ""\n', "site.toml:2: [site] data: must be a path, not empty"),
        ('[site]\ndata = "d"\n[log]\nlevel = "loud"\n', "site.toml:4: [log] level: must be one of debug, info"),
        (
            '[site]\ndata = "d"\n[server]\ndomains = ["a.b"]\nwebsite_domains = ["c", "a.b"]\n',
            "site.toml:5: [server] website_domains: must be other names than domains",
        ),
        (
            '[site]\ndata = "d"\n[server]\nwebsite_domains = ["a b"]\n',
            "site.toml:4: [server] website_domains: not a lower-case domain name: 'a b'",
        ),
        (
            '[site]\ndata = "d"\n[server]\ndomains = ["A_b"]\n',
            "site.toml:4: [server] domains: not a lower-case domain name",
        ),
        (
            '[site]\ndata = "d"\n[server]\ndrain_timeout_s = nan\n',
            "site.toml:4: [server] drain_timeout_s: must be a finite",
        ),
        (
            '[site]\ndata = "d"\n[server]\ntls_key_file = "k"\n',
            "site.toml:4: [server] tls_key_file: needs tls_certificate",
        ),
        ('[site]\ndata = "d"\n[cloud]\nprefix = "p"\n', "site.toml:4: [cloud] prefix: means nothing without bucket"),
        ('[site]\ndata = "d"\n[cloud]\nbucket = "b1b"\n', "site.toml:4: [cloud] bucket: needs credentials"),
        (
            '[site]\ndata = "d"\n[realm]\nkey_file = "k"\nkey_command = ["c"]\n',
            "site.toml:5: [realm] key_command: only one source of the root key can be given, and key_file is",
        ),
        (
            '[site]\ndata = "d"\n[cloud]\nbucket = "b1b"\naccess_key = "a"\n',
            "site.toml:5: [cloud] access_key: needs secret_key too",
        ),
        (
            '[site]\ndata = "d"\n[cloud]\nendpoint_url = "ftp://x"\nbucket = "b1b"\naccess_key="a"\nsecret_key="s"\n',
            "site.toml:4: [cloud] endpoint_url: must be a URL",
        ),
        ("[site]\nserver.listen = 3\ndata = 'x'\n", "site.toml:2: [site] server: unknown key"),
        ('site.dta = "d"\n', "site.toml:1: [site] dta: unknown key; did you mean data?"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_reason(tmp_path, text, expected):
    assert [problem for problem in problems_of(tmp_path, text) if problem.startswith(expected)]


def test_all_problems_at_once(tmp_path):
    found = problems_of(tmp_path, "[site]\nname = '-'\n[server]\nworkers = -1\n", {"SKERRY_LOG_LEVEL": "x"})
    assert [problem.split(": ")[0] for problem in found] == [
        "site.toml:2",
        "site.toml:4",
        "SKERRY_LOG_LEVEL",
        "site.toml:1",
    ]


def test_broken_toml_names_the_line(tmp_path):
    assert problems_of(tmp_path, '[site]\ndata = "d\n')[0].startswith("site.toml:2: ")
    assert problems_of(tmp_path, "[site\n")[0].startswith("site.toml:1: ")


def test_unreadable_files_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"[site]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "latin.toml", {})


def test_check_takes_a_key_that_is_still_to_be_made(tmp_path):
    """`skerry config check && skerry serve` is how a first site is started."""
    path = write(tmp_path, '[site]\ndata = "d"\n[realm]\nkey_file = "realm.key"\n')
    load_config(path, {}, try_files=True)
    path = write(tmp_path, '[site]\ndata = "d"\n[realm]\nkey_file = "nowhere/realm.key"\n')
    with pytest.raises(ConfigError, match=r"key_file: .* cannot be read"):
        load_config(path, {}, try_files=True)
    path = write(tmp_path, '[site]\ndata = "d"\n[realm]\npassphrase_file = "passphrase"\n')
    with pytest.raises(ConfigError, match=r"passphrase_file: .* cannot be read"):
        load_config(path, {}, try_files=True)


def test_wrong_variables_are_told_and_an_orchestrators_are_let_be(tmp_path):
    path = write(tmp_path, '[site]\ndata = "d"\n')
    load_config(path, {"SKERRY_PORT": "tcp://10.0.0.1:80", "SKERRY_SERVICE_HOST": "x", "SKERRY_ROOT_ACCESS_KEY": "a"})
    with pytest.raises(ConfigError, match="SKERRY_SERVER_LISEN: unknown variable; did you mean SKERRY_SERVER_LISTEN"):
        load_config(path, {"SKERRY_SERVER_LISEN": "x"})
    with pytest.raises(ConfigError, match=r"SKERRY_SERVER_WORKERS: \[server\] workers: must be a whole number"):
        load_config(path, {"SKERRY_SERVER_WORKERS": "two"})


def test_secrets_are_not_shown(tmp_path):
    text = '[site]\ndata = "d"\n[cloud]\nbucket = "b1b"\naccess_key = "AK"\nsecret_key = "very-secret"\n'
    config = load_config(write(tmp_path, text), {})
    assert config.cloud.secret_key == "very-secret"
    assert "very-secret" not in repr(config)
    assert "very-secret" not in str(describe_config(config))
    assert "AK" in str(describe_config(config))


@pytest.mark.parametrize("text", ["host", "host:", ":1", "host:65536", "host:-1", "::1:80", "host:٣"])
def test_bad_addresses(text):
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


def test_good_addresses():
    assert parse_address("[::1]:80") == Address("::1", 80)
    assert str(parse_address("[::1]:80")) == "[::1]:80"
    assert parse_address("localhost:0") == Address("localhost", 0)


def test_the_sample_loads_as_it_stands():
    assert load_config(SAMPLE, {}).data == Path("/var/lib/skerry")


def test_the_sample_holds_every_key_with_its_default(tmp_path):
    """Uncommented, line by line: each key is known, right in type, and its default is the real one."""
    text = SAMPLE.read_text()
    section, seen = "", {}
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif assignment := re.match(r"(?:# )?(\w+) = (.*)", line):
            seen[section, assignment[1]] = line
    expected = {(name, field.name) for name, schema in SECTIONS.items() for field in settable_fields(schema)}
    assert set(seen) == expected
    for (name, key_name), line in seen.items():
        beside = '[cloud]\nbucket = "b1b"\naccess_key = "a"\nsecret_key = "s"\n'
        alone = '[site]\ndata = "d"\n' + (beside if name == "cloud" else f"[{name}]\n")
        uncommented = line.removeprefix("# ")
        if re.search(r"# example", line) or line == uncommented:
            continue
        config = load_config(write(tmp_path, alone + uncommented + "\n"), {})
        default = next(field.default for field in dataclasses.fields(SECTIONS[name]) if field.name == key_name)
        assert getattr(getattr(config, name), key_name) == default, line


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('wrapped_key_file = "w"\n', "wrapped_key_file: needs the vault_ or the kms_ keys: who unwraps it"),
        ('wrapped_key_file = "w"\nvault_address = "http://v"\n', "wrapped_key_file: needs vault_key"),
        ('wrapped_key_file = "w"\nkms_key = "k"\n', "wrapped_key_file: needs kms_region"),
        ('kms_key = "k"\nkms_region = "r"\n', "kms_key: needs wrapped_key_file"),
    ],
)
def test_a_wrapped_key_needs_exactly_one_who_unwraps_it(tmp_path, lines, expected):
    (problem,) = problems_of(tmp_path, f'[site]\ndata = "d"\n[realm]\n{lines}')
    assert problem.endswith(expected)
    vault = 'vault_address = "http://v"\nvault_key = "k"\nvault_token_file = "t"\n'
    load_config(write(tmp_path, f'[site]\ndata = "d"\n[realm]\nwrapped_key_file = "w"\n{vault}'), {})


def test_the_samples_examples_load_too(tmp_path):
    """With everything uncommented, but one of each set of alternatives, the file is a configuration."""
    alternatives = ("passphrase_file", "key_command", "credentials_file", "wrapped_key_file", "vault_", "kms_")
    lines = [re.sub(r"^# (\w+ = )", r"\1", line) for line in SAMPLE.read_text().splitlines()]
    config = load_config(write(tmp_path, "\n".join(line for line in lines if not line.startswith(alternatives))), {})
    assert config.cloud.bucket
    assert config.site_name == "north"
