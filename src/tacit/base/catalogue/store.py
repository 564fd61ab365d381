"""Errors of the store: databases, blobs, disks."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

STORE: dict[str, Entry] = {
    "store.url": Entry(
        "{place} is not the address of a database that tacit uses: {why}.",
        "Give sqlite:///FOLDER/FILE or postgresql://USER:PASSWORD@HOST/DATABASE.",
    ),
    "store.cannot-open": Entry(
        "{place} cannot be opened: {why}.",
        "Give a place where this user may read and write, or correct the rights of that one.",
    ),
    "store.full": Entry(
        "The disk under {place} is full: {why}.",
        "Free space or use a larger disk, then repeat. What was stored before is untouched; "
        "nothing is half stored.",
    ),
    "store.busy": Entry(
        "The database {place} is locked by somebody else: {why}.",
        "Repeat in a moment. If it stays so, end the other program that uses this database.",
    ),
    "store.unreachable": Entry(
        "The database {place} cannot be reached: {why}.",
        "Start the database server, and check the address, the user and the password in the URL.",
    ),
    "store.corrupt": Entry(
        "The database {place} is damaged, or is no database of tacit: {why}.",
        "Restore the file (with the -wal file beside it) from a backup.",
    ),
    "store.disk": Entry(
        "{place} cannot be read or written: {why}.",
        "Check the disk and the rights of the folder, then repeat.",
    ),
    "store.conflict": Entry(
        "{place}: somebody else has written that already, or it names what is not there: {why}.",
        "Read again what is stored, and decide anew.",
    ),
    "store.newer": Entry(
        "The database {place} has the schema {found}, which this version of tacit does not know "
        "(it knows up to {known}).",
        "Install the version of tacit that last used this database, or a newer one.",
    ),
    "store.older": Entry(
        "The database {place} has the schema {found}; this version of tacit needs {needed}.",
        "Start `tacit serve` once: it upgrades the schema. Make a backup before.",
    ),
    "store.foreign": Entry(
        "The database {place} has a table {table} that tacit did not make.",
        "Give tacit a database of its own.",
    ),
    "store.name-taken": Entry(
        "There is a member with the name {name} already.",
        "Choose another name. The name of a revoked member is not given again.",
    ),
    "store.enrolled": Entry(
        "The key of {name} is enrolled already.",
        "Use the membership that is there, or make a new key for a new one.",
    ),
    "store.blob-missing": Entry(
        "There is no blob {digest} in {place}.",
        "Check the digest; blobs of closed rounds are removed.",
    ),
    "store.blob-damaged": Entry(
        "The blob {digest} from {place} is damaged: its bytes have another SHA-256.",
        "Restore it from a backup; the damaged copy was not used.",
    ),
    "store.blobs-unreachable": Entry(
        "The blob store {place} cannot be reached: {why}.",
        "Check the address and the credentials of the blob store, then repeat.",
    ),
    "store.blobs-url": Entry(
        "{place} is not a blob store that tacit can use here: {why}.",
        "Give a folder, or a URL of fsspec and install the package of its file system, for "
        "example s3fs for s3://.",
    ),
    "store.upload-name": Entry(
        "An upload has a name that is not allowed.",
        "Name uploads by hexadecimal parts joined by hyphens.",
    ),
    "store.offset": Entry(
        "The upload {name} has {offset} bytes; the next chunk must begin there.",
        "Send the bytes from {offset} on.",
    ),
    "store.too-large": Entry(
        "The upload {name} has more than the {limit} bytes that are expected.",
        "Send the declared bytes and no more, at most what the coordinator accepts.",
    ),
    "store.digest": Entry(
        "The upload {name} is not what it was declared to be: its length or SHA-256 differs.",
        "Send it again from the start; the wrong bytes were removed.",
    ),
}
