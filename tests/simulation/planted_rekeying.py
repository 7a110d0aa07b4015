"""One-line faults of sealing anew and of ending epochs, each of which rekeying worlds must notice."""

from __future__ import annotations

from dataclasses import fields

from replication.batch_format import hash_object
from replication.collector import Collector
from replication.membership import Census, take_census
from replication.rekeying import Rekeying


def end_an_epoch_that_others_need(patch):
    patch.setattr("gateway.cli.epoch_progress._is_done", lambda one, epoch: True)


def take_old_packs_for_alive(patch):
    patch.setattr(Rekeying, "is_old", lambda self, held: False)


def write_no_checkpoint_for_what_is_old(patch):
    patch.setattr(Collector, "wants_checkpoint", False)


def give_a_batch_sealed_anew_another_hash(patch):
    for module in ("batch_format", "puller", "parting", "shipper", "checkpoint_writer", "log_end"):
        patch.setattr(f"replication.{module}.chain_of", lambda keyring, origin, n, data: hash_object(data))


class _Childless(Census):
    """Nobody's heir."""

    def inherited(self):
        return {}


def childless(census):
    """The same census, of one who is nobody's heir."""
    return _Childless(*[getattr(census, field.name) for field in fields(census)])


def leave_the_logs_of_those_who_are_out(patch):
    patch.setattr("replication.rekeying.take_census", lambda log: childless(take_census(log)))


def leave_what_the_last_batch_of_a_log_holds(patch):
    patch.setattr(Rekeying, "framed_ends", lambda self: [])


def leave_unfinished_checkpoints(patch):
    async def clear_unfinished(self):
        pass

    patch.setattr(Rekeying, "clear_unfinished", clear_unfinished)


NOTICED = {
    end_an_epoch_that_others_need: 21,
    take_old_packs_for_alive: 1,
    write_no_checkpoint_for_what_is_old: 1,
    give_a_batch_sealed_anew_another_hash: 23,
    leave_the_logs_of_those_who_are_out: 23,
    leave_what_the_last_batch_of_a_log_holds: 79,
    leave_unfinished_checkpoints: 23,
}
"""For each the first seed that noticed it when it was planted."""
