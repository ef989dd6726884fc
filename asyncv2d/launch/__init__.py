"""What spreads shards over processes and machines."""
