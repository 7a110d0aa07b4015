"""Whether each segment file is the one its name says: a look at 128 bytes of each.

Stands beside ``segments``. At a start, files that were put where they do not belong (of another site, under another
number, copied twice, of a newer format) refuse the whole site, by name and with what to do: nothing was lost, and going
on would be guessing. A header that cannot be read is damage, told by ``verify`` and the scrub where anything in the
file is needed; frames are found without it, batches are not.
"""

from __future__ import annotations

from gateway.store.chunk_rows import scan_segments
from gateway.store.errors import BadDataDirectory, Damaged
from gateway.store.index import Transaction
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA, KIND_LOG, SEGMENT_HEADER_SIZE, SegmentInvalid, segment_name
from gateway.store.segments import SegmentReader


def refuse_misplaced_segments(directory: DataDirectory, reader: SegmentReader) -> None:
    """Raise ``BadDataDirectory`` for a segment file that belongs elsewhere, ``FormatTooNew`` for one of a newer format.

    For the first process of a site: others may be making files.
    """
    for kind in (KIND_DATA, KIND_LOG):
        for number in directory.segment_numbers(kind):
            try:
                header = reader.header(number, kind)
            except (SegmentInvalid, Damaged):
                continue  # cut short as it was made, or damaged
            path = directory.segment_path(number, kind)
            if header.realm != directory.realm or header.site != directory.site:
                raise BadDataDirectory(
                    f"{path} is a segment of another site ({header.site.hex()}): move it away. Nothing was touched"
                )
            if (header.number, header.kind) != (number, kind):
                raise BadDataDirectory(
                    f"{path} holds segment {segment_name(header.number, header.kind)}: give it that name again if that "
                    "file is not there, else move it away. Nothing was touched"
                )


def find_bad_headers(transaction: Transaction, reader: SegmentReader) -> list[str]:
    """What is wrong with the headers of segments in which something is needed, each with its file's name."""
    found = []
    for number, row in list(scan_segments(transaction)):
        is_needed = row.live_bytes > 0 if row.kind == KIND_DATA else row.length > SEGMENT_HEADER_SIZE
        if not is_needed:
            continue
        try:
            if reader.header(number, row.kind).number == number:
                continue
            reason = "it is another segment"
        except SegmentInvalid as error:
            reason = str(error)
        except Damaged:
            continue  # what is missing in it is told for each frame and batch
        found.append(f"{segment_name(number, row.kind)}, offset 0: {reason}")
    return found
