"""How an engine does at several rates or concurrencies, and the highest rate at which latencies keep their limits."""
