"""Users, access keys, and who may do what."""
