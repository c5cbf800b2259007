"""Labels: sources -> one taxonomy -> captions, splits, queries, cards."""
