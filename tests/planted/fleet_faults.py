"""Planted faults of what many sites ask and cost, and of what an operator is told on the way. See ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_REQUESTS = "tests/replication/test_cloud_requests.py"
_TALLY = "tests/gateway/cli/test_request_tally.py"
_FAILURES = "tests/replication/test_connection_failures.py"

FLEET_FAULTS: Final = (
    Fault(
        *("forget a site of which another is known to have heard more", 3, "replication/departures.py"),
        *("if not (insist or revoked) and (ahead", "if False and (ahead"),
        ("tests/replication/test_departures.py",),
    ),
    Fault(
        *("count requests that were answered only", 6, "replication/cloud_requests.py"),
        *('register("before-call.s3", note)', 'register("after-call.s3", note)'),
        (f"{_REQUESTS}::test_every_request_is_counted_whatever_becomes_of_it",),
    ),
    Fault(
        *("take what a site asked in a minute for what it asks in an hour", 6, "replication/cloud_requests.py"),
        *("count * HOUR_MS / max(self.hour_ms, 1)", "count * 1.0"),
        (f"{_REQUESTS}::test_an_hour_that_passed_whole_is_what_a_site_asks_in_an_hour",),
    ),
    Fault(
        *("count what was asked before a gap for the hour behind it", 6, "replication/cloud_requests.py"),
        *("follows = HOUR_MS <= passed_ms < 2 * HOUR_MS", "follows = True"),
        (f"{_REQUESTS}::test_a_gap_or_a_clock_that_was_set_begins_a_new_hour",),
    ),
    Fault(
        *("count for each process of a site alone", 6, "gateway/cli/request_tally.py"),
        *("self._map = mmap.mmap(self._fd, TALLY_SIZE)", "self._map = mmap.mmap(-1, TALLY_SIZE)"),
        (f"{_TALLY}::test_several_holders_count_in_one_tally",),
    ),
    Fault(
        *("let a forgotten machine rest until it has something to say", 6, "replication/shipper.py"),
        *("(is_retiring(self._log) or bool(why_out(self._log)))", "is_retiring(self._log)"),
        ("tests/replication/test_service.py::test_an_idle_site_that_is_out_acts_when_it_hears_of_it",),
    ),
    Fault(
        *("call a site safe to lose whose log nobody takes in", 6, "gateway/cli/site_status.py"),
        *("out=_why_out(site)", 'out=""'),
        ("tests/gateway/cli/test_fleet_view.py::test_a_site_that_is_out_is_not_called_safe_to_lose",),
    ),
    Fault(
        *("forget listings in the price of requests", 6, "gateway/cli/request_tally.py"),
        *('hourly["put"] + hourly["list"]', 'hourly["put"]'),
        (f"{_TALLY}::test_the_price_of_a_month_is_at_the_pace_of_the_last_hour",),
    ),
    Fault(
        *("let a site go down with a worker while Vault is away", 0, "gateway/cli/site.py"),
        *("_open_handed(config, directory, root_key) if root_key else None", "None"),
        ("tests/gateway/cli/test_site.py::test_a_root_key_that_was_handed_over_is_used_and_nobody_asked",),
    ),
    Fault(
        *("hand the children no root key", 0, "gateway/cli/serve.py"),
        *("Orders(config, root_key=site.realm.root_key_text())", "Orders(config)"),
        ("tests/e2e/test_vault.py::test_who_dies_while_vault_is_away_is_started_again",),
    ),
    Fault(
        *("hold on to a root key that was ended", 0, "gateway/cli/site.py"),
        *("except WrongRealmKey:  # it was ended since", "except ZeroDivisionError:  # it was ended since"),
        (
            "tests/gateway/cli/test_site.py::test_a_handed_root_key_that_was_ended_since_gives_way_to_the_configured_one",
        ),
    ),
    Fault(
        *("tell a refusal of Vault's in three lines", 0, "replication/wrapped_root_keys.py"),
        *('" ".join("; ".join(document["errors"]).split())', '"; ".join(document["errors"])'),
        ("tests/replication/test_wrapped_root_keys.py::test_a_refusal_of_several_lines_is_told_in_one",),
    ),
    Fault(
        *("call a configuration wrong for a key that its first start makes", 0, "gateway/config_checks.py"),
        *("if (name, key_name) not in _MADE or not", "if True or not"),
        ("tests/gateway/test_config.py::test_check_takes_a_key_that_is_still_to_be_made",),
    ),
    Fault(
        *("tell nobody which setting names the cloud's authority", 0, "replication/connection_failures.py"),
        *("if isinstance(refused, ssl.SSLCertVerificationError):", "if False:"),
        (f"{_FAILURES}::test_a_certificate_of_a_private_authority_names_the_setting",),
    ),
    Fault(
        *("tell of a proxy that wants a password as of one that is not there", 0, "replication/connection_failures.py"),
        *("if status in (PROXY_REFUSAL, 401):", "if status == 401:"),
        (f"{_FAILURES}::test_a_proxy_that_refuses",),
    ),
    Fault(
        *("tell what was sent to the proxy, password and all", 0, "replication/connection_failures.py"),
        *('    return f"{kind}: {told}" if told else kind', '    return f"{kind}: {told}; {error.kwargs}"'),
        (f"{_FAILURES}::test_a_proxy_that_refuses",),
    ),
    Fault(
        *("leave out who else is waited for", 6, "gateway/cli/fleet_view.py"),
        *("if rest := waits[WAITS_SHOWN:]:", "if rest := waits[:0]:"),
        ("tests/gateway/cli/test_fleet_view.py::test_in_a_large_realm_only_the_longest_waits_have_a_line_each",),
    ),
)
