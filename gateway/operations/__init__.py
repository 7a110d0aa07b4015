"""What the S3 verbs mean: typed in, typed out; no HTTP. One file per verb family."""
