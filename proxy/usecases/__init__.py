"""The verbs. Each takes its ports as arguments, and knows no HTTP and no Redis."""
