"""The gateway: an S3 server over a local, append-only, encrypted store. See DESIGN.md beside this file."""
