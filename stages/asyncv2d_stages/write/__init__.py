"""Writers of shards: one output format a file."""
