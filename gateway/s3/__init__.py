"""S3 as bytes and values: pure, no I/O, no clock (time is an argument)."""
