"""Realms kept in directories, for tests: what a first start and a joining site do."""

from replication.keys import create_realm, fetch_realm, open_realm, write_key_directory
from replication.realm_access import open_local


def found(directory, root):
    """A new realm, held by this site."""
    made = create_realm(root, 1)
    write_key_directory(directory, made.objects)
    return open_local(directory, root), made


async def join(directory, root, cloud):
    """The bucket's realm, held by another site."""
    objects = await fetch_realm(cloud)
    open_realm(root, objects)
    write_key_directory(directory, objects)
    return open_local(directory, root)
