"""Models: shards -> CLOSP -> retrieval scores, search."""
