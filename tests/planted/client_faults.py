"""Planted faults of what clients may do to a worker, and of where secrets may go. See ``faults``.

They break no promise of DESIGN §1 but the bounds of §8 and the rules of §7: their promise is 0.
"""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_AT_ONCE = "tests/gateway/http/test_at_once.py"
_WRITES = "tests/gateway/http/test_writes_at_once.py"
_UNSENT = "tests/gateway/http/test_unsent.py"
_CROWD = "tests/gateway/http/test_crowd.py"
_HANDSHAKES = "tests/gateway/http/test_handshakes.py"
_CONFLICTS = "tests/gateway/http/test_conflict_headers.py"
_SECRETS = "tests/e2e/test_secrets.py"
_CLOUD_S3 = "tests/replication/test_cloud_s3.py"

CLIENT_FAULTS: Final = (
    Fault(
        *("tell of no losers where a key has some", 0, "gateway/operations/objects_get.py"),
        *("if version.contested else NO_CONTEST", "if False else NO_CONTEST"),
        (f"{_CONFLICTS}::test_a_key_tells_how_many_losers_it_has_and_a_loser_that_it_is_one",),
    ),
    Fault(
        *("tell of no losers where the key is gone", 0, "gateway/operations/objects_get.py"),
        *("headers=contest_headers(*view.contest(bucket.uid, key)), ", ""),
        (f"{_CONFLICTS}::test_a_key_that_a_delete_won_tells_that_a_value_is_kept",),
    ),
    Fault(
        *("call a version contested whatever its key", 0, "gateway/store/contest.py"),
        *("    if data is None:\n        return Contest()", "    if data is None:\n        return Contest(1)"),
        (f"{_CONFLICTS}::test_a_key_that_a_delete_won_tells_that_a_value_is_kept",),
    ),
    Fault(
        *("say of every loser that it lost to a write", 0, "gateway/store/contest.py"),
        *("winner is None or winner.dead or", "False and"),
        (f"{_CONFLICTS}::test_a_key_that_a_delete_won_tells_that_a_value_is_kept",),
    ),
    Fault(
        *("tell of no condition that did not hold", 0, "gateway/s3/object_headers.py"),
        *("    if broken:\n", "    if False:\n"),
        (f"{_CONFLICTS}::test_a_condition_that_did_not_hold_is_told",),
    ),
    Fault(
        *("hold any amount of answers nobody takes", 0, "gateway/http/unsent.py"),
        *("while self._held and self.bytes > self._bytes_max:", "while False:"),
        (_UNSENT,),
    ),
    Fault(
        *("wait for ever for who takes nothing", 0, "gateway/http/unsent.py"),
        *("if since_s <= before_s]:", "if False]:"),
        (_UNSENT,),
    ),
    Fault(
        *("leave closing connections to their clients", 0, "gateway/http/protocol.py"),
        *("            elif since_s <= now_s - self._answer_timeout_s:", "            elif False:"),
        (f"{_UNSENT}::test_a_closing_connection_whose_client_takes_nothing_is_ended",),
    ),
    Fault(
        *("answer at once although its client takes nothing", 0, "gateway/http/protocol.py"),
        *("if len(self._messages) != 1 or self._paused or", "if len(self._messages) != 1 or"),
        (f"{_AT_ONCE}::test_at_once_means_not_while_the_client_takes_nothing",),
    ),
    Fault(
        *("leave the task of a connection that was cut off", 0, "gateway/http/protocol.py"),
        *("                waiter.cancel()\n", "                pass\n"),
        (f"{_AT_ONCE}::test_a_connection_that_is_cut_off_by_its_own_answer_ends",),
    ),
    Fault(
        *("tell of errors in a way of its own", 0, "gateway/http/app.py"),
        *("            answer = self._fail(call, error)\n", "            return None\n"),
        (f"{_AT_ONCE}::test_what_is_answered_at_once",),
    ),
    Fault(
        *("begin a write before its body has come", 0, "gateway/http/protocol.py"),
        *('message.method != "PUT" or not payload.is_eof() or', 'message.method != "PUT" or'),
        (f"{_WRITES}::test_a_body_in_pieces_is_waited_for_in_the_task",),
    ),
    Fault(
        *("let a read overtake the write before it", 0, "gateway/http/protocol.py"),
        *("        if waiter.done() or self._write is not None:\n", "        if waiter.done():\n"),
        (f"{_WRITES}::test_what_comes_behind_a_write_waits_for_it",),
    ),
    Fault(
        *("take a connection whose write is under way for idle", 0, "gateway/http/protocol.py"),
        *("self._request_in_progress or self._write is not None or", "self._request_in_progress or"),
        (f"{_WRITES}::test_a_write_under_way_keeps_its_connection",),
    ),
    Fault(
        *("begin at once whatever the account may do", 0, "gateway/http/app.py"),
        *("self._answer(call, self._admit(call, handler), started_ns)", "self._answer(call, None, started_ns)"),
        (f"{_WRITES}::test_nothing_is_begun_for_who_is_not_admitted",),
    ),
    Fault(
        *("read on without any budget", 0, "gateway/http/object_reads.py"),
        *("return 0, min(left, _CRUMB)", "return 0, left"),
        ("tests/gateway/http/test_slow_readers.py",),
    ),
    Fault(
        *("keep what errors came through", 0, "gateway/http/failures.py"),
        *("        traceback.clear_frames(link.__traceback__)\n", ""),
        (f"{_UNSENT}::test_what_an_error_came_through_is_let_go",),
    ),
    Fault(
        *("walk all listings at once", 0, "gateway/http/turns.py"),
        *("        if not self._left:\n", "        if False:\n"),
        ("tests/gateway/http/test_turns.py",),
    ),
    Fault(
        *("let idle connections keep others out", 0, "gateway/http/protocol.py"),
        *("if connection.gives_way(now_s - _IDLE_MIN_S):", "if False:"),
        (f"{_UNSENT}::test_idle_connections_give_way_to_new_ones",),
    ),
    Fault(
        *("answer any number of requests at a time", 0, "gateway/http/app.py"),
        *("if self._in_flight > self._settings.requests_max and", "if False and"),
        (f"{_UNSENT}::test_too_many_requests_at_a_time_are_told_to_slow_down",),
    ),
    Fault(
        *("refuse each request of a flood", 0, "gateway/http/app.py"),
        *('return isinstance(error, SlowDown) and getattr(head.protocol, "has_followers", False)', "return False"),
        (f"{_UNSENT}::test_too_many_requests_at_a_time_are_told_to_slow_down",),
    ),
    Fault(
        *("let any number of handshakes begin", 0, "gateway/http/handshakes.py"),
        *("return len(self._shaking) < HANDSHAKES_MAX or self._end_oldest()", "return True"),
        (_HANDSHAKES,),
    ),
    Fault(
        *("wait for ever for a handshake", 0, "gateway/http/handshakes.py"),
        *("ssl_handshake_timeout=self._timeout_s", "ssl_handshake_timeout=3600"),
        (f"{_HANDSHAKES}::test_who_says_nothing_is_ended_in_time",),
    ),
    Fault(
        *("shake hands as often as a client likes", 0, "gateway/http/tls.py"),
        *("    context.options |= ssl.OP_NO_RENEGOTIATION", "    context.options &= ~ssl.OP_NO_RENEGOTIATION"),
        (f"{_HANDSHAKES}::test_a_connection_has_one_handshake",),
    ),
    Fault(
        *("let the greedy keep their place", 0, "gateway/http/unsent.py"),
        *("            if connection.has_followers:", "            if False:"),
        (f"{_UNSENT}::test_who_asks_for_more_and_takes_nothing_goes_at_once",),
    ),
    Fault(
        *("let a crowd cost nothing", 0, "gateway/http/protocol.py"),
        *("        manager.crowd.meet(len(manager.live))\n", ""),
        (f"{_CROWD}::test_less_is_parsed_ahead_in_a_crowd",),
    ),
    Fault(
        *("forget at once what a crowd cost", 0, "gateway/http/crowd.py"),
        *("cost + int((self.bytes - cost) * (1 - _CALM_DOWN)) if self.bytes > cost else cost", "cost"),
        (_CROWD,),
    ),
    Fault(
        *("parse all that is pipelined", 0, "gateway/http/protocol.py"),
        *("web_protocol.MAX_MSG_QUEUE_SIZE = _LISTED_MAX", "web_protocol.MAX_MSG_QUEUE_SIZE = 1000"),
        ("tests/gateway/http/test_pipelining.py",),
    ),
    Fault(
        *("wait for ever for bodies that trickle", 0, "gateway/http/body.py"),
        *("if self.bytes_read - self._pace_bytes < self._rate_min_bytes_s * waited_s:", "if False:"),
        (f"{_UNSENT}::test_a_body_that_trickles_is_given_up",),
    ),
    Fault(
        *("keep what a crowd left", 0, "gateway/store/allocator.py"),
        *("        library.malloc_trim(0)\n", ""),
        ("tests/gateway/store/test_allocator.py",),
    ),
    Fault(
        *("log the query of a request", 0, "gateway/http/app.py"),
        *('"path": call.resource,', '"path": call.request.raw_path,'),
        (f"{_SECRETS}::test_no_secret_is_logged_counted_told_or_answered",),
    ),
    Fault(
        *("give children the settings in the environment", 0, "gateway/cli/serve.py"),
        *("if not name.startswith(ENVIRONMENT_PREFIX)}", "if name}"),
        (f"{_SECRETS}::test_no_secret_is_an_argument_or_a_childs_variable",),
    ),
    Fault(
        *("leave core files", 0, "gateway/cli/core_dumps.py"),
        *("prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)", "prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)"),
        (f"{_SECRETS}::test_undumpable_is_what_it_says",),
    ),
    Fault(
        *("let everybody read new files", 0, "gateway/store/files.py"),
        *("FILE_MODE: Final = 0o600", "FILE_MODE: Final = 0o644"),
        (f"{_SECRETS}::test_files_are_their_owners_alone_and_only_two_keep_secrets",),
    ),
    # What operators say of sites.
    Fault(
        *("take a copied machine for the site its directory was made as", 3, "gateway/cli/site_verbs.py"),
        "if heir_named else site.replica.identity().site",
        "if heir_named else site.directory.site",
        ("tests/gateway/cli/test_commands.py::test_verbs_of_sites_know_a_machine_by_the_id_it_goes_on_under",),
    ),
    # What goes over the line besides.
    Fault(
        *("tell the cloud which kernel this is", 4, "replication/lean_requests.py"),
        *('    headers["User-Agent"] = USER_AGENT\n', ""),
        (f"{_CLOUD_S3}::test_the_head_of_a_request_has_only_what_the_bucket_needs",),
    ),
    Fault(
        *("send large bodies unasked", 0, "replication/lean_requests.py"),
        *("AT_ONCE_MAX + 1)) <= AT_ONCE_MAX", "0)) <= 1 << 40"),
        (f"{_CLOUD_S3}::test_only_what_is_large_asks_before_it_is_sent",),
    ),
    Fault(
        *("begin to tell of events when their process has started", 1, "gateway/cli/serve.py"),
        *("        PositionFile(site.directory, name).begin(newest)", "        pass"),
        ("tests/gateway/events/test_positions.py",),
    ),
)
