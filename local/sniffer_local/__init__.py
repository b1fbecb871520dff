"""The whole stack on one machine, on loopback, for the demo, the tests and the benchmarks."""
