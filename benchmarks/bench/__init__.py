"""What the benchmarks share: texts, machine, peers, rounds and reports; the scripts stand above."""
