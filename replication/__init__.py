"""Replication: ships the site's log to a cloud bucket and takes in other sites' logs. At-least-once shipping,
convergent merge, never blocks a local write. See DESIGN.md beside this file."""
